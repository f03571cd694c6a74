package description

import (
	_ "embed" // for the presets
	"errors"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/casewatch/casewatch/shared/printable"

	"github.com/casewatch/casewatch/shared/secret"
)

// MaxText is the longest text of descriptions that is read, in bytes.
const MaxText = 256 << 10

// Options are what descriptions are checked with.
type Options struct {
	// Secret returns the value of a secret and whether it is set. If it is nil, secrets are not
	// resolved: the process does not need them.
	Secret func(name string) (string, bool)
	// RefuseLoopback refuses addresses of this machine.
	RefuseLoopback bool
}

//go:embed presets.yaml
var presetsText []byte

// presets returns the presets: a mapping of their names.
func presets() *node {
	top, err := parseTree(presetsText, false)
	if err != nil {
		panic("description: the presets cannot be read: " + err.Error())
	}
	return top
}

// Presets returns the names of the presets.
func Presets() []string {
	var names []string
	for _, key := range presets().keys {
		names = append(names, key.text)
	}
	return names
}

// ForDocuments describes the document pipeline at an address, under [DefaultName]. The key is sent
// as X-API-Key, if there is one. The address is not checked.
func ForDocuments(url, apiKey string, googleIDToken bool) *Pipeline {
	r := &reader{}
	p := r.pipeline(DefaultName, presets().member(Documents))
	p.Preset, p.URL = Documents, strings.TrimRight(url, "/")
	p.Auth.Value, p.Auth.GoogleIDToken = secret.New(apiKey), googleIDToken
	return p
}

var pipelineName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)

// Parse reads a text that describes one or more pipelines. If anything in it is wrong, the error is
// an [Error] that names every problem.
func Parse(text []byte, options Options) (Set, error) {
	if len(text) > MaxText {
		detail := fmt.Sprintf("the text has %d bytes; at most %d are read", len(text), MaxText)
		return nil, Error{{Line: 1, Detail: detail}}
	}
	top, err := parseTree(text, true)
	if err != nil {
		return nil, err
	}
	if top.kind != yaml.MappingNode || len(top.keys) == 0 {
		return nil, Error{{Line: top.line, Detail: "no pipeline is described; expected a description below its name"}}
	}
	r := &reader{options: options}
	var set Set
	known := presets()
	for i, key := range top.keys {
		if p := r.described(key, top.values[i], known); p != nil {
			set = append(set, p)
		}
	}
	if len(r.problems) > 0 {
		slices.SortStableFunc(r.problems, func(a, b Problem) int { return a.Line - b.Line })
		return nil, r.problems
	}
	return set, nil
}

// described reads and checks one description. It returns nil if the description is so wrong that its
// members cannot be read.
func (r *reader) described(key, given *node, known *node) *Pipeline {
	name := key.text
	if !pipelineName.MatchString(name) {
		r.problem(
			key,
			printable.Line(name, maxQuoted),
			"is no name of a pipeline; expected a small letter and up to 30 of a-z 0-9 -",
		)
		return nil
	}
	merged, preset := given, ""
	if choice := given.member("preset"); choice != nil {
		preset = choice.text
		if known.member(preset) == nil {
			r.problem(choice, name+".preset", "is %s; expected one of %s", quote(preset), strings.Join(Presets(), ", "))
			return nil
		}
		merged = overlay(known.member(preset), given)
	}
	before := len(r.problems)
	p := r.pipeline(name, merged)
	p.Preset = preset
	if len(r.problems) == before { // what could not be read would only cause more problems
		c := checker{reader: r, p: p, top: merged, given: given}
		c.check()
	}
	return p
}

// reader reads descriptions and collects their problems.
type reader struct {
	options  Options
	problems Error
}

func (r *reader) problem(n *node, path, format string, args ...any) {
	r.problems = append(r.problems, Problem{Line: n.line, Path: path, Detail: fmt.Sprintf(format, args...)})
}

// field reads one member of a mapping.
type field struct {
	name string
	read func(path string, n *node)
}

