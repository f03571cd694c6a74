package start_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/functions/start"
	"github.com/casewatch/casewatch/shared/cases"
)

const failed = `{"case_id":"c","run":1,"status":"failed","error":{"message":"broke"}}`

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func begun(b *functiontest.Bench) bool {
	_, err := b.Store.Get(context.Background(), "c", 1)
	return err == nil
}

func TestACallerMayWaitForTheEnd(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(start.New)
	answers := make(chan functiontest.Answer, 1)
	go func() {
		answers <- b.Do("POST", u, `{"case_id":"c"}`, isJSON, key, `Prefer: respond-async, WAIT="90"; x=1, wait=1`)
	}()
	eventually(t, "the run begins", func() bool { return begun(b) })
	b.Event("m", failed)
	a := <-answers
	body := a.JSON(t)
	if a.Status != 200 || a.Header.Get("Preference-Applied") != "wait=60" || body["state"] != "failed" ||
		body["end"].(map[string]any)["message"] != "broke" || a.Header.Get("Retry-After") != "" ||
		!strings.HasPrefix(a.Header.Get("Location"), "http://status.example/s/c?token=") {
		t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
	}
}

func TestAWaitThatIsOver(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(start.New)
	begin := time.Now()
	a := b.Do("POST", u, `{"case_id":"c"}`, isJSON, key, "Prefer: wait=1")
	if took := time.Since(begin); a.Status != 202 || took < time.Second || a.Header.Get("Preference-Applied") != "" ||
		a.Header.Get("Retry-After") == "" || a.JSON(t)["status_url"] == nil {
		t.Errorf("after %v: %d %v %s", took, a.Status, a.Header, a.Body)
	}
	for _, prefer := range []string{
		"wait=0", "wait=x", "wait", "wait=-1", "wait=1.5", "waits=9", "", "return=minimal",
	} {
		begin := time.Now()
		a := b.Do("POST", u, `{"case_id":"c"}`, isJSON, key, "Prefer: "+prefer)
		if took := time.Since(begin); a.Status != 200 || took > 500*time.Millisecond {
			t.Errorf("%q: %d after %v", prefer, a.Status, took)
		}
	}
}

// The request's own time bounds the wait.
func TestAWaitLeavesTimeToAnswer(t *testing.T) {
	b := functiontest.New(t, nil)
	b.Config.RequestTimeout = 6 * time.Second
	u := b.Serve(start.New)
	begin := time.Now()
	a := b.Do("POST", u, `{"case_id":"c"}`, isJSON, key, "Prefer: wait=60")
	if took := time.Since(begin); a.Status != 202 || took > 4*time.Second {
		t.Errorf("%d after %v", a.Status, took)
	}
}

// Half of the requests may wait. The others are answered immediately.
func TestNotAllMayWait(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(start.New)
	b.Begin("c")
	const waits = 40
	answers := make(chan functiontest.Answer, waits+1)
	for range waits + 1 {
		go func() { answers <- b.Do("POST", u, `{"case_id":"c"}`, isJSON, key, "Prefer: wait=30") }()
	}
	if a := <-answers; a.Status != 200 || a.JSON(t)["status_url"] == nil || a.Header.Get("Preference-Applied") != "" {
		t.Errorf("one more than may wait is answered %d %s", a.Status, a.Body)
	}
	b.Event("m", failed)
	for range waits {
		if a := <-answers; a.Status != 200 || a.JSON(t)["state"] != string(cases.Failed) {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
}

// A store that is down while a caller waits costs the caller nothing but the wait.
func TestAWaitThatFails(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(start.New)
	b.Store.Before(func(method string) error {
		if method == "Current" && begun(b) {
			return context.DeadlineExceeded
		}
		return nil
	})
	if a := b.Do("POST", u, `{"case_id":"c"}`, isJSON, key, "Prefer: wait=2"); a.Status != 202 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
