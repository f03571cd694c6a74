package status_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/functions/status"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// accepts maps Accept headers, with "|" between lines, to whether they prefer a stream.
var accepts = map[string]bool{
	"text/event-stream":                                 true,
	"Text/Event-Stream":                                 true,
	" text/event-stream ; charset=utf-8":                true,
	"text/event-stream;q=0.1":                           true,
	"text/event-stream, */*":                            true,
	"*/*, text/event-stream":                            true,
	"text/event-stream, application/json;q=0.9":         true,
	"text/event-stream, application/json":               true,
	"text/html|text/event-stream":                       true,
	"application/json;q=0, text/event-stream;q=0.1":     true,
	"text/event-stream;q=0.5, application/*;q=0.4, */*": true,
	"":                                    false,
	"*/*":                                 false,
	"text/*":                              false,
	"application/json":                    false,
	"application/json, text/event-stream": false,
	"application/json, text/event-stream;q=0.9":                      false,
	"text/event-stream;q=0":                                          false,
	"text/event-stream;q=0, application/json;q=0":                    false,
	"text/event-stream;q=2":                                          false,
	"text/event-stream;q=NaN":                                        false,
	"text/event-stream;q=high":                                       false,
	"text/event-stream;q=0.5, application/*":                         false,
	"text/event-stream;q=0.5, */*":                                   false,
	"text/event-streams":                                             false,
	"application/json;profile=text/event-stream":                     false,
	"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=.8": false,
}

func TestAccept(t *testing.T) {
	for accept, want := range accepts {
		if got := status.WantsStream(strings.Split(accept, "|")); got != want {
			t.Errorf("%q: got %v, want %v", accept, got, want)
		}
	}
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	a := b.Do("GET", u+"/c", "", key, "Accept: application/json, text/event-stream;q=0.9")
	if a.Status != 200 || a.Header.Get("Content-Type") != "application/json" ||
		a.Header.Get("Vary") != "Accept" && !strings.Contains(strings.Join(a.Header.Values("Vary"), ","), "Accept") {
		t.Errorf("%d %v", a.Status, a.Header)
	}
}

// An Accept header of 1 MiB, which is read before the caller is authenticated, needs little memory.
func TestLongAcceptHeader(t *testing.T) {
	var many strings.Builder
	for i := range 150_000 {
		fmt.Fprintf(&many, "%x,", i)
	}
	for want, last := range map[bool]string{true: "text/event-stream", false: "application/json"} {
		lines := []string{many.String() + last}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := status.WantsStream(lines)
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; got != want || allocated > 1<<20 {
			t.Errorf("%s: got %v with %d bytes allocated", last, got, allocated)
		}
	}
}

func FuzzAccept(f *testing.F) {
	for accept := range accepts {
		f.Add(accept)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		named := strings.Contains(strings.ToLower(accept), "text/event-stream")
		if status.WantsStream([]string{accept}) && !named {
			t.Errorf("%q does not name a stream, but gets one", accept)
		}
		if status.WantsStream([]string{"application/json", accept}) {
			t.Errorf("%q takes precedence over application/json before it, although no weight can be higher", accept)
		}
	})
}

func FuzzLastEventID(f *testing.F) {
	for _, id := range []string{
		"", "1.1", "12.345", "0.1", "1.0", "01.1", "1.01", "1", "1.", ".1", "-1.1", "1.-1", "+1.1", "1.1.1",
		"1.9223372036854775807", "1.9223372036854775808", "1e1.1", "1_0.1", " 1.1", "1.1\n",
	} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		seen := status.LastEvent(id)
		switch {
		case seen == reconcile.Seen{}: // none
		case seen.Run < 1, seen.Version < 0, status.EventID(seen) != id:
			t.Errorf("%q is read as %+v", id, seen)
		}
	})
}

func TestLastEventIDIsReadBack(t *testing.T) {
	for _, seen := range []reconcile.Seen{{Run: 1, Version: 1}, {Run: 12, Version: 345}, {Run: 1, Version: 0}} {
		if got := status.LastEvent(status.EventID(seen)); got != seen {
			t.Errorf("%+v is read as %+v", seen, got)
		}
	}
}
