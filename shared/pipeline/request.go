package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/casewatch/casewatch/shared/jsonscan"
	"github.com/casewatch/casewatch/shared/pipeline/description"
	"github.com/casewatch/casewatch/shared/weburl"
)

// Job is the pipeline's work on a run.
type Job struct {
	CaseID string
	Run    int
	// ID is the job's own name at the pipeline, or its address: what an outcome had as JobID. "" if
	// it is not known, or if the case id names the job.
	ID          string
	Form        []byte // of a dispatch: a JSON object
	CallbackURL string // of a dispatch; "" for none. It holds a token: it is never repeated
	TraceParent string // W3C traceparent; "" for none
}

func (j Job) idempotencyKey() string { return j.CaseID + ":" + strconv.Itoa(j.Run) }

func (j Job) secrets() []string {
	if j.CallbackURL == "" {
		return nil
	}
	secrets := []string{j.CallbackURL, url.QueryEscape(j.CallbackURL), url.PathEscape(j.CallbackURL)}
	if u, err := url.Parse(j.CallbackURL); err == nil && u.Query().Get("token") != "" {
		secrets = append(secrets, u.Query().Get("token"))
	}
	return secrets
}

// value returns the value of a placeholder.
func (j Job) value(name string) string {
	switch name {
	case "case_id":
		return j.CaseID
	case "run":
		return strconv.Itoa(j.Run)
	case "job":
		return j.ID
	case "callback_url":
		return j.CallbackURL
	case "idempotency_key":
		return j.idempotencyKey()
	}
	return ""
}

var (
	errNotAnObject = errors.New("the form is not a JSON object")
	errNoJob       = errors.New("the job has no known name")
	errElsewhere   = errors.New("its address is at an origin that the description does not name: " +
		"add that to `also`, if it is to be trusted")
	errNoAddress = errors.New("its address is no http or https URL")
	errBadName   = errors.New("its name cannot be put into a path: it has an empty part, .. ? or #")
)

// target returns the address of a request. It is at the pipeline's origin, or at one of the
// description's others. result is the value of {result_url}.
func (c *Client) target(t description.Template, job Job, result string) (string, error) {
	base := c.base
	switch t.Address() {
	case "":
		path, err := fill(t, job)
		return base + path, err
	case "job":
		base = job.ID
	default:
		base = result
	}
	if base == "" {
		return "", errNoJob
	}
	u, err := weburl.Parse(base)
	if err != nil {
		return "", errNoAddress
	}
	if at := originOf(u); at != c.origin && !slices.ContainsFunc(c.pipeline.Also, func(also string) bool {
		other, err := url.Parse(also)
		return err == nil && originOf(other) == at
	}) {
		return "", errElsewhere
	}
	rest, err := fill(t[1:], job)
	if err != nil || rest == "" {
		return base, err
	}
	query := ""
	if u.RawQuery != "" {
		query = "?" + u.RawQuery
	}
	return weburl.Origin(u) + strings.TrimRight(u.EscapedPath(), "/") + rest + query, nil
}

