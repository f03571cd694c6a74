package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/casewatch/casewatch/deploy/test/drill/target"
	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/printable"
)

// answerTimeout bounds a request that is not a stream.
const answerTimeout = 30 * time.Second

// knockTimeout bounds a look whether anything answers at all; a new instance may have to come first.
const knockTimeout = 15 * time.Second

// door is how everybody reaches the system: its public functions, and what may be read besides.
type door struct {
	t    *target.Target
	http *http.Client
}

func newDoor(t *target.Target) *door {
	return &door{t, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32, ForceAttemptHTTP2: true}}}
}

// started is what start answered.
type started struct {
	Code      int       `json:"-"`
	CaseID    string    `json:"case_id"`
	Run       int       `json:"run"`
	StatusURL string    `json:"status_url"`
	CancelURL string    `json:"cancel_url"`
	CreatedAt time.Time `json:"created_at"`
}

// start begins a run, or finds it. What says 503 or 429, or cannot be reached, is asked again for a
// while: so a caller is told to do. A request that was sent is waited for whatever becomes of ctx:
// what it began is to be known, or nobody would cancel it.
func (d *door) start(ctx context.Context, form []byte, query url.Values, key string) (started, error) {
	header := http.Header{"Content-Type": {"application/json"}}
	if key != "" {
		header.Set("Idempotency-Key", key)
	}
	var s started
	var err error
	for range 8 {
		var code int
		var body []byte
		code, body, err = d.do(context.WithoutCancel(ctx), http.MethodPost, withQuery(d.t.Start, query), header, form)
		switch {
		case err == nil && (code == http.StatusOK || code == http.StatusAccepted):
			s.Code = code
			return s, json.Unmarshal(body, &s)
		case err == nil && code != http.StatusServiceUnavailable && code != http.StatusTooManyRequests:
			return s, fmt.Errorf("start answered %d: %s", code, clip(body))
		case err == nil:
			err = fmt.Errorf("start answered %d: %s", code, clip(body))
		}
		if ctxtime.Sleep(ctx, 2*time.Second) != nil {
			return s, ctx.Err()
		}
	}
	return s, err
}

// knock returns an error unless something answers where cases are started, whatever it says.
func (d *door) knock(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, knockTimeout)
	defer cancel()
	res, err := d.send(ctx, http.MethodGet, d.t.Start, nil, nil)
	if err == nil {
		_ = res.Body.Close()
	}
	return err
}

// cancel asks to cancel a run and returns the answer's status.
func (d *door) cancel(ctx context.Context, cancelURL string) (int, error) {
	code, _, err := d.do(ctx, http.MethodPost, cancelURL, nil, nil)
	return code, err
}

// health is what the console says that a sweep would find.
type health struct {
	Open        int `json:"open"`
	Overdue     int `json:"overdue"`
	Leaked      int `json:"leaked"`
	Unpublished int `json:"unpublished"`
}

// errNoConsole says why the console cannot be read.
type errNoConsole struct{ why string }

func (e errNoConsole) Error() string { return e.why }

// console reads JSON at a path of the console. The error is errNoConsole if it is not for us.
func (d *door) console(ctx context.Context, path string, into any) error {
	if d.t.Console == "" {
		return errNoConsole{"no address of the console is known"}
	}
	header := http.Header{"Accept": {"application/json"}}
	if d.t.IDToken != "" {
		header.Set("Authorization", "Bearer "+d.t.IDToken)
	}
	code, body, err := d.do(ctx, http.MethodGet, d.t.Console+path, header, nil)
	switch {
	case err != nil:
		return errNoConsole{"the console cannot be reached: " + err.Error()}
	case code != http.StatusOK:
		return errNoConsole{fmt.Sprintf("the console answered %d", code)}
	}
	return json.Unmarshal(body, into)
}

// record is what the sample pipeline was asked about a case.
type record struct {
	Requests []struct {
		Run string `json:"run"`
		Did string `json:"did"`
	} `json:"requests"`
	Looks []time.Time `json:"looks"`
}

// record reads the sample pipeline's own record of a case.
func (d *door) record(ctx context.Context, caseID string) (record, error) {
	var r record
	code, body, err := d.do(ctx, http.MethodGet, d.t.SamplePipeline+"/api/record/"+url.PathEscape(caseID), nil, nil)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("the pipeline's record answered %d", code)
	}
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(body, &r)
}

// do sends one request and returns status and body. The key goes to the public functions only.
func (d *door) do(ctx context.Context, method, to string, header http.Header, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	res, err := d.send(ctx, method, to, header, body)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	return res.StatusCode, data, err
}

func (d *door) send(ctx context.Context, method, to string, header http.Header, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	private := d.t.SamplePipeline != "" && strings.HasPrefix(to, d.t.SamplePipeline+"/") ||
		d.t.Console != "" && strings.HasPrefix(to, d.t.Console+"/")
	if d.t.APIKey != "" && !private {
		req.Header.Set("X-Api-Key", d.t.APIKey)
	}
	res, err := d.http.Do(req)
	if failed := (*url.Error)(nil); errors.As(err, &failed) { // its text has the query, in which the token of a case is
		address, _, _ := strings.Cut(to, "?")
		return nil, fmt.Errorf("%s %s: %w", method, address, failed.Err)
	}
	return res, err
}

// withQuery adds to the query that an address has.
func withQuery(to string, query url.Values) string {
	if len(query) == 0 {
		return to
	}
	separator := "?"
	if strings.Contains(to, "?") {
		separator = "&"
	}
	return to + separator + query.Encode()
}

func clip(body []byte) string { return printable.Line(string(body), 300) }
