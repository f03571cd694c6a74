package googlefake

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Call is one request that the fake was sent, in the form that is compared: what differs from run to run (upload names, ETags,
// times, nonces, the ends of revisions' names, gcloud's version, the fake's own address) is replaced by a word in capitals, and secret payloads by their hash.
type Call struct {
	Method string
	API    string // the override's name: cloudtasks, pubsub, run, ...
	Path   string // with the version; Cloud Run's has the region of the host before it
	Query  string // sorted, without what only says how to answer
	Body   string // JSON with sorted keys, "" for none, or what kind of bytes it was
	Status int    // that was answered
	Error  string // that was answered: its status and message, or ""
	// Unknown says that the fake had no answer for this call.
	Unknown bool
	// Read says that the call changes nothing.
	Read bool
}

// String is the call on one line: method, API, path?query, and the body if there is one.
func (c Call) String() string {
	var b strings.Builder
	b.WriteString(c.Method + " " + c.API + " " + c.Path)
	if c.Query != "" {
		b.WriteString("?" + c.Query)
	}
	if c.Body != "" {
		b.WriteString(" " + c.Body)
	}
	return b.String()
}

// Upload is an archive that was put into a bucket.
type Upload struct {
	Bucket, Object string
	Data           []byte
}

// record makes the call of a request.
func (f *Fake) record(r *request) Call {
	path := unescape(r.path)
	if region := f.regionOf(r); region != "" && r.api == "run" {
		path = region + "/" + path
	}
	c := Call{Method: r.method, API: r.api, Path: f.normal(path), Query: f.normal(query(r.query)), Read: isRead(r)}
	switch {
	case len(r.raw) == 0:
	case strings.Contains(r.ctype, "json"):
		c.Body = f.normalBody(r.raw)
	default:
		kind, _, _ := strings.Cut(r.ctype, ";")
		c.Body = "<" + kind + ">"
	}
	return c
}

// isRead tells calls that change nothing from those that do.
func isRead(r *request) bool {
	switch r.method {
	case http.MethodGet, http.MethodHead:
		return true
	case http.MethodPost:
		switch r.verb {
		case "getIamPolicy", "testIamPermissions", "list", "access", "batchGet", "wait":
			return true
		}
	}
	return false
}

// presentation are the query parameters that say how to answer.
var presentation = []string{"alt", "prettyPrint", "$alt", "key", "fields", "quotaUser", "access_token"}

// query is a query in one order, unescaped.
func query(q url.Values) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(q)) {
		if slices.Contains(presentation, name) {
			continue
		}
		for _, value := range q[name] {
			parts = append(parts, name+"="+value)
		}
	}
	return strings.Join(parts, "&")
}

// volatile are the fields that differ from one run to the next, with the word that stands for them.
var volatile = map[string]string{
	"etag": "ETAG", "client.knative.dev/nonce": "NONCE", "run.googleapis.com/client-version": "VERSION", "run.googleapis.com/operation-id": "ID",
	"resourceVersion": "VERSION", "uid": "UID", "creationTimestamp": "TIME", "size": "SIZE", "generation": "GENERATION", "invocationId": "ID", "requestId": "ID",
}

// secret are the fields of which only a hash is kept.
var secret = []string{"password", "rootPassword"}

// normalBody is a JSON body with its keys sorted and without what differs from run to run.
func (f *Fake) normalBody(raw []byte) string {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var body any
	if err := decoder.Decode(&body); err != nil {
		return "<not JSON>"
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(f.normalValue(body)); err != nil {
		return "<not JSON>"
	}
	if text := strings.TrimSpace(b.String()); text != "{}" {
		return text
	}
	return ""
}

func (f *Fake) normalValue(value any) any {
	switch v := value.(type) {
	case obj:
		normal := make(obj, len(v))
		for name, inner := range v {
			word, isVolatile := volatile[name]
			encoded, isText := inner.(string)
			switch {
			case isVolatile && isScalar(inner):
				normal[name] = word
			case isText && slices.Contains(secret, name):
				normal[name] = digest([]byte(encoded))
			case isText && name == "data" && v["dataCrc32c"] != nil: // of a secret's version
				payload, _ := decode(encoded) // what cannot be decoded is refused
				normal[name] = digest(payload)
			case name == "dataCrc32c":
				normal[name] = "CRC32C"
			default:
				normal[name] = f.normalValue(inner)
			}
		}
		return normal
	case []any:
		normal := make([]any, len(v))
		for i, inner := range v {
			normal[i] = f.normalValue(inner)
		}
		return normal
	case string:
		return f.normal(v)
	default:
		return v
	}
}

func isScalar(v any) bool {
	switch v.(type) {
	case obj, []any:
		return false
	default:
		return true
	}
}

// digest stands for a secret: equal secrets have equal digests, and no more can be learnt from it.
func digest(payload []byte) string {
	sum := sha256.Sum256(payload)
	return "sha256:" + hex.EncodeToString(sum[:6])
}

var (
	uploadName = regexp.MustCompile(`\b\d{9,11}(\.\d+)?-[0-9a-f]{32}(\.tgz|\.zip)?`)
	revision   = regexp.MustCompile(`\b([a-z][a-z0-9-]*-\d{5})-[a-z]{3}\b`) // gcloud takes three letters by chance for a revision that gets a tag
	timestamp  = regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)`)
)

// normal replaces what differs from run to run in a text.
func (f *Fake) normal(s string) string {
	for _, service := range slices.SortedFunc(maps.Keys(f.urls), func(a, b string) int { // the longest URL first: it may begin as another
		return cmp.Or(cmp.Compare(len(f.urls[b]), len(f.urls[a])), cmp.Compare(a, b))
	}) {
		s = strings.ReplaceAll(s, f.urls[service], f.usualURL(f.opts.Region, service))
	}
	s = strings.ReplaceAll(s, f.URL(), "http://FAKE")
	s = uploadName.ReplaceAllString(s, "UPLOAD$2")
	s = revision.ReplaceAllString(s, "$1-xyz")
	return timestamp.ReplaceAllString(s, "TIME")
}

// Calls returns the calls so far, in the order in which they were answered.
func (f *Fake) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// Mutations returns the calls that were to change something, whether or not they did.
func (f *Fake) Mutations() []Call {
	return slices.DeleteFunc(f.Calls(), func(c Call) bool { return c.Read })
}

// Unknown returns the calls for which the fake had no answer. A test that finds one tests less than it says.
func (f *Fake) Unknown() []Call {
	return slices.DeleteFunc(f.Calls(), func(c Call) bool { return !c.Unknown })
}

// ResetCalls forgets the calls and uploads so far, not what they made.
func (f *Fake) ResetCalls() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls, f.uploads = nil, nil
}

// Uploads returns the archives that were put into buckets.
func (f *Fake) Uploads() []Upload {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.uploads)
}
