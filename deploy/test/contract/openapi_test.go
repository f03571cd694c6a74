package contract

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	openapi "github.com/casewatch/casewatch/functions"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// document returns the description of what is spoken over HTTP, which is valid, its examples too.
// It is stricter than what is served: there readers have to expect more fields than are described,
// here an answer must have no others.
func document(t *testing.T) *openapi3.T {
	t.Helper()
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(openapi.YAML)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.EnableMultiError(), openapi3.EnableExamplesValidation(),
		openapi3.EnableSchemaFormatValidation()); err != nil {
		t.Fatal(err)
	}
	for _, schema := range doc.Components.Schemas {
		forbidMore(schema)
	}
	for _, op := range operations(doc) {
		for _, response := range op.Responses.Map() {
			for _, content := range response.Value.Content {
				forbidMore(content.Schema)
			}
		}
	}
	return doc
}

// forbidMore forbids fields that are not described, in every object of a schema that does not say that it has any.
func forbidMore(ref *openapi3.SchemaRef) {
	if ref == nil || ref.Value.AdditionalProperties.Has != nil {
		return
	}
	schema := ref.Value
	no := false
	if schema.Type.Is("object") {
		schema.AdditionalProperties.Has = &no
	}
	for _, property := range schema.Properties {
		forbidMore(property)
	}
	forbidMore(schema.Items)
	for _, one := range slices.Concat(schema.OneOf, schema.AnyOf, schema.AllOf) {
		forbidMore(one)
	}
}

// TestOpenAPIAllowsMore: generated clients go on reading when a later version adds a field.
func TestOpenAPIAllowsMore(t *testing.T) {
	for i, line := range strings.Split(string(openapi.YAML), "\n") {
		if strings.Contains(line, "additionalProperties: false") {
			t.Errorf("line %d forbids fields that later versions may add: %s", i+1, line)
		}
	}
}

func TestOpenAPIIsWhole(t *testing.T) {
	doc := document(t)
	ids := map[string]bool{}
	for at, op := range operations(doc) {
		if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" || len(op.Tags) != 1 ||
			doc.Tags.Get(op.Tags[0]) == nil {
			t.Errorf("%s: an id of its own, a summary and one of the tags are missing", at)
		}
		ids[op.OperationID] = true
		for status, response := range op.Responses.Map() {
			if strings.HasPrefix(at, "HEAD ") && len(response.Value.Content) > 0 {
				t.Errorf("%s %s has a body", at, status)
			}
			for mediaType, content := range response.Value.Content {
				if content.Example == nil && len(content.Examples) == 0 {
					t.Errorf("%s %s %s has no example", at, status, mediaType)
				}
			}
		}
	}
}

// TestOpenAPIHasEveryWord: what the rules and the errors can say is in the document, and nothing else.
func TestOpenAPIHasEveryWord(t *testing.T) {
	doc := document(t)
	same := func(schema string, want []string) {
		t.Helper()
		got := words(doc.Components.Schemas[schema].Value.Enum)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s has %q, the code %q", schema, got, want)
		}
	}
	same("State", constants(t, "State"))
	same("Source", constants(t, "Source"))
	same("What", constants(t, "What"))
	same("Phase", constants(t, "Phase"))

	titles, statuses := []string{}, []string{}
	for status, title := range problems() {
		titles, statuses = append(titles, title), append(statuses, strconv.Itoa(status))
	}
	slices.Sort(titles)
	slices.Sort(statuses)
	problem := doc.Components.Schemas["Problem"].Value.Properties
	if got := words(problem["title"].Value.Enum); !slices.Equal(got, titles) {
		t.Errorf("problems have the titles %q, shared/fault %q", got, titles)
	}
	if got := words(problem["status"].Value.Enum); !slices.Equal(got, statuses) {
		t.Errorf("problems have the statuses %q, shared/fault %q", got, statuses)
	}

	if id := doc.Components.Schemas["CaseID"].Value; *id.MaxLength != cases.MaxID {
		t.Errorf("ids are at most %d long, the document says %d", cases.MaxID, *id.MaxLength)
	}
	start := doc.Paths.Value("/start").Post
	if !strings.Contains(start.Description, strconv.Itoa(reconcile.MaxForm>>10)+" KiB") {
		t.Error("the size of a form is another")
	}
	settings := map[string]bool{}
	for _, s := range config.Settings() {
		settings[s.Name] = true
	}
	for _, name := range regexp.MustCompile("`[A-Z]+_[A-Z_]+").FindAllString(string(openapi.YAML), -1) {
		if !settings[name[1:]] {
			t.Errorf("%s is no setting", name[1:])
		}
	}
}