// mapping reads the members of a mapping. It names those that are not known.
func (r *reader) mapping(path string, n *node, fields ...field) {
	if n.kind != yaml.MappingNode {
		r.problem(n, path, "is no mapping; expected members such as %s", fields[0].name)
		return
	}
	for i, key := range n.keys {
		at := slices.IndexFunc(fields, func(f field) bool { return f.name == key.text })
		switch {
		case at < 0:
			names := make([]string, len(fields))
			for i, f := range fields {
				names[i] = f.name
			}
			r.problem(key, path+"."+printable.Line(key.text, maxQuoted),
				"is not known; there are %s", strings.Join(names, ", "))
		case n.values[i].isNull(): // not given, and not taken from the preset
		default:
			fields[at].read(path+"."+key.text, n.values[i])
		}
	}
}

// pipeline reads a description, merged with its preset.
func (r *reader) pipeline(name string, n *node) *Pipeline {
	p := &Pipeline{Name: name}
	p.Start.Accepted = []int{http.StatusOK, http.StatusCreated, http.StatusAccepted}
	p.Poll.Unknown = []int{http.StatusNotFound}
	r.mapping(name, n,
		field{"preset", func(string, *node) {}},
		field{"url", r.text(&p.URL)},
		field{"also", r.texts(&p.Also)},
		field{"auth", r.auth(&p.Auth)},
		field{"start", func(path string, n *node) {
			r.mapping(path, n,
				field{"request", r.request(&p.Start.Request, "case_id", "run", "idempotency_key", "callback_url")},
				field{"body", r.body(&p.Start.Body)},
				field{"accepted", r.codes(&p.Start.Accepted, 200, 399)},
				field{"job", r.values(&p.Start.Job)})
		}},
		field{"poll", func(path string, n *node) {
			r.mapping(path, n,
				field{"request", r.request(&p.Poll.Request, asking...)},
				field{"unknown", r.codes(&p.Poll.Unknown, 400, 499)},
				field{"min", r.duration(&p.Poll.Min, maxInterval)},
				field{"max", r.duration(&p.Poll.Max, maxInterval)})
		}},
		field{"status", func(path string, n *node) {
			r.mapping(path, n,
				field{"at", r.values(&p.Status.At)},
				field{"running", r.scalars(&p.Status.Running)},
				field{"succeeded", r.scalars(&p.Status.Succeeded)},
				field{"failed", r.scalars(&p.Status.Failed)},
				field{"cancelled", r.scalars(&p.Status.Cancelled)},
				field{"failed_if", r.values(&p.Status.FailedIf)})
		}},
		field{"progress", func(path string, n *node) {
			r.mapping(path, n,
				field{"completed", r.values(&p.Progress.Completed)},
				field{"total", r.values(&p.Progress.Total)},
				field{"percent", r.values(&p.Progress.Percent)},
				field{"current", r.values(&p.Progress.Current)})
		}},
		field{"result", func(path string, n *node) {
			r.mapping(path, n,
				field{"at", r.values(&p.Result.At)},
				field{"url", r.values(&p.Result.URL)},
				field{"request", r.request(&p.Result.Request, append([]string{resultURL}, asking...)...)})
		}},
		field{"error", r.values(&p.Error)},
		field{"cancel", func(path string, n *node) {
			r.mapping(path, n, field{"request", r.request(&p.Cancel, asking...)})
		}},
		field{"callback", func(path string, n *node) {
			r.mapping(path, n,
				field{"verify", r.text(&p.Callback.Verify)},
				field{"secret", r.secret(&p.Callback.Secret)})
		}},
		field{"dispatch", func(path string, n *node) {
			r.mapping(path, n,
				field{"rate", r.rate(&p.Dispatch.Rate)},
				field{"concurrency", r.whole(&p.Dispatch.Concurrency, 1, maxConcurrency)},
				field{"idempotent", func(path string, n *node) {
					p.Dispatch.idempotentGiven = true
					r.boolean(&p.Dispatch.Idempotent)(path, n)
				}},
				field{"timeout", r.duration(&p.Dispatch.Timeout, maxTimeout)})
		}},
		field{"deadline", r.duration(&p.Deadline, maxDeadline)},
	)
	return p
}

