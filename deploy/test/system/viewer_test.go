package system_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/casewatch/casewatch/deploy/test/witness"
	"github.com/casewatch/casewatch/shared/pipeline/pipelinetest"
)

// streaming has no time limit: a stream ends by itself.
var streaming = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}

// watch has a witness read the case of a run, its JSON and its stream, until the test ends.
func (s *system) watch(r run) *witness.Witness {
	w := witness.New(r.ID, r.StatusURL, witness.Options{Client: streaming, Every: 2 * time.Second})
	s.mu.Lock()
	s.witnesses = append(s.witnesses, w)
	s.mu.Unlock()
	s.readers.Go(func() { w.Poll(s.t.Context()) })
	s.readers.Go(func() { w.Stream(s.t.Context()) })
	return w
}

// underWay is how long after its end was seen a poll may arrive whose check began before. That none
// began after it is what "leaked" tells, by the versions that the checks read.
const underWay = 2 * time.Second

// keepPromises wants every case that is watched to have ended, and nothing to break a promise:
// neither what a reader was shown, nor a poll after the end, but for the one that was under way.
func (s *system) keepPromises(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, w := range s.witnesses {
		if w.Await(ctx, witness.View.Ended) {
			end := w.Run(w.Latest().Run)
			if polls := s.pipe.PollsAfter(w.CaseID, end.EndSeen.Add(underWay)); len(polls) > 0 {
				w.Accuse(witness.OneChain, end.Run, "the pipeline was polled %d times after its end", len(polls))
			}
		} else {
			w.Accuse(witness.Ends, w.Latest().Run, "it has not ended in time")
		}
		w.Judge(ctx, healedWithin)
		for _, b := range w.Breaches() {
			t.Error(b)
		}
	}
}

// comes waits until a reader of the stream was shown something of a run.
func (s *system) comes(w *witness.Witness, run int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	shown := func(witness.View) bool {
		return slices.ContainsFunc(w.Events(), func(e witness.Event) bool { return e.Run == run })
	}
	if !w.Await(ctx, shown) {
		s.giveUp("a viewer of %s was not shown run %d in time", w.CaseID, run)
	}
}

// viewersCome waits until so many viewers were shown something.
func (s *system) viewersCome(want int) {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		n := 0
		s.mu.Lock()
		for _, w := range s.witnesses {
			n += min(1, len(w.Events()))
		}
		s.mu.Unlock()
		if n >= want {
			return
		}
	}
	s.giveUp("fewer than %d viewers were shown anything", want)
}

// crowd has viewers at two instances of status when an end is made. Of the other cases the last
// viewers may all be at one, after the deaths.
func (s *system) crowd(t *testing.T) {
	s.pipe.Script("crowd", pipelinetest.Async(4))
	r := s.begin(`{"case_id":"crowd"}`, "")
	at := map[string]bool{}
	for viewers := 0; len(at) < 2 && viewers < 20; viewers++ {
		w := s.watch(r)
		s.comes(w, 1)
		at[w.Events()[0].Instance] = true
	}
	if code, body := s.persist(http.MethodPost, r.CancelURL, ""); code != http.StatusOK {
		t.Errorf("cancel: %d %s", code, body)
	}
	s.until(r, "it is cancelled", ended)
}

// watched wants ends to have reached viewers who were there when they were made, at more than one
// instance of status, and connections to have broken. It says what the viewers went through.
func (s *system) watched(t *testing.T) string {
	var events, opened, broke int
	var took []time.Duration
	at := map[string]bool{}
	for _, w := range s.witnesses {
		n, m := w.Connections()
		opened, broke = opened+n, broke+m
		for _, e := range w.Events() {
			events++
			if end := w.Run(e.Run).EndedAt; e.IsEnd() && end != nil && e.Since.Before(*end) {
				took = append(took, e.At.Sub(*end))
				at[e.Instance] = true
			}
		}
	}
	if len(at) < 2 || broke == 0 {
		t.Errorf("viewers were shown an end when it was made at %d instances, want 2 or more; "+
			"%d connections broke, want some", len(at), broke)
	}
	return fmt.Sprintf("%d viewers were shown %d events over %d connections, %d of which broke; %d of them at %d "+
		"instances were there when the end came, and saw it within %v, the median %v",
		len(s.witnesses), events, opened, broke, len(took), len(at), share(took, 100), share(took, 50))
}
