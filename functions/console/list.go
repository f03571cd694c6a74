package console

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/casewatch/casewatch/functions/internal/address"
	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// pageSize is how many runs one page shows.
const pageSize = 50

// ages are the choices of the page. The query may contain any other number too.
var ages = []string{"newer-1h", "newer-1d", "newer-7d", "older-10m", "older-1h", "older-1d"}

// summary is a run as the list shows it.
type summary struct {
	CaseID     string           `json:"case_id"`
	Run        int              `json:"run"`
	Pipeline   string           `json:"pipeline"`
	State      cases.State      `json:"state"`
	Progress   cases.Progress   `json:"progress"`
	Stalled    bool             `json:"stalled"`
	CreatedAt  time.Time        `json:"created_at"`
	UpdatedAt  time.Time        `json:"updated_at"`
	DeadlineAt time.Time        `json:"deadline_at"`
	EndedAt    *time.Time       `json:"ended_at"`
	End        *cases.End       `json:"end"`
	Documents  *cases.Documents `json:"documents"`
}

func summarize(c cases.Case) summary {
	return summary{
		CaseID: c.CaseID, Run: c.Run, Pipeline: c.Pipeline, State: c.State,
		Progress: c.Job.Progress, Stalled: c.Job.Stalled,
		CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt, DeadlineAt: c.DeadlineAt,
		EndedAt: optional(c.Outcome.EndedAt), End: c.Outcome.End, Documents: c.Outcome.Documents,
	}
}

// listing is a page of the list.
type listing struct {
	Runs   []summary           `json:"runs"`
	Counts map[cases.State]int `json:"counts"` // of all stored runs, without the filter
	Next   *string             `json:"next"`   // the "after" of the next page; null on the last one
}

func (f function) list(rw http.ResponseWriter, r *http.Request, user string) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "the query cannot be read")
	}
	if id := strings.TrimSpace(query.Get("id")); id != "" {
		return f.find(rw, r, id)
	}
	now := f.reconciler.Now()
	filter, after, err := parseList(query, now)
	if err != nil {
		return err
	}
	runs, err := f.reconciler.List(r.Context(), filter, after, pageSize+1)
	if err != nil {
		return err
	}
	l := listing{Runs: make([]summary, 0, pageSize)}
	if l.Counts, err = f.reconciler.CountByState(r.Context()); err != nil {
		return err
	}
	if len(runs) > pageSize {
		runs = runs[:pageSize]
		next := encodeCursor(reconcile.PlaceOf(runs[pageSize-1]))
		l.Next = &next
	}
	for _, c := range runs {
		l.Runs = append(l.Runs, summarize(c))
	}
	if wantsJSON(r) {
		answer.JSON(rw, http.StatusOK, l)
		return nil
	}
	return f.pages.show(
		rw,
		http.StatusOK,
		"list",
		page{Title: "Cases", Base: "./", User: user, Now: now, Refresh: 10, Data: listPage{
			listing: l, State: filter.State, Age: query.Get("age"), Later: query.Get("after") != "",
		}},
	)
}

// find redirects to the case with the id.
func (f function) find(rw http.ResponseWriter, r *http.Request, id string) error {
	if !cases.ValidID(id) {
		return invalid([]fault.Fault{{Pointer: "id", Detail: address.InvalidID}})
	}
	_, err := f.reconciler.Read(r.Context(), id, 0)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return fault.Wrap(fault.NotFound, err, "there is no case "+id+", or it was deleted")
	}
	if err != nil {
		return err
	}
	redirect(rw, http.StatusSeeOther, id, nil)
	return nil
}

// redirect redirects to the address of a case. The address is relative, because the console does
// not know the path under which it is served.
func redirect(rw http.ResponseWriter, status int, caseID string, query url.Values) {
	at := "./" + caseID
	if len(query) > 0 {
		at += "?" + query.Encode()
	}
	rw.Header().Set("Location", at)
	rw.WriteHeader(status)
}

// parseList returns the page of the list that the query names. The error is Invalid and lists every
// field error.
func parseList(query url.Values, now time.Time) (filter reconcile.Filter, after reconcile.Place, err error) {
	var faults []fault.Fault
	bad := func(name, detail string) { faults = append(faults, fault.Fault{Pointer: name, Detail: detail}) }
	filter.State = cases.State(query.Get("state"))
	if filter.State != "" && !slices.Contains(cases.States(), filter.State) {
		bad("state", "must be a state of a run, such as running, or empty")
	}
	if age := query.Get("age"); age != "" {
		newer, isNewer := strings.CutPrefix(age, "newer-")
		older, isOlder := strings.CutPrefix(age, "older-")
		d, ok := parseAge(newer)
		if !isNewer {
			d, ok = parseAge(older)
		}
		switch {
		case !ok || !isNewer && !isOlder:
			bad("age", "must be newer- or older- and a number with m, h or d, such as older-10m, or empty")
		case isNewer:
			filter.Since = now.Add(-d)
		default:
			filter.Before = now.Add(-d)
		}
	}
	if text := query.Get("after"); text != "" {
		if after, err = decodeCursor(text); err != nil {
			bad("after", "must be the next of an earlier page")
		}
	}
	if len(faults) > 0 {
		return filter, after, invalid(faults)
	}
	return filter, after, nil
}

func invalid(faults []fault.Fault) error {
	return &fault.Error{Kind: fault.Invalid, Detail: "the address is not valid", Faults: faults}
}

// parseAge parses a number of minutes, hours or days, above 0 and at most ten years.
func parseAge(text string) (time.Duration, bool) {
	units := map[byte]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}
	if text == "" {
		return 0, false
	}
	unit, ok := units[text[len(text)-1]]
	n, err := strconv.ParseInt(text[:len(text)-1], 10, 32)
	if !ok || err != nil || n < 1 || n > int64(10*365*24*time.Hour/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

// optional returns nil for the zero time.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// encodeCursor returns the text of a place in the list. Callers must treat it as opaque. It is not
// secret.
func encodeCursor(p reconcile.Place) string {
	text := strings.Join(
		[]string{"1", strconv.FormatInt(p.CreatedAt.UnixMicro(), 10), strconv.Itoa(p.Run), p.CaseID},
		"/",
	)
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

var errCursor = errors.New("console: not a cursor")

// maxMicros is the end of the year 9999 in microseconds. RFC 3339 cannot represent later times.
const maxMicros = 253402300799999999

// decodeCursor returns the place of a text that encodeCursor returned, and an error for any other
// text.
func decodeCursor(text string) (reconcile.Place, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return reconcile.Place{}, errCursor
	}
	parts := strings.Split(string(raw), "/")
	if len(parts) != 4 {
		return reconcile.Place{}, errCursor
	}
	micros, errTime := strconv.ParseInt(parts[1], 10, 64)
	run, errRun := strconv.Atoi(parts[2])
	p := reconcile.Place{CreatedAt: time.UnixMicro(micros).UTC(), CaseID: parts[3], Run: run}
	if errTime != nil || errRun != nil || micros < 0 || micros > maxMicros || run < 1 || !cases.ValidID(p.CaseID) ||
		encodeCursor(p) != text {
		return reconcile.Place{}, errCursor
	}
	return p, nil
}