// TestOpenAPIReadsAsTheCodeDoes: the patterns admit what the code can read, and nothing else.
func TestOpenAPIReadsAsTheCodeDoes(t *testing.T) {
	doc := document(t)
	form := doc.Components.Schemas["Form"].Value
	for _, id := range []string{
		"", "a", "A", "0", "-", ".a", "a.", "a:b-1_c", "a/b", "a b", "ä", "a\n", "\na", "a\x00", "..",
		strings.Repeat("x", 128), strings.Repeat("x", 129), "smith-2026-114",
	} {
		err := doc.Components.Schemas["CaseID"].Value.VisitJSON(id)
		inForm := form.VisitJSON(map[string]any{"case_id": id})
		if (err == nil) != cases.ValidID(id) || (inForm == nil) != cases.ValidID(id) {
			t.Errorf("%q: the code says %v, the document %v and %v", id, cases.ValidID(id), err, inForm)
		}
	}
	for _, text := range []string{
		"", "0", "1", "00", "0s", "5s", "1h30m", "1h 30m", "1.5h", "1.h", ".5s", ".s", "5", "5x", "-1h", "+1h", "--1h",
		"-0", "1ms2us3µs4μs5ns", "soon", " 5s", "5s\n", "1d", "1e3s", "05s", "1.2.3s",
	} {
		_, err := time.ParseDuration(text)
		if described := doc.Components.Schemas["GoDuration"].Value.VisitJSON(text); (err == nil) != (described == nil) {
			t.Errorf("%q: the code says %v, the document %v", text, err, described)
		}
	}
}

// TestOpenAPIIsCheckedByTestsOnly: what reads the document is not deployed.
func TestOpenAPIIsCheckedByTestsOnly(t *testing.T) {
	for _, p := range listPackages(t, root(t), ".", "./deploy/local") {
		isKin := func(dep string) bool { return fits("github.com/getkin/kin-openapi/...", dep) }
		if slices.ContainsFunc(p.Deps, isKin) {
			t.Errorf("%s reaches kin-openapi", p.ImportPath)
		}
	}
}

// operations returns all operations by method and path.
func operations(doc *openapi3.T) map[string]*openapi3.Operation {
	all := map[string]*openapi3.Operation{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			all[method+" "+path] = op
		}
	}
	return all
}

// constants returns the values of the constants of a type of shared/cases.
func constants(t *testing.T, typeName string) (values []string) {
	t.Helper()
	deployed(t, func(name string, file *ast.File, _ *token.FileSet) {
		if path.Dir(name) != "shared/cases" {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			of, isName := spec.Type.(*ast.Ident)
			literal, isLiteral := spec.Values[0].(*ast.BasicLit)
			if isName && isLiteral && of.Name == typeName && literal.Kind == token.STRING {
				value, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, value)
			}
			return true
		})
	})
	if len(values) < 2 {
		t.Fatalf("shared/cases has no constants of the type %s: the test has lost its object", typeName)
	}
	return values
}

// problems returns the title of each status that a problem can have.
func problems() map[int]string {
	all := map[int]string{}
	for kind := fault.Internal; kind == fault.Internal || kind.Status() != fault.Internal.Status(); kind++ {
		all[kind.Status()] = kind.Title()
	}
	return all
}

// words returns the values of an enum as texts, sorted.
func words(enum []any) []string {
	var all []string
	for _, v := range enum {
		switch v := v.(type) {
		case string:
			all = append(all, v)
		case float64:
			all = append(all, strconv.Itoa(int(v)))
		case int:
			all = append(all, strconv.Itoa(v))
		}
	}
	slices.Sort(all)
	return all
}