// asking are the placeholders of a request about a job.
var asking = []string{"job", "case_id", "run", "idempotency_key"}

const (
	maxInterval    = 24 * time.Hour
	maxTimeout     = 30 * time.Minute    // the longest dispatch that Cloud Tasks waits for
	maxDeadline    = 29 * 24 * time.Hour // below the longest delay of a task in Cloud Tasks
	maxConcurrency = 5000                // of a queue: https://cloud.google.com/tasks/docs/quotas
	maxRate        = 500                 // a second, of a queue
)

func (r *reader) scalar(path string, n *node, expects string) (string, bool) {
	if n.kind != yaml.ScalarNode {
		r.problem(n, path, "is no single value; expected %s", expects)
		return "", false
	}
	return n.text, true
}

func (r *reader) text(to *string) func(string, *node) {
	return func(path string, n *node) {
		if text, ok := r.scalar(path, n, "a text"); ok {
			if text == "" || strings.TrimSpace(text) != text || strings.ContainsFunc(text, printable.IsControl) {
				r.problem(n, path, "is %s; expected a text without space around it and control characters", quote(text))
			}
			*to = text
		}
	}
}

// list reads a list, or one value as a list of one.
func (r *reader) list(path string, n *node, read func(path string, n *node)) {
	if n.kind != yaml.SequenceNode {
		read(path, n)
		return
	}
	if len(n.values) == 0 {
		r.problem(n, path, "is an empty list; leave it out, or name a value")
	}
	for i, element := range n.values {
		read(path+"["+strconv.Itoa(i)+"]", element)
	}
}

func (r *reader) texts(to *[]string) func(string, *node) {
	return func(path string, n *node) {
		*to = nil
		r.list(path, n, func(path string, n *node) {
			var text string
			r.text(&text)(path, n)
			*to = append(*to, text)
		})
	}
}

// scalars reads the values of a status: texts, numbers and booleans.
func (r *reader) scalars(to *[]string) func(string, *node) {
	return func(path string, n *node) {
		r.list(path, n, func(path string, n *node) {
			if text, ok := r.scalar(path, n, "a text, a number or a boolean"); ok && n.isNull() {
				r.problem(n, path, "%v", errNull)
			} else if ok {
				*to = append(*to, text)
			}
		})
	}
}

func (r *reader) whole(to *int, least, most int) func(string, *node) {
	return func(path string, n *node) {
		v, err := strconv.Atoi(n.text)
		if n.kind != yaml.ScalarNode || err != nil || v < least || v > most {
			r.problem(n, path, "is %s; expected a whole number from %d to %d", r.shown(n), least, most)
		}
		*to = v
	}
}

func (r *reader) codes(to *[]int, least, most int) func(string, *node) {
	return func(path string, n *node) {
		*to = nil
		r.list(path, n, func(path string, n *node) {
			var code int
			r.whole(&code, least, most)(path, n)
			if code == http.StatusTooManyRequests {
				r.problem(n, path, "is 429, which always means that the pipeline is busy; leave it out")
			}
			*to = append(*to, code)
		})
	}
}

func (r *reader) rate(to *float64) func(string, *node) {
	return func(path string, n *node) {
		v, err := strconv.ParseFloat(n.text, 64)
		if n.kind != yaml.ScalarNode || err != nil || math.IsNaN(v) || v <= 0 || v > maxRate {
			r.problem(n, path, "is %s; expected a number above 0, at most %d", r.shown(n), maxRate)
		}
		*to = v
	}
}

func (r *reader) boolean(to *bool) func(string, *node) {
	return func(path string, n *node) {
		if n.kind != yaml.ScalarNode || n.text != "true" && n.text != "false" {
			r.problem(n, path, "is %s; expected true or false", r.shown(n))
		}
		*to = n.text == "true"
	}
}

