package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// lookEvery is how often a reader asks for JSON. On Google Cloud it asks more rarely: reads cost.
	lookEvery      = 300 * time.Millisecond
	lookEveryCloud = 2 * time.Second
	// streamFor is how long a stream is held before it is cut, so that each case sees what a reader sees who comes back.
	streamFor = 7 * time.Second
)

// eventID is the id of an event of a stream.
type eventID struct {
	run     int
	version int64
}

func (id eventID) String() string { return fmt.Sprintf("%d.%d", id.run, id.version) }

func (id eventID) less(other eventID) bool {
	return id.run < other.run || id.run == other.run && id.version < other.version
}

func parseEventID(text string) (eventID, error) {
	run, version, _ := strings.Cut(text, ".")
	r, err := strconv.Atoi(run)
	v, err2 := strconv.ParseInt(version, 10, 64)
	return eventID{r, v}, errors.Join(err, err2)
}

// streamEvent is one event of a stream.
type streamEvent struct {
	name    string
	id      eventID
	Current int     `json:"current"`
	Total   int     `json:"total"`
	Percent float64 `json:"percent"`
	State   string  `json:"state"`
}

// endState is the state that an event of an end tells: a complete one does not say it.
func (e streamEvent) endState() string {
	if e.name == "complete" {
		return "succeeded"
	}
	return e.State
}

// look asks for every run of a case again and again until ctx ends.
func (d *door) look(ctx context.Context, statusURL string, w *witness) {
	every := lookEvery
	if !d.t.Local() {
		every = lookEveryCloud
	}
	for {
		v, err := d.read(ctx, statusURL, 0)
		if err == nil {
			w.saw(v, time.Now())
		}
		for run := 1; run < v.Run; run++ {
			if earlier, err := d.read(ctx, statusURL, run); err == nil {
				w.saw(earlier, time.Now())
			}
		}
		if !pause(ctx, every) {
			return
		}
	}
}

// follow holds the stream of a case until ctx ends, and comes back when it is cut as a browser does: with the id of the last event. When it is
// answered that nothing more comes, it stops as a browser does, and comes back only for a new run.
func (d *door) follow(ctx context.Context, statusURL string, w *witness) {
	var last eventID
	for ctx.Err() == nil {
		more, err := d.stream(ctx, statusURL, &last, w)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && !more:
			w.closed(last.run)
			if !w.awaitRun(ctx, last.run+1) {
				return
			}
		case err != nil:
			pause(ctx, time.Second)
		}
	}
}

// stream holds one request. It reports whether there may be more to come.
func (d *door) stream(ctx context.Context, statusURL string, last *eventID, w *witness) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, streamFor)
	defer cancel()
	header := http.Header{"Accept": {"text/event-stream"}}
	if last.run > 0 {
		header.Set("Last-Event-Id", last.String())
	}
	res, err := d.send(ctx, http.MethodGet, statusURL, header, nil)
	if err != nil {
		return true, err
	}
	defer func() { _ = res.Body.Close() }()
	switch {
	case res.StatusCode == http.StatusNoContent:
		return false, nil
	case res.StatusCode != http.StatusOK:
		return true, fmt.Errorf("the stream answered %d", res.StatusCode)
	}
	lines := bufio.NewReaderSize(res.Body, 1<<16)
	e := streamEvent{}
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) || ctx.Err() != nil { // it is over, or we cut it
			return true, nil
		}
		if err != nil {
			return true, err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			e.name = value
		case "id":
			if e.id, err = parseEventID(value); err != nil {
				return true, err
			}
		case "data":
			if err := json.Unmarshal([]byte(value), &e); err != nil {
				return true, err
			}
		case "":
			if line == "\n" && e.name != "" {
				w.streamed(e, *last)
				*last = e.id
			}
			if line == "\n" {
				e = streamEvent{}
			}
		}
	}
}

// awaitRun waits until a run of that number is seen, and reports whether ctx lasted that long.
func (w *witness) awaitRun(ctx context.Context, run int) bool {
	return w.await(ctx, func(v view) bool { return v.Run >= run })
}

// await waits until the newest run is as asked, and reports whether ctx lasted that long.
func (w *witness) await(ctx context.Context, is func(view) bool) bool {
	for {
		v, news := w.now()
		if is(v) {
			return true
		}
		select {
		case <-news:
		case <-ctx.Done():
			return false
		}
	}
}
