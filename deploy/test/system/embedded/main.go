// Command embedded serves one function, FUNCTION_TARGET, at PORT over an SQLite store, which no deployed program links.
package main

import (
	"fmt"
	"net/http"
	"os"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"github.com/GoogleCloudPlatform/functions-framework-go/functions"

	"github.com/casewatch/casewatch/functions/cancel"
	"github.com/casewatch/casewatch/functions/check"
	"github.com/casewatch/casewatch/functions/complete"
	"github.com/casewatch/casewatch/functions/console"
	"github.com/casewatch/casewatch/functions/dispatch"
	"github.com/casewatch/casewatch/functions/start"
	"github.com/casewatch/casewatch/functions/status"
	"github.com/casewatch/casewatch/functions/sweep"
	"github.com/casewatch/casewatch/shared/app"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/drivers"
	"github.com/casewatch/casewatch/shared/store/sqlite"
)

var builds = map[string]app.Build{
	"start": start.New, "status": status.New, "cancel": cancel.New, "dispatch": dispatch.New,
	"check": check.New, "complete": complete.New, "sweep": sweep.New, "console": console.New,
}

func main() {
	if err := serve(os.Getenv("FUNCTION_TARGET")); err != nil {
		fmt.Fprintln(os.Stderr, "embedded:", err)
		os.Exit(1)
	}
}

func serve(name string) error {
	build, ok := builds[name]
	if !ok {
		return fmt.Errorf("FUNCTION_TARGET %q is no function", name)
	}
	p := app.New(name, app.Options{Stores: map[string]store.Opener{drivers.SQLite: store.OpenerOf(sqlite.Open)}})
	if _, err := p.Config(); err != nil {
		return err
	}
	h := p.Handler(build)
	functions.HTTP(name, func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) })
	return funcframework.StartHostPort("127.0.0.1", os.Getenv("PORT"))
}
