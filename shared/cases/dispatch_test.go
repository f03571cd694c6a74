package cases_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

// TestReadersSeeDispatches: readers see how many requests were begun, how many of them started nothing, and what the last of these said until the
// pipeline takes the run.
func TestReadersSeeDispatches(t *testing.T) {
	queued := func() *life { return begin(rules, nil) }
	fails := func(kind DispatchKind) *life { return queued().inFlight().outcome(kind) }
	twice := func() *life { return fails(DispatchUnreachable).inFlight().outcome(DispatchBusy) }
	const none, one, two = `{"attempts":1,"failures":0,"last_error":null}`, `{"attempts":1,"failures":1,"last_error":"said so"}`, `{"attempts":2,"failures":2,"last_error":"said so"}`
	for name, x := range map[string]struct {
		l    *life
		want string
	}{
		"queued":                 {queued(), `{"attempts":0,"failures":0,"last_error":null}`},
		"adopted":                {adopt(), `{"attempts":0,"failures":0,"last_error":null}`},
		"open":                   {queued().inFlight(), none},
		"accepted":               {fails(DispatchAccepted), none},
		"uncertain":              {fails(DispatchUncertain), none},
		"refused":                {fails(DispatchRefused), none},
		"unreachable":            {fails(DispatchUnreachable), one},
		"busy":                   {fails(DispatchBusy), one},
		"twice":                  {twice(), two},
		"sent once more":         {twice().inFlight(), `{"attempts":3,"failures":2,"last_error":"said so"}`},
		"accepted at last":       {twice().inFlight().outcome(DispatchAccepted), `{"attempts":3,"failures":2,"last_error":null}`},
		"answered at last":       {twice().inFlight().outcome(DispatchSucceeded), `{"attempts":3,"failures":2,"last_error":null}`},
		"polled at last":         {twice().inFlight().read(time.Second, 1, 4), `{"attempts":3,"failures":2,"last_error":null}`},
		"an event, then":         {twice().do(time.Second, running("e", nil)), `{"attempts":2,"failures":2,"last_error":null}`},
		"cancelled meanwhile":    {twice().do(time.Second, Cancel{}), two},
		"never reached":          {fails(DispatchUnreachable).do(rules.UnreachableAfter, DispatchBegun{Seq: 2, Nonce: "n2"}).outcome(DispatchUnreachable), two},
		"without a message":      {queued().inFlight().do(time.Second, DispatchOutcome{Nonce: "n1", Kind: DispatchBusy}), `{"attempts":1,"failures":1,"last_error":"busy"}`},
		"a delivery is lost":     {queued().inFlight().do(time.Second, DispatchBegun{Seq: 1, Nonce: "r", RetryCount: 1}), none},
		"sent again by its key":  {begin(idempotent, nil).inFlight().outcome(DispatchUncertain).do(time.Second, unknown).do(rules.StartGrace, unknown).inFlight(), `{"attempts":2,"failures":0,"last_error":null}`},
		"seen, and busy it says": {queued().inFlight().read(time.Second, 1, 4).outcome(DispatchBusy), none},
	} {
		got, err := json.Marshal(x.l.c.View(x.l.now, nil, nil).Dispatch)
		if err != nil || string(got) != x.want {
			t.Errorf("%s: %s, want %s (%v)", name, got, x.want, err)
		}
	}
	l := queued().inFlight().do(time.Second, DispatchOutcome{Nonce: "n1", Kind: DispatchBusy, Message: "a\x00\u202e" + strings.Repeat("ü", 2000)})
	if said := l.c.View(l.now, nil, nil).Dispatch.LastError; said == nil || len([]rune(*said)) != 1000 || strings.ContainsAny(*said, "\x00\u202e") {
		t.Errorf("it is shown as it came: %q", *said)
	}
}
