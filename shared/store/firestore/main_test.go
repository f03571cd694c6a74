package firestore

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain: the statistics of Google's client start a goroutine of their own when linked.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}
