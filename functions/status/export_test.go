package status

import (
	"net/http"

	"github.com/casewatch/casewatch/shared/reconcile"
)

// WantsStream tells what the lines of an Accept header ask for.
func WantsStream(accept []string) bool {
	return wantsStream(&http.Request{Header: http.Header{"Accept": accept}})
}

// LastEvent reads a Last-Event-ID, EventID writes one.
func LastEvent(id string) reconcile.Seen { return lastEvent(id) }

// EventID is how events are numbered.
func EventID(s reconcile.Seen) string { return eventID(s) }
