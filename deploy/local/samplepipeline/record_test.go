package samplepipeline

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// recordOf reads the record of a case: a text for each request, and the number of polls.
func (r *rig) recordOf(t *testing.T, id string) (requests []string, polls int) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/api/record/"+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	code, _, body := r.do(t, request)
	started, isList := body["requests"].([]any)
	polled, isList2 := body["looks"].([]any)
	if code != http.StatusOK || body["case_id"] != id || !isList || !isList2 {
		t.Fatalf("the record is %d %v, want 200 with two lists", code, body)
	}
	for _, item := range started {
		x, _ := item.(map[string]any)
		requests = append(requests, fmt.Sprint(x["run"], " ", x["idempotency_key"], " ", x["did"]))
	}
	return requests, len(polled)
}

func TestRecordListsRequestsAndPolls(t *testing.T) {
	r := newRig(t, t.TempDir())
	if requests, polls := r.recordOf(t, "unknown"); len(requests) != 0 || polls != 0 {
		t.Errorf("an unknown case has the requests %v and %d polls, want none", requests, polls)
	}
	r.progressOf(t, "c") // before the case is known
	r.post(t, `{"case_id":"c","run":3,"sample":{"mode":"silent"}}`, "c:3")
	r.post(t, `{"case_id":"c","run":3,"sample":{"mode":"silent"}}`, "c:3")
	r.progressOf(t, "c")
	requests, polls := r.recordOf(t, "c")
	if diff := cmp.Diff([]string{"3 c:3 started", "3 c:3 joined"}, requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if polls != 2 {
		t.Errorf("%d polls, want 2", polls)
	}
	r.post(t, `{"case_id":"no","sample":{"fault":"refuse"}}`, "no:1")
	r.post(t, `{"case_id":"no","sample":{"fault":"error500"}}`, "no:2")
	r.post(t, `{"case_id":"no","sample":{"fault":"busy"}}`, "no:3")
	requests, _ = r.recordOf(t, "no")
	if diff := cmp.Diff([]string{"1 no:1 refused", "1 no:2 refused", "1 no:3 busy"}, requests); diff != "" {
		t.Errorf("requests that started no job (-want +got):\n%s", diff)
	}
}

func TestRecordListsARequestBeforeItsAnswer(t *testing.T) {
	r := newRig(t, t.TempDir())
	held := make(chan struct{})
	go func() {
		defer close(held)
		r.post(t, `{"case_id":"held","sample":{"fault":"hang"}}`, "")
	}()
	eventually(t, "the request is recorded", func() bool {
		requests, _ := r.recordOf(t, "held")
		return len(requests) == 1
	})
	r.Close()
	<-held
}

func TestRecordsAreLimited(t *testing.T) {
	p := New(Options{Dir: t.TempDir()})
	defer p.Close()
	for i := range maxRecords + 10 {
		p.recordPoll(fmt.Sprint("case-", i), time.Now())
	}
	for range maxRequests + 10 {
		p.recordPoll("busy", time.Now())
	}
	if len(p.records) != maxRecords || len(p.recorded) != maxRecords || p.records["case-0"] != nil {
		t.Errorf("%d records and %d cases in order, want %d of each, without the oldest",
			len(p.records), len(p.recorded), maxRecords)
	}
	if n := len(p.records["busy"].Polls); n != maxRequests {
		t.Errorf("%d polls are kept, want %d", n, maxRequests)
	}
}