// fill puts values into a path with its query. Each is escaped for its place.
func fill(t description.Template, job Job) (string, error) {
	var b strings.Builder
	inQuery := false
	for _, part := range t {
		if part.Name == "" {
			inQuery = inQuery || strings.Contains(part.Text, "?")
			b.WriteString(part.Text)
			continue
		}
		value := job.value(part.Name)
		if part.Name == "job" && value == "" {
			return "", errNoJob
		}
		switch {
		case inQuery:
			b.WriteString(url.QueryEscape(value))
		case part.Keep:
			if strings.ContainsAny(value, `?#\`) {
				return "", errBadName
			}
			for i, segment := range strings.Split(value, "/") {
				if segment == "" || segment == "." || segment == ".." {
					return "", errBadName
				}
				if i > 0 {
					b.WriteByte('/')
				}
				b.WriteString(url.PathEscape(segment))
			}
		case value == "." || value == "..":
			return "", errBadName
		default:
			b.WriteString(url.PathEscape(value))
		}
	}
	return b.String(), nil
}

// originOf returns scheme, host and port of a URL in one spelling, so that origins can be compared.
func originOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// jobID returns the name of a job as a start's answer has it. The address of a job is resolved
// against the request and kept absolute.
func (c *Client) jobID(raw json.RawMessage, request *url.URL) (string, error) {
	id := scalarText(raw)
	if len(id) > maxJobID || strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("the job's name is longer than %d bytes or has control characters", maxJobID)
	}
	if id == "" || !c.jobIsAddress() {
		return id, nil
	}
	u, err := request.Parse(id)
	if err != nil {
		return "", errNoAddress
	}
	u.Fragment, u.RawFragment = "", ""
	if id = u.String(); len(id) > maxJobID {
		return "", fmt.Errorf("the job's address is longer than %d bytes", maxJobID)
	}
	return id, nil
}

const maxJobID = 2 << 10 // bytes

// jobIsAddress reports whether {job} is an address, and not a name.
func (c *Client) jobIsAddress() bool {
	d := c.pipeline
	return d.Poll.Request.Target.Address() == "job" || d.Cancel.Target.Address() == "job" ||
		d.Result.Request.Target.Address() == "job"
}

// body returns the body of a start: the form, changed as the description says. Every other byte of
// the form stays the same.
func (c *Client) body(job Job) (body []byte, err error) {
	body = job.Form
	if c.documents() {
		if body, err = splice(body, job.CaseID, job.Run); err != nil {
			return nil, err
		}
	} else if _, err := jsonscan.Members(body); err != nil {
		return nil, errNotAnObject
	}
	if wrap := c.pipeline.Start.Body.Wrap; wrap != "" {
		name, err := json.Marshal(wrap)
		if err != nil {
			return nil, err
		}
		body = slices.Concat([]byte("{"), name, []byte(":"), body, []byte("}"))
	}
	for _, m := range c.pipeline.Start.Body.Set {
		value, given := jsonOf(m.Value, job)
		if !given {
			continue
		}
		text, err := marshal(value)
		if err != nil {
			return nil, err
		}
		if body, err = setAt(body, m.Path, text); err != nil {
			return nil, err
		}
	}
	return body, nil
}

// jsonOf returns a value with its placeholders filled in. It is not given if it needs the address of
// the callback and there is none.
func jsonOf(value any, job Job) (filled any, given bool) {
	switch v := value.(type) {
	case description.Template:
		if job.CallbackURL == "" && v.Uses("callback_url") {
			return nil, false
		}
		var b strings.Builder
		for _, part := range v {
			b.WriteString(part.Text + job.value(part.Name))
		}
		return b.String(), true
	case []any:
		list := []any{}
		for _, element := range v {
			if filled, given := jsonOf(element, job); given {
				list = append(list, filled)
			}
		}
		return list, true
	case map[string]any:
		object := map[string]any{}
		for name, element := range v {
			if filled, given := jsonOf(element, job); given {
				object[name] = filled
			}
		}
		return object, true
	}
	return value, true
}

func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// setAt sets the member at a path below an object. Objects on the way that are missing are made.
func setAt(object []byte, path []string, value []byte) ([]byte, error) {
	if len(path) > 1 {
		members, err := jsonscan.Members(object, path[0])
		if err != nil {
			return nil, fmt.Errorf("the form has something else than an object where %q is to be set", path[0])
		}
		inner := members[0]
		if inner == nil {
			inner = []byte("{}")
		}
		if value, err = setAt(inner, path[1:], value); err != nil {
			return nil, err
		}
	}
	text, err := setMembers(object, path[:1], [][]byte{value})
	if err != nil {
		return nil, fmt.Errorf("the form has something else than an object where %q is to be set", path[0])
	}
	return text, nil
}

// setMembers returns the object with the members of these names set to the values. Every other byte
// stays the same. Decoding and encoding the form would lose the digits of its numbers, the order of
// its keys and the spelling of its strings. Names are printable ASCII.
//
// If a key is present, its value is replaced in place, at its first occurrence and in any spelling.
// Further occurrences are removed, so that all parsers read the same value. A missing key is added
// at the front.
func setMembers(form []byte, names []string, values [][]byte) ([]byte, error) {
	found, err := jsonscan.Members(form, names...)
	if err != nil {
		return nil, errNotAnObject
	}
	size := len(form)
	for i, name := range names {
		size += len(name) + len(values[i]) + 8
	}
	start := bytes.IndexByte(form, '{') + 1
	out := make([]byte, 0, size)
	out = append(out, form[:start]...)
	for i, name := range names {
		if found[i] != nil {
			continue
		}
		if len(out) > start {
			out = append(out, ',')
		}
		out = strconv.AppendQuote(out, name)
		out = append(append(out, ':'), values[i]...)
	}

	seen := make([]bool, len(names))
	rest, before := start, start // the next byte to copy, and the end of the previous member
	for m := range jsonscan.Object(form) {
		if before == start && len(out) > start {
			out = append(out, ',')
		}
		i := slices.IndexFunc(names, m.Is)
		switch {
		case i < 0:
		case !seen[i]:
			out = append(append(out, form[rest:m.From]...), values[i]...)
			seen[i], rest = true, m.To
		default:
			comma := before + bytes.IndexByte(form[before:], ',')
			out = append(out, form[rest:comma]...)
			rest = m.To
		}
		before = m.To
	}
	return append(out, form[rest:]...), nil
}
