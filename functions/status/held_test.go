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

// maxHeld is how many requests about one case are held, as the contract says.
const maxHeld = 32

// crowd opens as many streams of a case as are held.
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

// turnedAway reports whether a viewer is shown the state, and told to reconnect later.
func turnedAway(t *testing.T, url string) bool {
	t.Helper()
	v := view(t, url)
	defer v.leave()
	v.retry = "2000"
	b := <-v.blocks
	if b.event != "progress" || b.retry != "2000" && b.retry != "5000" {
		t.Fatalf("%+v", b)
	}
	if b.retry == "5000" {
		v.ends()
	}
	return b.retry == "5000"
}

// One case cannot hold all of an instance: whoever comes when it holds enough has the present state, and is told to come back.
func TestHeldPerCase(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	c := b.Begin("c")
	b.Begin("other")
	viewers := crowd(t, u+"/c", maxHeld-1)
	answers := poll(t, b, u+"/c?wait=60s", "If-None-Match: "+tag(c)) // which counts too

	if !turnedAway(t, u+"/c") {
		t.Error("one more than 32 is held")
	}
	knows := view(t, u+"/c", "Last-Event-ID: 1.1")
	if e := knows.next(); knows.status != 200 || e != closing {
		t.Errorf("%d %+v", knows.status, e)
	}
	knows.ends()
	known := tag(b.Case("c", 1))
	began := time.Now()
	a := b.Do("GET", u+"/c?wait=60s", "", key, "If-None-Match: "+known)
	after, _ := strconv.Atoi(a.Header.Get("Retry-After"))
	if a.Status != http.StatusNotModified || a.Header.Get("ETag") != known || after < 5 || time.Since(began) > enough {
		t.Errorf("a long poll: %d %v after %v", a.Status, a.Header, time.Since(began))
	}
	if a := b.Do("GET", u+"/c?wait=60s", "", key, `If-None-Match: "1.0"`); a.Status != 200 {
		t.Errorf("a long poll that knows less: %d", a.Status)
	}
	if a := b.Do("HEAD", u+"/c", "", key, asStream); a.Status != 200 {
		t.Errorf("HEAD: %d", a.Status)
	}
	if turnedAway(t, u+"/other") {
		t.Error("another case suffers")
	}

	viewers[0].leave()
	until(t, "there is room for one", func() bool { return !turnedAway(t, u+"/c") })
	viewers[0] = view(t, u+"/c")
	viewers[0].begins()
	viewers[0].next()
	b.Event("m", `{"case_id":"c","run":1,"status":"failed","error":"no"}`)
	answered(t, answers)
	for _, v := range viewers {
		if e := v.next(); e.event != "error" {
			t.Errorf("%+v", e)
		}
		v.ends()
	}
	if c := b.Begin("c"); c.Run != 2 || turnedAway(t, u+"/c") {
		t.Error("the end has left some held")
	}
	released(t, b)
}

// Nothing is held any more when a request has ended, whatever ended it.
func TestHeldIsReleased(t *testing.T) {
	b := functiontest.New(t, nil)
	broken := &panicking{Store: b.Store.Store, reads: 1 << 30}
	b.Store.Store = broken
	u := b.Serve(status.New)
	b.Begin("c")
	wellFor := func(reads int) {
		broken.mu.Lock()
		defer broken.mu.Unlock()
		broken.reads = reads
	}
	change := func() { update(b, "c", 1, func(*cases.Case) {}) }
	begins := func() *viewer {
		v := view(t, u+"/c")
		v.begins()
		v.next()
		return v
	}
	for name, request := range map[string]func(){
		"a viewer that leaves": func() { begins().leave() },
		"a long poll in vain":  func() { b.Do("GET", u+"/c?wait=1ms", "", key, "If-None-Match: *") },
		"a long poll with news": func() {
			answers := poll(t, b, u+"/c?wait=60s", "If-None-Match: "+tag(b.Case("c", 1)))
			change()
			answered(t, answers)
		},
		"a panic in a stream": func() {
			wellFor(1)
			v := begins()
			change()
			if e := v.next(); e != closing {
				t.Errorf("%+v", e)
			}
			wellFor(1 << 30)
		},
		"a panic in a long poll": func() {
			wellFor(1)
			answers := poll(t, b, u+"/c?wait=60s", "If-None-Match: "+tag(b.Case("c", 1)))
			change()
			b.Problem(answered(t, answers), 500)
			wellFor(1 << 30)
		},
	} {
		for range maxHeld + 1 {
			request()
		}
		until(t, name+" is let go of", func() bool { return !turnedAway(t, u+"/c") })
	}
}

// A store that fails ends all streams of a case, and none of them is held afterwards.
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
	until(t, "they wait", func() bool { now, _ := b.Store.Waits(); return now > 0 })
	b.Store.SetDown(true)
	c, err := b.Store.Store.Get(t.Context(), "c", 1)
	if err != nil {
		t.Fatal(err)
	}
	c.Version++
	if err := b.Store.Store.Update(t.Context(), store.Write{Case: c}); err != nil {
		t.Fatal(err)
	}
	for i, v := range viewers {
		if e := v.next(); e != closing {
			t.Errorf("stream %d got %+v, want %+v", i, e, closing)
		}
	}
	b.Store.SetDown(false)
	until(t, "the streams are released", func() bool { return !turnedAway(t, u+"/c") })
}
