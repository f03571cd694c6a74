package start

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/casewatch/casewatch/functions/internal/access"
	"github.com/casewatch/casewatch/functions/internal/address"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/jsonscan"
	"github.com/casewatch/casewatch/shared/printable"
	"github.com/casewatch/casewatch/shared/reconcile"
)

const (
	// maxKey is the limit of an Idempotency-Key in bytes.
	maxKey = 255
	// maxNamed is how many unknown parameters the error lists, and maxName is the limit of each
	// name in bytes.
	maxNamed, maxName = 20, 64
)

// maxJob is the limit of a job's name in bytes.
const maxJob = 2 << 10

// limits are what the settings allow.
type limits struct {
	maxDeadline time.Duration
	pipelines   []string // their names
}

// problems lists the field errors of a request in the order in which they are found. The same
// request always gets the same order.
type problems []fault.Fault

func (p *problems) add(pointer, detail string) {
	*p = append(*p, fault.Fault{Pointer: pointer, Detail: detail})
}

// decode reads a start request. named reports whether the form names the case. The error is Invalid
// and lists every field error.
func decode(
	r *http.Request,
	form []byte,
	caller access.Caller,
	limits limits,
) (req reconcile.StartRequest, named bool, err error) {
	req.Form = form
	var bad problems
	req.CaseID, named = readForm(form, &bad)
	readQuery(r.URL.RawQuery, limits, &req, &bad)
	if req.Adopt && !named {
		bad.add("/case_id", "is needed with adopt=true: it says which case the pipeline works on")
	}
	key := readKey(r.Header.Values("Idempotency-Key"), &bad)
	if len(bad) > 0 {
		return req, named, &fault.Error{Kind: fault.Invalid, Detail: "the request is not valid", Faults: bad}
	}
	if key != "" {
		req.Key = digest("key", caller.Name, key)
	}
	switch {
	case named:
	case key != "":
		req.CaseID = digest("case", caller.Name, key)[:32] // a repeated request gets the same case
	default:
		id, err := uuid.NewV7()
		if err != nil {
			return req, named, fault.Wrap(fault.Internal, err, "no random number")
		}
		req.CaseID = id.String()
	}
	return req, named, nil
}

// readForm returns the case id of the form. named is false if the form has none.
func readForm(form []byte, bad *problems) (caseID string, named bool) {
	members, err := jsonscan.Members(form, "case_id")
	switch {
	case !utf8.Valid(form):
		bad.add("", "the body must be valid UTF-8")
	case err != nil && !json.Valid(form):
		bad.add("", "the body must be a JSON object; it is not JSON")
	case err != nil:
		bad.add("", "the body must be a JSON object; it is other JSON")
	}
	if err != nil || members[0] == nil || string(members[0]) == "null" {
		return "", false
	}
	if json.Unmarshal(members[0], &caseID) != nil || !cases.ValidID(caseID) {
		bad.add("/case_id", address.InvalidID)
	}
	return caseID, true
}

// readQuery reads the parameters. An unknown parameter is an error, because it may be a misspelt
// one: without it the request would mean something else.
func readQuery(rawQuery string, limits limits, req *reconcile.StartRequest, bad *problems) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		bad.add("", "the query cannot be read")
	}
	one := func(name string) (value string, given bool) {
		values := query[name]
		delete(query, name)
		if len(values) > 1 {
			bad.add(name, "must be given once")
		}
		return strings.Join(values, ""), len(values) == 1
	}
	if text, given := one("deadline"); given {
		req.Deadline, err = time.ParseDuration(text)
		if err != nil || req.Deadline <= 0 || req.Deadline > limits.maxDeadline {
			bad.add("deadline", "must be a duration such as 30m, above 0 and at most "+limits.maxDeadline.String())
		}
	}
	for _, flag := range []struct {
		name string
		to   *bool
	}{{"supersede", &req.Supersede}, {"adopt", &req.Adopt}} {
		text, given := one(flag.name)
		*flag.to = text == "true"
		if given && text != "true" && text != "false" {
			bad.add(flag.name, "must be true or false")
		}
	}
	if text, given := one("pipeline"); given {
		req.Pipeline = text
		if !slices.Contains(limits.pipelines, text) {
			bad.add("pipeline", "must be one of "+strings.Join(limits.pipelines, ", "))
		}
	}
	if text, given := one("job"); given {
		req.JobID = text
		switch {
		case !req.Adopt:
			bad.add("job", "is only for adopt=true")
		case text == "" || len(text) > maxJob || !utf8.ValidString(text) ||
			strings.ContainsFunc(text, printable.IsControl):
			bad.add("job",
				fmt.Sprintf("must be the name of the pipeline's job: 1 to %d bytes, no control characters", maxJob))
		}
	}
	unknown := slices.Sorted(maps.Keys(query))
	for _, name := range unknown[:min(len(unknown), maxNamed)] {
		name = printable.Cut(name, maxName)
		bad.add(name, "is not known; the parameters are deadline, supersede, adopt, job and pipeline")
	}
	if more := len(unknown) - maxNamed; more > 0 {
		bad.add("", fmt.Sprintf("%d more parameters are not known", more))
	}
}

// readKey returns the Idempotency-Key, or "" if there is none.
func readKey(values []string, bad *problems) string {
	switch {
	case len(values) == 0:
		return ""
	case len(values) > 1:
		bad.add("Idempotency-Key", "must be sent once")
	case strings.TrimSpace(values[0]) == "" || len(values[0]) > maxKey:
		bad.add("Idempotency-Key", fmt.Sprintf("must have 1 to %d bytes", maxKey))
	}
	return values[0]
}

// digest returns a hash of the parts that no other list of parts has.
func digest(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		sum := sha256.Sum256([]byte(part))
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}
