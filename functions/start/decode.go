package start

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/casewatch/casewatch/functions/internal/access"
	"github.com/casewatch/casewatch/functions/internal/address"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/watch"
)

// maxKey is the longest Idempotency-Key, in bytes.
const maxKey = 255

// decode reads a start request, and whether it names its case. The error is Invalid, with every fault.
func decode(r *http.Request, form []byte, caller access.Caller, maxDeadline time.Duration) (req watch.StartRequest, named bool, err error) {
	req.Form = form
	var faults []fault.Fault
	bad := func(pointer, detail string) { faults = append(faults, fault.Fault{Pointer: pointer, Detail: detail}) }

	var fields map[string]json.RawMessage
	switch {
	case !utf8.Valid(form):
		bad("", "the body must be valid UTF-8")
	case !json.Valid(form):
		bad("", "the body must be a JSON object; it is not JSON")
	case json.Unmarshal(form, &fields) != nil || fields == nil:
		bad("", "the body must be a JSON object; it is other JSON")
	}
	if raw, ok := fields["case_id"]; ok && string(raw) != "null" {
		named = true
		if json.Unmarshal(raw, &req.CaseID) != nil || !cases.ValidID(req.CaseID) {
			bad("/case_id", address.InvalidID)
		}
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		bad("", "the query cannot be read")
	}
	if query.Has("deadline") {
		req.Deadline, err = time.ParseDuration(query.Get("deadline"))
		if err != nil || req.Deadline <= 0 || req.Deadline > maxDeadline {
			bad("deadline", "must be a duration such as 30m, above 0 and at most "+maxDeadline.String())
		}
	}
	for name, to := range map[string]*bool{"supersede": &req.Supersede, "adopt": &req.Adopt} {
		switch query.Get(name) {
		case "", "false":
		case "true":
			*to = true
		default:
			bad(name, "must be true or false")
		}
	}
	if req.Adopt && !named {
		bad("/case_id", "is needed with adopt=true: it says which case the pipeline works on")
	}
	key := r.Header.Get("Idempotency-Key")
	if r.Header.Values("Idempotency-Key") != nil && (strings.TrimSpace(key) == "" || len(key) > maxKey) {
		bad("Idempotency-Key", "must have 1 to 255 bytes")
	}
	if len(faults) > 0 {
		return req, named, &fault.Error{Kind: fault.Invalid, Detail: "the request is not valid", Faults: faults}
	}
	if key != "" {
		req.Key = digest("key", caller.Name, key)
	}
	switch {
	case named:
	case key != "":
		req.CaseID = digest("case", caller.Name, key)[:32] // so that a repeat finds it
	default:
		id, err := uuid.NewV7()
		if err != nil {
			return req, named, fault.Wrap(fault.Internal, err, "no random number")
		}
		req.CaseID = id.String()
	}
	return req, named, nil
}

// digest is a hash of parts that no other parts share.
func digest(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		sum := sha256.Sum256([]byte(part))
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}
