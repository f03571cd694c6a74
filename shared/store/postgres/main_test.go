package postgres

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/store/postgres/postgrestest"
)

// opencensus is a dependency of the connector to Cloud SQL; its worker is begun by an init function.
var opencensus = goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start")

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, opencensus, goleak.Cleanup(func(code int) {
		postgrestest.Stop()
		os.Exit(code)
	}))
}
