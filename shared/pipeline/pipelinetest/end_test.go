package pipelinetest_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

func TestOldRunEndsAfterNewOne(t *testing.T) {
	p := pipelinetest.New(t)
	p.Default(pipelinetest.Sync(1))
	first, second := make(chan reply, 1), make(chan reply, 1)
	go func() { first <- post(p, `{"case_id":"c","run":1}`) }()
	if err := p.WaitWork(deadline(t), "c", 1); err != nil {
		t.Fatal(err)
	}
	go func() { second <- post(p, `{"case_id":"c","run":2}`) }()
	if err := p.WaitWork(deadline(t), "c", 2); err != nil {
		t.Fatal(err)
	}
	p.Fail("c", "the second")
	if got := <-second; got.status != 500 {
		t.Fatalf("second: %+v", got)
	}
	p.FinishRun("c", 1, []byte(`{"success":true,"n":1}`))
	if got := <-first; got.body != `{"success":true,"n":1}` {
		t.Fatalf("first: %+v", got)
	}
}

func TestWorkEndsByItself(t *testing.T) {
	p := pipelinetest.New(t)
	p.Default(pipelinetest.Work(2, 1, time.Millisecond))
	if got := post(p, `{"case_id":"c","run":1}`); got.status != 200 || !strings.Contains(got.body, `"failed":1`) {
		t.Fatalf("got %+v", got)
	}
	if got := poll(p, "c"); !strings.Contains(got.body, `"completed":2`) {
		t.Fatalf("got %+v", got)
	}
}

func TestKey(t *testing.T) {
	p := pipelinetest.New(t)
	p.Key = "k"
	if got := post(p, `{"case_id":"c","run":1}`); got.status != 401 {
		t.Fatalf("post: %+v", got)
	}
	if got := poll(p, "c"); got.status != 401 {
		t.Fatalf("poll: %+v", got)
	}
}

func TestCloseEndsWhatIsHeld(t *testing.T) {
	p, err := pipelinetest.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.Default(pipelinetest.Hang(true, 1))
	p.Script("sync", pipelinetest.Sync(1))
	p.Script("work", pipelinetest.Work(1, 0, time.Hour))
	p.Script("until", pipelinetest.Until(nil, pipelinetest.Async(1)))
	p.Script("slow", pipelinetest.Slow(time.Hour, pipelinetest.Async(1)))
	ids := []string{"hang", "sync", "work", "until", "slow"}
	answers := make(chan reply, len(ids))
	for _, id := range ids {
		go func() { answers <- post(p, `{"case_id":"`+id+`","run":1}`) }()
	}
	if err := p.Wait(deadline(t), func() bool { return p.Open() == len(ids) }); err != nil {
		t.Fatal(err)
	}
	p.Close()
	p.Close()
	for range ids {
		if got := <-answers; got.err == nil {
			t.Fatalf("got %+v", got)
		}
	}
	if err := p.WaitPosts(deadline(t), "none", 1); !errors.Is(err, http.ErrServerClosed) {
		t.Fatalf("waiting after the end: %v", err)
	}
}