func (r *reader) duration(to *time.Duration, most time.Duration) func(string, *node) {
	return func(path string, n *node) {
		d, err := time.ParseDuration(n.text)
		if n.kind != yaml.ScalarNode || err != nil || d < time.Millisecond || d > most {
			r.problem(n, path, "is %s; expected a duration from 1ms to %s, such as 90s or 1h30m", r.shown(n), most)
		}
		*to = d
	}
}

// shown is what a problem says of a value.
func (r *reader) shown(n *node) string {
	switch n.kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return quote(n.text)
}

var method = regexp.MustCompile(`^[A-Z]{2,20}$`)

// request reads "METHOD target" with these placeholders.
func (r *reader) request(to *Request, names ...string) func(string, *node) {
	return func(path string, n *node) {
		text, ok := r.scalar(path, n, "a method and a path, such as GET /jobs/{job}")
		if !ok {
			return
		}
		verb, target, found := strings.Cut(text, " ")
		if !found || !method.MatchString(verb) ||
			strings.ContainsFunc(target, func(c rune) bool { return c <= ' ' || c > '~' }) {
			r.problem(n, path, "is %s; expected a method, a space, and a path of visible ASCII characters", quote(text))
			return
		}
		t, err := parseTemplate(target, names...)
		if err != nil {
			r.problem(n, path, "%v", err)
			return
		}
		switch first := t.Address(); {
		case first == "" && !strings.HasPrefix(target, "/"):
			r.problem(n, path, "is %s; expected a path that begins with /, or a placeholder that is an address",
				quote(text))
		case first != "" && first != "job" && first != resultURL:
			r.problem(n, path, "begins with {%s}, which is no address; expected a path that begins with /", first)
		case first != "" && strings.ContainsAny(target, "?#"), strings.Contains(target, "#"):
			r.problem(n, path, "has a ? after an address, or a #; expected a path")
		case strings.Contains(target, "//") || slices.Contains(strings.Split(target, "/"), ".."):
			r.problem(n, path, "has an empty part or .. in its path; write the path out")
		}
		*to = Request{Method: verb, Target: t}
	}
}

func (r *reader) values(to *Values) func(string, *node) {
	return func(path string, n *node) {
		r.list(path, n, func(path string, n *node) {
			text, ok := r.scalar(path, n, expectedValue)
			if !ok {
				return
			}
			v, err := parseValue(text)
			if err != nil {
				r.problem(n, path, "is %s, which %v; expected %s", quote(text), err, expectedValue)
				return
			}
			*to = append(*to, v)
		})
	}
}

// body reads "form", or a mapping of wrap and set.
func (r *reader) body(to *Body) func(string, *node) {
	return func(path string, n *node) {
		if n.kind == yaml.ScalarNode {
			if n.text != "form" {
				r.problem(n, path, "is %s; expected form, or members wrap and set", quote(n.text))
			}
			return
		}
		r.mapping(path, n,
			field{"wrap", r.text(&to.Wrap)},
			field{"set", func(path string, n *node) {
				if n.kind != yaml.MappingNode {
					r.problem(n, path,
						`is no mapping; expected JSON Pointers and values, such as /webhook: "{callback_url}"`)
					return
				}
				for i, key := range n.keys {
					at := path + "." + printable.Line(key.text, maxQuoted)
					if n.values[i].isNull() {
						continue // removed from the preset
					}
					tokens, err := parsePointer(key.text)
					if err != nil || len(tokens) == 0 ||
						strings.ContainsFunc(key.text, func(c rune) bool { return c < ' ' || c > '~' }) {
						r.problem(key, at,
							"is no JSON Pointer of ASCII characters to a member; expected one such as /webhook")
						continue
					}
					to.Set = append(to.Set, Member{Path: tokens, Value: r.json(at, n.values[i])})
				}
			}})
	}
}

