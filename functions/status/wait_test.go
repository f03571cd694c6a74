package status_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/casewatch/casewatch/functions/internal/functiontest"
	"github.com/casewatch/casewatch/functions/status"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// enough is far longer than any response of these tests takes, and far shorter than a long poll
// without news.
const enough = 20 * time.Second

// poll starts a long poll and returns when it waits.
func poll(t *testing.T, b *functiontest.Bench, url string, header ...string) <-chan functiontest.Answer {
	t.Helper()
	waits := b.Store.NextWait()
	answers := make(chan functiontest.Answer, 1)
	go func() { answers <- b.Do("GET", url, "", append(header, key)...) }()
	select {
	case <-waits:
	case a := <-answers:
		t.Fatalf("the long poll did not wait: got %d %s", a.Status, a.Body)
	case <-time.After(enough):
		t.Fatalf("the long poll neither waited nor returned within %v", enough)
	}
	return answers
}

func answered(t *testing.T, answers <-chan functiontest.Answer) functiontest.Answer {
	t.Helper()
	select {
	case a := <-answers:
		return a
	case <-time.After(enough):
		t.Fatalf("no response within %v", enough)
		return functiontest.Answer{}
	}
}

func TestLongPollReturnsAtTheFirstChange(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*functiontest.Bench)
		state  string
		run    float64
	}{
		{"progress", func(b *functiontest.Bench) {
			b.Event("m", `{"case_id":"c","run":1,"status":"running","progress":{"completed":1,"total":4}}`)
		}, "running", 1},
		{"the end", func(b *functiontest.Bench) {
			b.Event("m", `{"case_id":"c","run":1,"status":"failed","error":"no"}`)
		}, "failed", 1},
		{"a cancel", func(b *functiontest.Bench) {
			if _, err := b.Reconciler.Cancel(context.Background(), "c", 1); err != nil {
				b.T.Error(err)
			}
		}, "cancelled", 1},
		{"a newer run", func(b *functiontest.Bench) {
			request := reconcile.StartRequest{CaseID: "c", Form: []byte("{}"), Supersede: true}
			if _, err := b.Reconciler.Start(context.Background(), request); err != nil {
				b.T.Error(err)
			}
		}, "pending", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := functiontest.New(t, nil)
			u := b.Serve(status.New)
			c := b.Begin("c")
			answers := poll(t, b, u+"/c?wait=60s", "If-None-Match: "+tag(c))
			test.change(b)
			a := answered(t, answers)
			if body := a.JSON(t); a.Status != 200 || body["state"] != test.state || body["run"] != test.run ||
				a.Header.Get("ETag") == tag(c) {
				t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
			}
			if now, _ := b.Store.Waits(); now != 0 {
				t.Errorf("%d calls of Wait have not returned", now)
			}
		})
	}
}

func TestLongPollWithoutNews(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	c := b.Begin("c")
	for _, known := range []string{tag(c), "*"} {
		a := b.Do("GET", u+"/c?wait=50ms", "", key, "If-None-Match: "+known)
		if a.Status != http.StatusNotModified || a.Header.Get("ETag") != tag(c) || a.Header.Get("Retry-After") == "" ||
			a.Body != "" {
			t.Errorf("%s: %d %v %s", known, a.Status, a.Header, a.Body)
		}
	}
	if _, ever := b.Store.Waits(); ever == 0 {
		t.Error("the long poll did not wait")
	}
}

// A compressing proxy changes the tag. A long poll still waits.
func TestWaitWithACompressedTag(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	answers := poll(t, b, u+"/c?wait=60s", `If-None-Match: W/"1.1-gzip"`)
	b.Event("m", `{"case_id":"c","run":1,"status":"running"}`)
	if a := answered(t, answers); a.Status != 200 || a.Header.Get("ETag") != `W/"1.2"` {
		t.Errorf("%d %v", a.Status, a.Header)
	}
}

func TestNothingToWaitFor(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	b.Begin("c")
	if _, err := b.Reconciler.Cancel(t.Context(), "c", 1); err != nil {
		t.Fatal(err)
	}
	first := b.Case("c", 1)
	current := b.Begin("c")
	b.Begin("ended")
	b.Event("m", `{"case_id":"ended","run":1,"status":"succeeded","result":{}}`)
	ended := b.Case("ended", 1)
	for _, test := range []struct {
		name, path string
		header     []string
		want       int
	}{
		{"ended", "/ended?wait=60s", []string{"If-None-Match: " + tag(ended)}, 304},
		{"not the current run", "/c?run=1&wait=60s", []string{"If-None-Match: " + tag(first)}, 304},
		{"no tag", "/c?wait=60s", nil, 200},
		{"an older tag", "/c?wait=60s", []string{"If-None-Match: " + tag(first)}, 200},
		{"a wait of 0", "/c?wait=0s", []string{"If-None-Match: " + tag(current)}, 304},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), enough)
			defer cancel()
			if a := b.DoContext(ctx, "GET", u+test.path, "", append(test.header, key)...); a.Status != test.want {
				t.Errorf("%d %s, want %d", a.Status, a.Body, test.want)
			}
		})
	}
	if _, ever := b.Store.Waits(); ever != 0 {
		t.Errorf("%d calls of Wait, want none", ever)
	}
}

// A response is sent before the platform ends the request, whatever wait the caller requests.
func TestLongPollEndsBeforeTheRequest(t *testing.T) {
	for _, timeout := range []time.Duration{5*time.Second + 50*time.Millisecond, 5 * time.Second, time.Second} {
		b := functiontest.New(t, nil)
		b.Config.RequestTimeout = timeout
		u := b.Serve(status.New)
		c := b.Begin("c")
		ctx, cancel := context.WithTimeout(t.Context(), enough)
		a := b.DoContext(ctx, "GET", u+"/c?wait=60s", "", key, "If-None-Match: "+tag(c))
		if a.Status != http.StatusNotModified {
			t.Errorf("%v: %d %s", timeout, a.Status, a.Body)
		}
		cancel()
	}
}

// If the request itself ends, the response must not claim that there is no news.
func TestRequestEndsWhileItWaits(t *testing.T) {
	b := functiontest.New(t, nil)
	c := b.Begin("c")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/c?wait=60s", http.NoBody)
	r.Header = http.Header{"X-Api-Key": {functiontest.Key}, "If-None-Match": {tag(c)}}
	w := httptest.NewRecorder()
	status.New(b.Config, b.Reconciler).ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

// A caller that leaves during a long poll leaves no wait behind. TestMain checks the same for
// goroutines.
func TestCallerGoesAway(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	c := b.Begin("c")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	waits := b.Store.NextWait()
	done := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u+"/c?wait=60s", http.NoBody)
		if err != nil {
			done <- err
			return
		}
		req.Header.Set("X-API-Key", functiontest.Key)
		req.Header.Set("If-None-Match", tag(c))
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		done <- err
	}()
	<-waits
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(enough); ; time.Sleep(time.Millisecond) {
		if now, _ := b.Store.Waits(); now == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("Wait has not returned %v after the caller left", enough)
		}
	}
}

func TestStoreDown(t *testing.T) {
	b := functiontest.New(t, nil)
	u := b.Serve(status.New)
	c := b.Begin("c")
	b.Store.SetDown(true)
	for _, path := range []string{"/c", "/c?run=1", "/unknown", "/c?wait=60s"} {
		b.Problem(b.Do("GET", u+path, "", key, "If-None-Match: "+tag(c)), 503)
	}
	b.Store.SetDown(false)
	if a := b.Do("GET", u+"/c", "", key); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
