// Package casewatch registers every function of Casewatch under its name. It is the package that
// Google's buildpack builds.
package casewatch

import (
	"github.com/GoogleCloudPlatform/functions-framework-go/functions"

	"github.com/casewatch/casewatch/functions/callback"
	"github.com/casewatch/casewatch/functions/cancel"
	"github.com/casewatch/casewatch/functions/check"
	"github.com/casewatch/casewatch/functions/complete"
	"github.com/casewatch/casewatch/functions/console"
	"github.com/casewatch/casewatch/functions/dispatch"
	"github.com/casewatch/casewatch/functions/start"
	"github.com/casewatch/casewatch/functions/status"
	"github.com/casewatch/casewatch/functions/sweep"
	"github.com/casewatch/casewatch/shared/app"
)

func init() {
	functions.HTTP("start", app.Function("start", start.New))
	functions.HTTP("status", app.Function("status", status.New))
	functions.HTTP("cancel", app.Function("cancel", cancel.New))
	functions.HTTP("callback", app.Function("callback", callback.New))
	functions.HTTP("dispatch", app.Function("dispatch", dispatch.New))
	functions.HTTP("check", app.Function("check", check.New))
	functions.HTTP("complete", app.Function("complete", complete.New))
	functions.HTTP("sweep", app.Function("sweep", sweep.New))
	functions.HTTP("console", app.Function("console", console.New))
}
