package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// wrong marks in a context a request that the document is to refuse.
type wrong struct{}

// checked sends requests, and holds each of them and its answer against the document. What is wrong
// with one fails the test.
type checked struct {
	t      *testing.T
	doc    *openapi3.T
	router routers.Router
	next   http.RoundTripper

	mu   sync.Mutex
	seen map[string]bool // what was answered: "GET /x 200 application/json", without the type where there is no body
}

func newChecked(t *testing.T) *checked {
	t.Helper()
	doc := document(t)
	doc.Servers = nil // the paths are served as they are, wherever that is
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	next := &http.Transport{DisableCompression: true}
	t.Cleanup(next.CloseIdleConnections)
	return &checked{t: t, doc: doc, router: router, next: next, seen: map[string]bool{}}
}

// route returns the operation that a request is for. With a method that there is not, it is any
// operation at that path, and ok is false.
func (c *checked) route(r *http.Request) (route *routers.Route, params map[string]string, ok bool) {
	if route, params, err := c.router.FindRoute(r); err == nil {
		return route, params, true
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		other := r.Clone(r.Context())
		other.Method = method
		if route, params, err := c.router.FindRoute(other); err == nil {
			return route, params, false
		}
	}
	return nil, nil, false
}

// RoundTrip is that of [http.RoundTripper].
func (c *checked) RoundTrip(r *http.Request) (*http.Response, error) {
	route, params, isOperation := c.route(r)
	if route == nil {
		return nil, fmt.Errorf("%s %s is not in the document", r.Method, r.URL.Path)
	}
	options := &openapi3filter.Options{
		IncludeResponseStatus: true, MultiError: true, SkipSettingDefaults: true,
		AuthenticationFunc: func(_ context.Context, in *openapi3filter.AuthenticationInput) error {
			if !authenticated(r, in.SecurityScheme) {
				return errors.New(in.SecuritySchemeName + " is not shown")
			}
			return nil
		},
	}
	in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route, Options: options}
	err := openapi3filter.ValidateRequest(r.Context(), in)
	if err == nil {
		err = undocumented(r, route)
	}
	if !isOperation {
		err = errors.New("there is no such method")
	}
	name := r.Method + " " + r.URL.RequestURI()
	if _, isWrong := r.Context().Value(wrong{}).(bool); isWrong != (err != nil) {
		c.t.Errorf("%s: is to be refused: %v; the document says: %v", name, isWrong, err)
	}
	res, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	check := func(body []byte) {
		if err := c.check(in, res, body); err != nil {
			c.t.Errorf("%s → %d: %v\n%v\n%s", name, res.StatusCode, err, res.Header, body[:min(len(body), 500)])
		}
	}
	res.Body = &watchedBody{ReadCloser: res.Body, done: check}
	return res, nil
}

// watchedBody tells what was read, once, at the end or when it is closed before.
type watchedBody struct {
	io.ReadCloser
	read bytes.Buffer
	done func([]byte)
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Write(p[:n])
	if err != nil {
		b.tell()
	}
	return n, err
}

func (b *watchedBody) Close() error {
	b.tell()
	return b.ReadCloser.Close()
}

func (b *watchedBody) tell() {
	if b.done != nil {
		b.done(b.read.Bytes())
		b.done = nil
	}
}

// undocumented returns an error if a request has a parameter of ours that its operation does not
// know. Whatever goes with every request is none.
func undocumented(r *http.Request, route *routers.Route) error {
	params := append(slices.Clone(route.Operation.Parameters), route.PathItem.Parameters...)
	for name := range r.URL.Query() {
		if name != "token" && params.GetByInAndName("query", name) == nil {
			return fmt.Errorf("the parameter %s is not documented", name)
		}
	}
	for name := range r.Header {
		known := slices.ContainsFunc(params, func(p *openapi3.ParameterRef) bool {
			return p.Value.In == "header" && strings.EqualFold(p.Value.Name, name)
		})
		if !known && !slices.Contains([]string{
			"Accept", "Authorization", "Content-Type", "X-Api-Key", "X-Goog-Iap-Jwt-Assertion",
			"Sec-Fetch-Site", "User-Agent",
		}, name) {
			return fmt.Errorf("the header %s is not documented", name)
		}
	}
	return nil
}

