package cases_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "github.com/casewatch/casewatch/shared/cases"
)

func TestViewIsThePublicJSON(t *testing.T) {
	l := begin(rules, nil).inFlight().read(10*time.Second, 1, 4)
	encode := func(c Case, result, late []byte) string {
		b, err := json.Marshal(c.View(l.now, result, late))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	want := `{"case_id":"c","run":1,"pipeline":"default","state":"running",` +
		`"progress":{"completed":1,"total":4,"percent":25,"current":""},"eta_seconds":30,"stalled":false,` +
		`"created_at":"2026-01-02T03:04:05Z","started_at":"2026-01-02T03:04:06Z",` +
		`"updated_at":"2026-01-02T03:04:16Z","deadline_at":"2026-01-02T04:04:05Z",` +
		`"ended_at":null,"duration_seconds":null,` +
		`"end":null,"documents":null,"result":null,"output_url":null,"late":null,"stop":null,` +
		`"dispatch":{"attempts":1,"failures":0,"last_error":null},` +
		`"checks":{"count":1,"failures":0,"next_at":"2026-01-02T03:04:21Z"},"version":3}`
	if diff := cmp.Diff(want, encode(l.c, nil, nil)); diff != "" {
		t.Error(diff)
	}
	l.do(0, Cancel{}).do(time.Second, Event{ID: "e", Status: "succeeded", Result: result(t, `{"a":1}`)})
	want = `{"case_id":"c","run":1,"pipeline":"default","state":"cancelled",` +
		`"progress":{"completed":1,"total":4,"percent":25,"current":""},"eta_seconds":null,"stalled":false,` +
		`"created_at":"2026-01-02T03:04:05Z","started_at":"2026-01-02T03:04:06Z",` +
		`"updated_at":"2026-01-02T03:04:17Z","deadline_at":"2026-01-02T04:04:05Z",` +
		`"ended_at":"2026-01-02T03:04:16Z","duration_seconds":11,` +
		`"end":{"reason":"cancelled","message":"cancelled on request","source":"cancel"},` +
		`"documents":null,"result":null,"output_url":null,` +
		`"late":{"state":"succeeded","result":{"a":1},"message":"","source":"event",` +
		`"at":"2026-01-02T03:04:17Z","count":1},"stop":null,"dispatch":{"attempts":1,"failures":0,"last_error":null},` +
		`"checks":{"count":1,"failures":0,"next_at":null},"version":5}`
	if diff := cmp.Diff(want, encode(l.c, nil, []byte(`{"a":1}`))); diff != "" {
		t.Error(diff)
	}
}

// Readers see how many requests were begun, how many of them started nothing, and what the last of
// these said until the pipeline takes the run.
func TestReadersSeeDispatches(t *testing.T) {
	queued := func() *life { return begin(rules, nil) }
	fails := func(kind DispatchKind) *life { return queued().inFlight().outcome(kind) }
	twice := func() *life { return fails(DispatchUnreachable).inFlight().outcome(DispatchBusy) }
	const (
		none = `{"attempts":1,"failures":0,"last_error":null}`
		one  = `{"attempts":1,"failures":1,"last_error":"said so"}`
		two  = `{"attempts":2,"failures":2,"last_error":"said so"}`
	)
	for name, x := range map[string]struct {
		l    *life
		want string
	}{
		"queued":         {queued(), `{"attempts":0,"failures":0,"last_error":null}`},
		"adopted":        {adopt(), `{"attempts":0,"failures":0,"last_error":null}`},
		"in flight":      {queued().inFlight(), none},
		"accepted":       {fails(DispatchAccepted), none},
		"uncertain":      {fails(DispatchUncertain), none},
		"refused":        {fails(DispatchRefused), none},
		"unreachable":    {fails(DispatchUnreachable), one},
		"busy":           {fails(DispatchBusy), one},
		"twice":          {twice(), two},
		"sent once more": {twice().inFlight(), `{"attempts":3,"failures":2,"last_error":"said so"}`},
		"accepted at last": {
			twice().inFlight().outcome(DispatchAccepted),
			`{"attempts":3,"failures":2,"last_error":null}`,
		},
		"answered at last": {
			twice().inFlight().outcome(DispatchSucceeded),
			`{"attempts":3,"failures":2,"last_error":null}`,
		},
		"polled at last": {
			twice().inFlight().read(time.Second, 1, 4),
			`{"attempts":3,"failures":2,"last_error":null}`,
		},
		"an event, then": {
			twice().do(time.Second, running("e", nil)),
			`{"attempts":2,"failures":2,"last_error":null}`,
		},
		"cancelled meanwhile": {twice().do(time.Second, Cancel{}), two},
		"never reached": {
			fails(DispatchUnreachable).do(rules.UnreachableAfter, DispatchBegun{Seq: 2, Nonce: "n2"}).
				outcome(DispatchUnreachable),
			two,
		},
		"without a message": {
			queued().inFlight().do(time.Second, DispatchOutcome{Nonce: "n1", Kind: DispatchBusy}),
			`{"attempts":1,"failures":1,"last_error":"busy"}`,
		},
		"a delivery is lost": {
			queued().inFlight().do(time.Second, DispatchBegun{Seq: 1, Nonce: "r", RetryCount: 1}),
			none,
		},
		"sent again by its key": {
			begin(idempotent, nil).inFlight().outcome(DispatchUncertain).do(time.Second, unknown).
				do(rules.StartGrace, unknown).inFlight(),
			`{"attempts":2,"failures":0,"last_error":null}`,
		},
		"seen, and busy it says": {queued().inFlight().read(time.Second, 1, 4).outcome(DispatchBusy), none},
	} {
		got, err := json.Marshal(x.l.c.View(x.l.now, nil, nil).Dispatch)
		if err != nil || string(got) != x.want {
			t.Errorf("%s: %s, want %s (%v)", name, got, x.want, err)
		}
	}
	l := queued().inFlight().
		do(time.Second, DispatchOutcome{
			Nonce:   "n1",
			Kind:    DispatchBusy,
			Message: "a\x00\u202e" + strings.Repeat("ü", 2000),
		})
	if said := l.c.View(l.now, nil, nil).Dispatch.LastError; said == nil || len([]rune(*said)) != 1000 ||
		strings.ContainsAny(*said, "\x00\u202e") {
		t.Errorf("it is shown as it came: %q", *said)
	}
}

func TestReadersSeeWhatChangesAfterTheEnd(t *testing.T) {
	l := accepted(rules).read(time.Second, 4, 4)
	l.poll(failed, time.Minute)
	updated, message := l.c.UpdatedAt, l.c.Outcome.End.Message
	if l.do(time.Minute, Finalized{}); !l.c.UpdatedAt.Equal(updated) {
		t.Error("bookkeeping is shown as an update")
	}
	l.do(time.Minute, Event{ID: "e", Status: "succeeded", Result: result(t, `{}`)})
	if message != "completed without a result" || l.c.Outcome.End.Message != "" || l.c.UpdatedAt.Equal(updated) {
		t.Errorf("%q, then %q", message, l.c.Outcome.End.Message)
	}
	l = accepted(rules).read(10*time.Second, 1, 4)
	first, second := *l.c.View(l.now, nil, nil).ETASeconds, *l.c.View(l.now.Add(10*time.Second), nil, nil).ETASeconds
	if second != first-10 {
		t.Errorf("the estimate went from %v to %v in 10 s", first, second)
	}
}

// Pages link to the address of the documents, which the pipeline gives.
func TestOnlyWebAddressesAreShown(t *testing.T) {
	for said, want := range map[string]bool{
		"https://docs.example/?a=1&b=2#c": true, "http://docs.example:8080": true, "HTTPS://docs.example/é": true,
		"http://[::1]/": true,

		"javascript:alert(1)": false, "JaVaScRiPt://x/%0aalert(1)": false, "data:text/html,x": false,
		"file:///etc/passwd": false, "gs://bucket/c": false, "ftp://docs.example": false, "//docs.example": false,
		"/c": false, "c": false, "": false, "https:c": false, "https://": false, "https:///c": false,
		" https://docs.example": false, "http://a\nb": false, "%": false, "https://a\"b": false,
	} {
		got := Case{Outcome: Outcome{OutputURL: said}}.View(epoch, nil, nil).OutputURL
		if (got != nil) != want || want && *got != said {
			t.Errorf("%q is shown as %v", said, got)
		}
	}
}

// An address that is shown is one of the web, and as the pipeline gave it.
func FuzzOutputURL(f *testing.F) {
	for _, text := range []string{
		"https://documents.example/c?a=b#c",
		"javascript:alert(1)",
		"JaVaScRiPt://x/%0aalert(1)",
		"data:text/html,x",
		"//h",
		"https:h",
		"http://a\nb",
		" https://h",
		"https://h/\"onmouseover=x",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		shown := Case{Outcome: Outcome{OutputURL: text}}.View(epoch, nil, nil).OutputURL
		if shown == nil {
			return
		}
		if u, err := url.Parse(*shown); *shown != text || err != nil || u.Scheme != "https" && u.Scheme != "http" ||
			strings.ContainsAny(u.Host, "\"<>") || u.Host == "" {
			t.Errorf("%q is shown as %q", text, *shown)
		}
	})
}