// json reads a JSON value whose texts are templates.
func (r *reader) json(path string, n *node) any {
	switch n.kind {
	case yaml.MappingNode:
		object := map[string]any{}
		for i, key := range n.keys {
			object[key.text] = r.json(path+"."+printable.Line(key.text, maxQuoted), n.values[i])
		}
		return object
	case yaml.SequenceNode:
		list := []any{}
		for i, element := range n.values {
			list = append(list, r.json(path+"["+strconv.Itoa(i)+"]", element))
		}
		return list
	}
	switch n.tag {
	case "!!null":
		return nil
	case "!!bool":
		return n.text == "true"
	case "!!int", "!!float":
		if v, err := strconv.ParseFloat(n.text, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
			if whole, err := strconv.ParseInt(n.text, 10, 64); err == nil {
				return whole
			}
			return v
		}
	}
	t, err := parseTemplate(n.text, "case_id", "run", "idempotency_key", "callback_url")
	if err != nil {
		r.problem(n, path, "%v", err)
	}
	return t
}

// secret reads a template whose placeholders are secrets, and resolves them.
func (r *reader) secret(to *secret.Secret) func(string, *node) {
	return func(path string, n *node) {
		text, ok := r.scalar(path, n, "a text with {secret:"+secretPrefix+"NAME}")
		if !ok {
			return
		}
		t, err := parseTemplate(text, secretMark)
		if err != nil {
			r.problem(n, path, "%v", err)
			return
		}
		var value strings.Builder
		secrets := 0
		for _, part := range t {
			value.WriteString(part.Text)
			if part.Name == "" {
				continue
			}
			secrets++
			name := strings.TrimPrefix(part.Name, secretMark)
			if !secretName.MatchString(name) {
				r.problem(
					n,
					path,
					"names the secret %s; expected a name of A-Z 0-9 _ that begins with %s",
					quote(name),
					secretPrefix,
				)
				return
			}
			if r.options.Secret == nil {
				continue
			}
			secret, set := r.options.Secret(name)
			if !set || secret == "" {
				r.problem(n, path, "needs the secret %s, which is not set; set that variable", name)
				return
			}
			value.WriteString(secret)
		}
		if secrets == 0 {
			r.problem(n, path, "holds no {secret:%sNAME}; put what is secret into such a variable", secretPrefix)
			return
		}
		if r.options.Secret == nil {
			return
		}
		if strings.ContainsFunc(value.String(), func(c rune) bool { return c < ' ' || c > '~' }) {
			r.problem(n, path, "has a secret with characters that no header can carry (a line end, perhaps)")
			return
		}
		*to = secret.New(value.String())
	}
}

var secretName = regexp.MustCompile(`^` + secretPrefix + `[A-Z0-9_]{1,100}$`)

func (r *reader) auth(to *Auth) func(string, *node) {
	return func(path string, n *node) {
		r.mapping(path, n,
			field{"header", r.text(&to.Header)},
			field{"value", r.secret(&to.Value)},
			field{"google_id_token", r.boolean(&to.GoogleIDToken)})
	}
}

const expectedValue = "body: with a JSON Pointer (body:/status), header: with a name (header:Location), or code"

// parseValue reads a place in an answer.
func parseValue(text string) (Value, error) {
	if text == "code" {
		return Value{Kind: FromCode}, nil
	}
	if name, ok := strings.CutPrefix(text, "header:"); ok {
		if !headerName.MatchString(name) {
			return Value{}, errors.New("names no header")
		}
		return Value{Kind: FromHeader, Header: http.CanonicalHeaderKey(name)}, nil
	}
	pointer, ok := strings.CutPrefix(text, "body:")
	if !ok {
		return Value{}, errors.New("is no place in an answer")
	}
	tokens, err := parsePointer(pointer)
	return Value{Kind: FromBody, Path: tokens}, err
}

// headerName is a token of RFC 9110, section 5.6.2.
var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// parsePointer reads a JSON Pointer (RFC 6901).
func parsePointer(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	if text[0] != '/' {
		return nil, errors.New("has a JSON Pointer that does not begin with /")
	}
	tokens := strings.Split(text[1:], "/")
	for i, token := range tokens {
		for rest := token; ; {
			_, after, found := strings.Cut(rest, "~")
			if !found {
				break
			}
			if after == "" || after[0] != '0' && after[0] != '1' {
				return nil, errors.New("has a ~ in its JSON Pointer that is not ~0 or ~1")
			}
			rest = after
		}
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
	}
	return tokens, nil
}
