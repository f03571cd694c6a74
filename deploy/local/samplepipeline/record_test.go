package samplepipeline

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// recordOf reads the record of a case as anybody does.
func (r *rig) recordOf(t *testing.T, id string) (did []string, looks int) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/api/record/"+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	code, _, body := r.do(t, request)
	requests, ok := body["requests"].([]any)
	looked, ok2 := body["looks"].([]any)
	if code != http.StatusOK || body["case_id"] != id || !ok || !ok2 {
		t.Fatalf("%d %v", code, body)
	}
	for _, one := range requests {
		x, _ := one.(map[string]any)
		did = append(did, fmt.Sprint(x["run"], " ", x["idempotency_key"], " ", x["did"]))
	}
	return did, len(looked)
}

func TestRecordTellsWhatWasAsked(t *testing.T) {
	r := newRig(t, t.TempDir())
	if did, looks := r.recordOf(t, "nobody"); len(did) != 0 || looks != 0 {
		t.Errorf("of a case that nobody asked about: %v, %d", did, looks)
	}
	r.progressOf(t, "later") // before it is known
	r.post(t, `{"case_id":"later","run":3,"sample":{"mode":"silent"}}`, "later:3")
	r.post(t, `{"case_id":"later","run":3,"sample":{"mode":"silent"}}`, "later:3")
	r.progressOf(t, "later")
	did, looks := r.recordOf(t, "later")
	if fmt.Sprint(did) != "[3 later:3 started 3 later:3 joined]" || looks != 2 {
		t.Errorf("%v, %d looks", did, looks)
	}
	r.post(t, `{"case_id":"no","sample":{"fault":"refuse"}}`, "no:1")
	r.post(t, `{"case_id":"no","sample":{"fault":"error500"}}`, "no:2")
	r.post(t, `{"case_id":"no","sample":{"fault":"busy"}}`, "no:3")
	if did, _ := r.recordOf(t, "no"); fmt.Sprint(did) != "[1 no:1 refused 1 no:2 refused 1 no:3 busy]" {
		t.Errorf("%v", did)
	}
}

// A request that is held is told of while it is.
func TestRecordTellsOfARequestThatIsHeld(t *testing.T) {
	r := newRig(t, t.TempDir())
	held := make(chan struct{})
	go func() {
		defer close(held)
		r.post(t, `{"case_id":"held","sample":{"fault":"hang"}}`, "")
	}()
	eventually(t, "the request is told of", func() bool {
		did, _ := r.recordOf(t, "held")
		return len(did) == 1
	})
	r.Close()
	<-held
}

func TestRecordsAreBounded(t *testing.T) {
	p := New(Options{Dir: t.TempDir()})
	defer p.Close()
	for i := range maxRecords + 10 {
		p.looked(fmt.Sprint("case-", i), time.Now())
	}
	for range maxAsked + 10 {
		p.looked("busy", time.Now())
	}
	if len(p.records) != maxRecords || len(p.recorded) != maxRecords || p.records["case-0"] != nil || len(p.records["busy"].Looks) != maxAsked {
		t.Errorf("%d records, %d in order, %d looks", len(p.records), len(p.recorded), len(p.records["busy"].Looks))
	}
}
