package complete_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/functions/complete"
	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/reconcile"
)

func TestMain(m *testing.M) {
	if port := os.Getenv(frameworkPort); port != "" {
		serveByFramework(port)
	}
	// OpenCensus, which Google's clients import, starts this worker in an init function. It cannot
	// be stopped, and there is one per process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// binary returns the headers with which Eventarc sends a message, in the binary mode of
// CloudEvents.
func binary(id string) []string {
	return []string{
		"Content-Type: application/json",
		"Ce-Id: " + id,
		"Ce-Specversion: 1.0",
		"Ce-Type: google.cloud.pubsub.topic.v1.messagePublished",
		"Ce-Source: //pubsub.googleapis.com/projects/p/topics/events",
		"Ce-Time: " + time.Now().UTC().Format(time.RFC3339Nano),
		"User-Agent: APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)",
	}
}

// wrapped returns the body that Eventarc sends.
func wrapped(id, data string) string {
	published := time.Now().UTC().Format(time.RFC3339Nano)
	return fmt.Sprintf(
		`{"message":{"data":%q,"attributes":{"a":"é"},"messageId":%q,"message_id":%q,`+
			`"publishTime":%q,"publish_time":%q},"subscription":"projects/p/subscriptions/eventarc-x"}`,
		base64.StdEncoding.EncodeToString([]byte(data)), id, id, published, published,
	)
}

// push are the headers with which Pub/Sub pushes a message
// (https://cloud.google.com/pubsub/docs/push#receive_push).
var push = []string{"Content-Type: application/json", "From: noreply@google.com", "User-Agent: CloudPubSub-Google"}

const url = "/?__GCP_CloudEventsMode=CE_PUBSUB_BINDING"

func TestEventEndsTheCase(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(complete.New)
	b.Begin("c")
	event := `{"case_id":"c","run":1,"status":"succeeded","result":{"s":"\u0000 é"}}`
	if a := b.Do("POST", u+url, wrapped("7", event), binary("7")...); a.Status != 204 || a.Body != "" {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	c := b.Case("c", 1)
	if c.State != cases.Succeeded || c.Outcome.End.Source != cases.SourceEvent || !c.Outcome.HasResult ||
		len(b.Topic.Ended()) != 1 {
		t.Errorf("%s %+v, published %d times", c.State, c.Outcome.End, len(b.Topic.Ended()))
	}
	// A repeated delivery changes nothing. Another message is another report.
	if a := b.Do("POST", u+url, wrapped("7", event), binary("7")...); a.Status != 204 ||
		b.Case("c", 1).Outcome.Late != nil ||
		len(b.Topic.Ended()) != 1 {
		t.Errorf("%d, late %+v, published %d times", a.Status, b.Case("c", 1).Outcome.Late, len(b.Topic.Ended()))
	}
	if a := b.Do("POST", u+url, wrapped("8", event), binary("8")...); a.Status != 204 ||
		b.Case("c", 1).Outcome.Late == nil ||
		b.Case("c", 1).Outcome.Late.Count != 1 {
		t.Errorf("%d, late %+v", a.Status, b.Case("c", 1).Outcome.Late)
	}
}

// A terminal status counts although parts of the event are unreadable. The end says what was
// dropped.
func TestEventWithUnreadableParts(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(complete.New)
	for id, test := range map[string]struct {
		event, message string
		state          cases.State
	}{
		"list": {`"status":"succeeded","result":[1]`, "the result could not be read and was dropped",
			cases.Succeeded},
		"another": {`"status":"succeeded","result":{"case_id":"d","output_url":"https://d.example"}`,
			"the result could not be read and was dropped", cases.Succeeded},
		"text": {`"status":"failed","error":"no ink","progress":"half"`,
			"no ink; the progress could not be read and was dropped", cases.Failed},
		"floats": {`"status":"succeeded","progress":{"completed":"3","total":3.0},` +
			`"result":{"webhook_summary":{"total_sets":3.0,"succeeded":0}}`,
			"every document failed", cases.Failed},
	} {
		b.Begin(id)
		event := fmt.Sprintf(`{"case_id":%q,"run":1.0,%s}`, id, test.event)
		if a := b.Do("POST", u+url, wrapped(id, event), binary(id)...); a.Status != 204 {
			t.Errorf("%s: %d %s", id, a.Status, a.Body)
		}
		c := b.Case(id, 1)
		if c.State != test.state || c.Outcome.End.Message != test.message || c.Outcome.OutputURL != "" {
			t.Errorf("%s: %s, %+v", id, c.State, c.Outcome.End)
		}
	}
	// A later, readable result fills in the missing one.
	event := `{"case_id":"list","run":1,"status":"succeeded","result":{"a":1}}`
	if a := b.Do("POST", u+url, wrapped("more", event), binary("more")...); a.Status != 204 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if c := b.Case("list", 1); !c.Outcome.HasResult || c.Outcome.End.Message != "" {
		t.Errorf("%+v", c.Outcome.End)
	}
}

// This is a push of a subscription, without Eventarc, with the fields that Pub/Sub adds to the
// message.
func TestPush(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(complete.New)
	b.Begin("c")
	body := wrapped("7", `{"case_id":"c","run":1,"status":"succeeded","result":{"s":"\u0000 é"}}`)
	body = strings.Replace(body, `"subscription"`, `"deliveryAttempt":3,"subscription"`, 1)
	for range 2 {
		if a := b.Do("POST", u, body, push...); a.Status != 204 || a.Body != "" {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	c := b.Case("c", 1)
	if c.State != cases.Succeeded || c.Outcome.End.Source != cases.SourceEvent || !c.Outcome.HasResult ||
		c.Outcome.Late != nil ||
		strings.Join(c.Outcome.ReportIDs, " ") != "event:7" {
		t.Errorf("%s %+v %v, late %+v", c.State, c.Outcome.End, c.Outcome.ReportIDs, c.Outcome.Late)
	}
	// The same message from Eventarc is the same report.
	body = wrapped("7", `{"case_id":"c","run":1,"status":"succeeded"}`)
	if a := b.Do("POST", u+url, body, binary("7")...); a.Status != 204 || b.Case("c", 1).Outcome.Late != nil {
		t.Errorf("%d %s, late %+v", a.Status, a.Body, b.Case("c", 1).Outcome.Late)
	}
	// A message without attributes and data is a message too. It is forwarded as invalid.
	body = `{"message":{"messageId":"9","publishTime":"2026-01-02T03:04:05.678Z"},` +
		`"subscription":"projects/p/subscriptions/s"}`
	if a := b.Do("POST", u, body, push[0]); a.Status != 204 || len(b.Topic.Invalid()) != 1 {
		t.Errorf("%d %s, forwarded %v", a.Status, a.Body, b.Topic.Invalid())
	}
}

func TestOnlyInvokersMayCall(t *testing.T) {
	event := wrapped("1", `{"case_id":"c","status":"succeeded"}`)
	functiontest.CheckInvokers(t, complete.New, event, 204, push...)
	functiontest.CheckInvokers(t, complete.New, event, 204, binary("1")...)
}

func TestStructuredMode(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(complete.New)
	b.Begin("c")
	event := fmt.Sprintf(
		`{"specversion":"1.0","id":"7","type":"google.cloud.pubsub.topic.v1.messagePublished",`+
			`"source":"//pubsub.googleapis.com/projects/p/topics/events",`+
			`"datacontenttype":"application/json","data":%s}`,
		wrapped("7", `{"case_id":"c","run":1,"status":"failed","error":{"code":"x","message":"no paper"}}`),
	)
	if a := b.Do("POST", u, event, "Content-Type: application/cloudevents+json; charset=UTF-8"); a.Status != 204 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	if c := b.Case("c", 1); c.State != cases.Failed || c.Outcome.End.Message != "no paper" {
		t.Errorf("%s %+v", c.State, c.Outcome.End)
	}
}

// A message without an id has the id of its CloudEvent.
func TestMessageWithoutID(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(complete.New)
	b.Begin("c")
	body := fmt.Sprintf(
		`{"message":{"data":%q}}`,
		base64.StdEncoding.EncodeToString([]byte(`{"case_id":"c","run":1,"status":"failed","error":"x"}`)),
	)
	for _, id := range []string{"ce-1", "ce-1", "ce-2"} {
		if a := b.Do("POST", u, body, binary(id)...); a.Status != 204 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	c := b.Case("c", 1)
	if strings.Join(c.Outcome.ReportIDs, " ") != "event:ce-1 event:ce-2" || c.Outcome.Late == nil ||
		c.Outcome.Late.Count != 1 {
		t.Errorf("reports %v, late %+v", c.Outcome.ReportIDs, c.Outcome.Late)
	}
}

// An event without a run counts for the current run if that run began before the event was
// published. A message without a publish time has the time of its CloudEvent.
func TestMessageWithoutTime(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(complete.New)
	request := reconcile.StartRequest{CaseID: "c", Form: []byte("{}"), Adopt: true}
	if _, err := b.Reconciler.Start(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(
		`{"message":{"data":%q,"messageId":"1"}}`,
		base64.StdEncoding.EncodeToString([]byte(`{"case_id":"c","status":"failed","error":"x"}`)),
	)
	for _, test := range []struct {
		published time.Duration
		want      cases.State
	}{{-time.Minute, cases.Pending}, {time.Minute, cases.Failed}} {
		header := append(binary("1")[:5], "Ce-Time: "+time.Now().Add(test.published).UTC().Format(time.RFC3339Nano))
		if a := b.Do("POST", u, body, header...); a.Status != 204 || b.Case("c", 1).State != test.want {
			t.Errorf("%v: %d, %s, want %s", test.published, a.Status, b.Case("c", 1).State, test.want)
		}
	}
}

func TestProgress(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(complete.New)
	b.Begin("c")
	event := `{"case_id":"c","run":1,"status":"running",` +
		`"progress":{"completed":2,"total":8,"current_doc":"a\u0000é"}}`
	if a := b.Do("POST", u, wrapped("1", event), binary("1")...); a.Status != 204 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	if c := b.Case("c", 1); c.State != cases.Running || c.Job.Progress.Completed != 2 || c.Job.Progress.Total != 8 ||
		c.Job.Progress.Percent != 25 {
		t.Errorf("%s %+v", c.State, c.Job.Progress)
	}
}

func TestUnknownCase(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(complete.New)
	if a := b.Do("POST", u, wrapped("1", `{"case_id":"c","status":"succeeded"}`), binary("1")...); a.Status != 204 ||
		len(b.Topic.Invalid()) != 0 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if !strings.Contains(b.Log.String(), "no run that is kept") {
		t.Errorf("%s", b.Log)
	}
}

func TestInvalidEventIsForwarded(t *testing.T) {
	for name, data := range map[string]string{
		"not JSON":     "hello \xff",
		"empty":        "",
		"a list":       "[]",
		"field errors": `{"case_id":"/","status":"done"}`,
		"too large":    `{"case_id":"c","x":"` + strings.Repeat("x", 350<<10) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := functiontest.New(t, nil)
			u := b.Serve(complete.New)
			if a := b.Do("POST", u, wrapped("1", data), binary("1")...); a.Status != 204 {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
			got := b.Topic.Invalid()
			if len(got) != 1 || got[0].Data != data || got[0].Attributes["a"] != "é" || got[0].Why == "" {
				t.Errorf("%.300q", got)
			}
			b.Topic.SetDown(true)
			b.Problem(b.Do("POST", u, wrapped("1", data), binary("1")...), 503)
		})
	}
}

func TestRequestThatIsNoMessage(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(complete.New)
	other := func(change ...string) []string {
		all := binary("1")
		for i, line := range all {
			for _, c := range change {
				if name, _, _ := strings.Cut(c, ": "); strings.HasPrefix(line, name+": ") {
					all[i] = c
				}
			}
		}
		return all
	}
	good := wrapped("1", `{"case_id":"c","run":1,"status":"failed"}`)
	for _, test := range []struct {
		name, method, body string
		header             []string
		want               int
	}{
		{"nothing", "POST", "", nil, 400},
		{"a push of another type", "POST", good, []string{"Content-Type: text/plain"}, 415},
		{"a push without subscription", "POST",
			`{"message":{"data":"","messageId":"1","publishTime":"2026-01-02T03:04:05Z"}}`, push, 400},
		{"a push without message", "POST", `{"subscription":"projects/p/subscriptions/s"}`, push, 400},
		{"a push without id", "POST",
			`{"message":{"data":"","publishTime":"2026-01-02T03:04:05Z"},"subscription":"projects/p/subscriptions/s"}`,
			push, 400},
		{"a push without time", "POST",
			`{"message":{"data":"","messageId":"1"},"subscription":"projects/p/subscriptions/s"}`, push, 400},
		{"a push of something else", "POST", `{"case_id":"c","run":1,"status":"failed"}`, push, 400},
		{"a push of no JSON", "POST", `{`, push, 400},
		{"a push of no base64", "POST",
			`{"message":{"data":"%","messageId":"1","publishTime":"2026-01-02T03:04:05Z"},"subscription":"s"}`,
			push, 400},
		{"a push with a CloudEvent's id", "POST", good, append([]string{"Ce-Id: 1"}, push...), 400},
		{"a push as a CloudEvent of the other mode", "POST", good,
			[]string{"Content-Type: application/cloudevents+json"}, 400},
		{"no type", "POST", good, binary("1")[:3], 400},
		{"other type", "POST", good, other("Ce-Type: google.cloud.storage.object.v1.finalized"), 400},
		{"other version", "POST", good, other("Ce-Specversion: 9.9"), 400},
		{"no JSON", "POST", "{", binary("1"), 400},
		{"no message", "POST", `{"subscription":"s"}`, binary("1"), 400},
		{"null", "POST", `null`, binary("1"), 400},
		{"no base64", "POST", `{"message":{"data":"%"}}`, binary("1"), 400},
		{"batch", "POST", "[]", []string{"Content-Type: application/cloudevents-batch+json"}, 400},
		{"too large", "POST", `{"message":{"data":"` + strings.Repeat("A", 14<<20) + `"}}`, binary("1"), 413},
		{"GET", "GET", "", nil, 405},
	} {
		t.Run(test.name, func(t *testing.T) {
			b.Problem(b.Do(test.method, u, test.body, test.header...), test.want)
		})
	}
	if len(b.Topic.Invalid()) != 0 {
		t.Errorf("%.300q was forwarded", b.Topic.Invalid())
	}
}

func TestDown(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(complete.New)
	b.Begin("c")
	message := wrapped("1", `{"case_id":"c","run":1,"status":"failed","error":"x"}`)
	b.Store.SetDown(true)
	b.Problem(b.Do("POST", u, message, binary("1")...), 503)
	b.Store.SetDown(false)
	if a := b.Do("POST", u, message, binary("1")...); a.Status != 204 || b.Case("c", 1).State != cases.Failed {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// FuzzComplete checks that every body is accepted, or rejected as no message with 400. Pub/Sub must
// never deliver one for ever.
func FuzzComplete(f *testing.F) {
	b := functiontest.New(f, nil)
	b.Begin("c")
	h := complete.New(b.Config, b.Reconciler)
	for _, data := range []string{
		`{"case_id":"c","run":1,"status":"running","progress":{"completed":1,"total":2}}`,
		`{"case_id":"c","status":"failed","error":{"message":"x"}}`, "\xff\x00",
	} {
		f.Add([]byte(data), true)
	}
	for _, body := range []string{
		wrapped("", "{}"), `{"message":{}}`, `{"message":{"data":7}}`,
		`{"message":{"data":"e30=","publishTime":"yesterday"}}`,
	} {
		f.Add([]byte(body), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, wrap bool) {
		eventarc := len(body)%2 == 0
		if wrap {
			body = []byte(wrapped("1", string(body)))
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(string(body)))
		header := push
		if eventarc {
			header = binary("fuzz")
		}
		for _, line := range header {
			name, value, _ := strings.Cut(line, ": ")
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch {
		case w.Code == http.StatusNoContent && w.Body.Len() == 0:
		case w.Code == http.StatusBadRequest &&
			w.Header().Get("Content-Type") == "application/problem+json" && json.Valid(w.Body.Bytes()):
		default:
			t.Fatalf("%q: %d %s", body, w.Code, w.Body)
		}
	})
}

func TestCrossOriginRequestsAreRejected(t *testing.T) {
	event := wrapped("7", `{"case_id":"missing","status":"running"}`)
	functiontest.CheckCrossOrigin(t, complete.New, event, 204, push...)
	functiontest.CheckCrossOrigin(t, complete.New, event, 204, binary("7")...)
}