// always are the headers that info speaks of, and those of the transport.
var always = []string{"Cache-Control", "Referrer-Policy", "X-Content-Type-Options", "Content-Security-Policy", "Vary",
	"Content-Type", "Content-Length", "Date", "Accept-Ranges", "Connection"}

// check holds an answer against the document, and beyond what kin-openapi looks at: answers without
// a body, undocumented headers.
func (c *checked) check(in *openapi3filter.RequestValidationInput, res *http.Response, body []byte) error {
	described := in.Route.Operation.Responses.Status(res.StatusCode)
	if described == nil {
		return errors.New("the status is not documented")
	}
	mediaType, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	answer := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: res.StatusCode, Header: res.Header, Options: in.Options,
	}
	if err := openapi3filter.ValidateResponse(in.Request.Context(), answer.SetBodyBytes(body)); err != nil {
		return err
	}
	for name, header := range described.Value.Headers {
		if err := checkHeader(header.Value, res.Header.Values(name)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name := range res.Header {
		known := slices.Contains(always, name)
		for documented := range described.Value.Headers {
			known = known || strings.EqualFold(documented, name)
		}
		if !known {
			return fmt.Errorf("the header %s is not documented", name)
		}
	}
	for _, name := range always[:3] {
		if res.Header.Get(name) == "" {
			return fmt.Errorf("the header %s is missing", name)
		}
	}
	if len(described.Value.Content) == 0 && len(body) > 0 {
		return errors.New("a body is not documented")
	}
	if mediaType == "application/problem+json" && len(body) > 0 {
		var problem struct {
			Title  string
			Status int
		}
		err := json.Unmarshal(body, &problem)
		if err != nil || problem.Status != res.StatusCode || problem.Title != problems()[res.StatusCode] {
			return fmt.Errorf("the problem is of another status: %+v %w", problem, err)
		}
	}
	c.saw(in, res.StatusCode, mediaType, len(described.Value.Content) > 0)
	return nil
}

// checkHeader holds the values of a header against its description.
func checkHeader(h *openapi3.Header, values []string) error {
	if len(values) == 0 && h.Required {
		return errors.New("is missing")
	}
	for _, value := range values {
		var decoded any = value
		if h.Schema.Value.Type.Is("integer") {
			if err := json.Unmarshal([]byte(value), &decoded); err != nil {
				return err
			}
		}
		if err := h.Schema.Value.VisitJSON(decoded); err != nil {
			return err
		}
	}
	return nil
}

func (c *checked) saw(in *openapi3filter.RequestValidationInput, status int, mediaType string, hasBody bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	what := fmt.Sprintf("%s %s %d", in.Route.Method, in.Route.Path, status)
	if hasBody {
		what += " " + mediaType
	}
	c.seen[what] = true
}

// unseen returns what the document describes and no request was answered with.
func (c *checked) unseen() (missing []string) {
	for at, op := range operations(c.doc) {
		for status, response := range op.Responses.Map() {
			types := []string{""}
			for mediaType := range response.Value.Content {
				types = append(types, " "+mediaType)
			}
			if len(types) > 1 {
				types = types[1:]
			}
			for _, mediaType := range types {
				if what := at + " " + status + mediaType; !c.seen[what] {
					missing = append(missing, what)
				}
			}
		}
	}
	slices.Sort(missing)
	return missing
}

// authenticated reports whether a request shows what a security scheme asks for, be it right or wrong.
func authenticated(r *http.Request, scheme *openapi3.SecurityScheme) bool {
	switch {
	case scheme.Type == "http":
		return strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ")
	case scheme.In == "query":
		return r.URL.Query().Get(scheme.Name) != ""
	}
	return r.Header.Get(scheme.Name) != ""
}

func init() {
	for _, text := range []string{"text/javascript", "application/typescript", "application/yaml", "text/html"} {
		openapi3filter.RegisterBodyDecoder(text, openapi3filter.FileBodyDecoder)
	}
	openapi3filter.RegisterBodyDecoder("text/event-stream", decodeEvents)
}
