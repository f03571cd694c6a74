package status

import (
	"net/http"

	"github.com/casewatch/casewatch/shared/reconcile"
)

// WantsStream reports whether the lines of an Accept header prefer a stream.
func WantsStream(accept []string) bool {
	return wantsStream(&http.Request{Header: http.Header{"Accept": accept}})
}

// LastEvent parses a Last-Event-ID.
func LastEvent(id string) reconcile.Seen { return lastEvent(id) }

// EventID returns the id of an event.
func EventID(s reconcile.Seen) string { return eventID(s) }
