package status_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/functions/status"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// maxHeld is how many requests for one case are held, as the documentation says.
const maxHeld = 32

// crowd opens n streams of a case.
func crowd(t *testing.T, url string, n int) (viewers []*viewer) {
	t.Helper()
	for range n {
		v := view(t, url)
		v.begins()
		v.next()
		viewers = append(viewers, v)
	}
	return viewers
}

// join opens a stream, and returns nil if the viewer got the state and was told to reconnect later.
func join(t *testing.T, url string) *viewer {
	t.Helper()
	v := view(t, url)
	v.retry = "2000"
	b := <-v.blocks
	if b.event != "progress" || b.retry != "2000" && b.retry != "5000" {
		t.Fatalf("%+v", b)
	}
	if b.retry == "5000" {
		v.ends()
		v.leave()
		return nil
	}
	v.retry = ""
	return v
}

// turnedAway reports whether a viewer that joins, and leaves, is told to reconnect later.
func turnedAway(t *testing.T, url string) bool {
	t.Helper()
	v := join(t, url)
	if v == nil {
		return true
	}
	v.leave()
	return false
}

// One case cannot occupy a whole instance. Above the limit, a request gets the current state and is
// told to come back later.
func TestHeldPerCase(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	c := b.Begin("c")
	b.Begin("other")
	viewers := crowd(t, u+"/c", maxHeld-1)
	answers := poll(t, b, u+"/c?wait=60s", "If-None-Match: "+tag(c)) // a long poll counts too

	if !turnedAway(t, u+"/c") {
		t.Error("more than 32 requests are held")
	}
	informed := view(t, u+"/c", "Last-Event-ID: 1.1")
	if e := informed.next(); informed.status != 200 || e != closing {
		t.Errorf("%d %+v", informed.status, e)
	}
	informed.ends()
	known := tag(b.Case("c", 1))
	began := time.Now()
	a := b.Do("GET", u+"/c?wait=60s", "", key, "If-None-Match: "+known)
	after, _ := strconv.Atoi(a.Header.Get("Retry-After"))
	if a.Status != http.StatusNotModified || a.Header.Get("ETag") != known || after < 5 || time.Since(began) > enough {
		t.Errorf("a long poll: got %d %v after %v", a.Status, a.Header, time.Since(began))
	}
	if a := b.Do("GET", u+"/c?wait=60s", "", key, `If-None-Match: "1.0"`); a.Status != 200 {
		t.Errorf("a long poll with an older tag: got %d", a.Status)
	}
	if a := b.Do("HEAD", u+"/c", "", key, asStream); a.Status != 200 {
		t.Errorf("HEAD: %d", a.Status)
	}
	if turnedAway(t, u+"/other") {
		t.Error("the limit of one case affects another case")
	}

	viewers[0].leave()
	until(t, "a place is free", func() bool {
		viewers[0] = join(t, u+"/c")
		return viewers[0] != nil
	})
	b.Event("m", `{"case_id":"c","run":1,"status":"failed","error":"no"}`)
	answered(t, answers)
	for _, v := range viewers {
		if e := v.next(); e.event != "error" {
			t.Errorf("%+v", e)
		}
		v.ends()
	}
	if c := b.Begin("c"); c.Run != 2 || turnedAway(t, u+"/c") {
		t.Error("places are still taken after the end")
	}
	released(t, b)
}

// When a request ends, for any reason, its place is free again.
func TestHeldIsReleased(t *testing.T) {
	b := functiontest.New(t, nil)
	broken := &panicking{Store: b.Store.Store, reads: 1 << 30}
	b.Store.Store = broken
	u := b.Serve(status.New)
	b.Begin("c")
	panicAfter := func(reads int) {
		broken.mu.Lock()
		defer broken.mu.Unlock()
		broken.reads = reads
	}
	change := func() { update(b, "c", 1, func(*cases.Case) {}) }
	// A request that has ended for its client may still hold its place for a moment.
	begins := func() (v *viewer) {
		until(t, "a place is free", func() bool {
			v = join(t, u+"/c")
			return v != nil
		})
		return v
	}
	for name, request := range map[string]func(){
		"a viewer that leaves":     func() { begins().leave() },
		"a long poll without news": func() { b.Do("GET", u+"/c?wait=1ms", "", key, "If-None-Match: *") },
		"a long poll with news": func() {
			answers := poll(t, b, u+"/c?wait=60s", "If-None-Match: "+tag(b.Case("c", 1)))
			change()
			answered(t, answers)
		},
		"a panic in a stream": func() {
			v := begins()
			panicAfter(0)
			change()
			v.closes()
			panicAfter(1 << 30)
		},
		"a panic in a long poll": func() {
			panicAfter(1)
			answers := poll(t, b, u+"/c?wait=60s", "If-None-Match: "+tag(b.Case("c", 1)))
			change()
			b.Problem(answered(t, answers), 500)
			panicAfter(1 << 30)
		},
	} {
		for range maxHeld + 1 {
			request()
		}
		until(t, "the place is free after "+name, func() bool { return !turnedAway(t, u+"/c") })
	}
}

// If the store fails, all streams of a case end and their places are free again.
func TestHeldIsReleasedWhenTheStoreFails(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	var viewers []*viewer
	for range maxHeld {
		v := view(t, u+"/c")
		v.begins()
		v.next()
		viewers = append(viewers, v)
	}
	until(t, "the streams wait", func() bool { now, _ := b.Store.Waits(); return now > 0 })
	b.Store.SetDown(true)
	c, err := b.Store.Store.Get(t.Context(), "c", 1)
	if err != nil {
		t.Fatal(err)
	}
	c.Version++
	if err := b.Store.Store.Update(t.Context(), store.Write{Case: c}); err != nil {
		t.Fatal(err)
	}
	for _, v := range viewers {
		v.closes()
	}
	b.Store.SetDown(false)
	until(t, "the streams are released", func() bool { return !turnedAway(t, u+"/c") })
}
