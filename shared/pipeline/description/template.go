package description

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Template is text with placeholders such as {job}.
type Template []Part

// Part is a piece of a template: text, or a placeholder.
type Part struct {
	Text string // with Name "": as it is
	Name string // of a placeholder: one of those that package pipeline fills in
	Keep bool   // {+name}: slashes in the value are kept
}

// resultURL is a placeholder of result.request only.
const resultURL = "result_url"

// secretMark begins a placeholder of a secret, and secretPrefix the names of secrets.
const (
	secretMark   = "secret:"
	secretPrefix = "PIPELINE_SECRET_"
)

// parseTemplate reads a template with these placeholders. A secret is a placeholder whose Name
// begins with secretMark; it is left to the caller.
func parseTemplate(text string, names ...string) (Template, error) {
	var t Template
	for rest := text; rest != ""; {
		open := strings.IndexAny(rest, "{}")
		if open < 0 {
			return append(t, Part{Text: rest}), nil
		}
		if rest[open] == '}' {
			return nil, errors.New("has a } without its {")
		}
		if open > 0 {
			t = append(t, Part{Text: rest[:open]})
		}
		length := strings.IndexByte(rest[open:], '}')
		if length < 0 {
			return nil, errors.New("has a { without its }")
		}
		name := rest[open+1 : open+length]
		rest = rest[open+length+1:]
		part := Part{Name: name}
		if bare, kept := strings.CutPrefix(name, "+"); kept {
			part = Part{Name: bare, Keep: true}
		}
		switch {
		case strings.HasPrefix(part.Name, secretMark):
			if !slices.Contains(names, secretMark) {
				return nil, fmt.Errorf("has {%s}: secrets are only for auth.value and callback.secret", part.Name)
			}
		case !slices.Contains(names, part.Name):
			if len(names) == 1 && names[0] == secretMark {
				return nil, fmt.Errorf("has the placeholder {%s}; there is only {%s%sNAME}",
					name, secretMark, secretPrefix)
			}
			return nil, fmt.Errorf("has the placeholder {%s}; there are {%s}", name, strings.Join(names, "}, {"))
		}
		t = append(t, part)
	}
	return t, nil
}

// Uses reports whether the template has that placeholder.
func (t Template) Uses(name string) bool {
	return slices.ContainsFunc(t, func(p Part) bool { return p.Name == name })
}

// Address returns the placeholder that the template begins with; "" if it begins with text. The
// value of such a placeholder is an absolute address.
func (t Template) Address() string {
	if len(t) == 0 {
		return ""
	}
	return t[0].Name
}

func (s Start) uses(name string) bool {
	return s.Request.Target.Uses(name) || slices.ContainsFunc(s.Body.Set, func(m Member) bool {
		return valueUses(m.Value, name)
	})
}

func valueUses(value any, name string) bool {
	switch v := value.(type) {
	case Template:
		return v.Uses(name)
	case []any:
		return slices.ContainsFunc(v, func(element any) bool { return valueUses(element, name) })
	case map[string]any:
		for _, element := range v {
			if valueUses(element, name) {
				return true
			}
		}
	}
	return false
}

// Values are places in an answer, in order of preference: the first that has a value counts.
type Values []Value

// Value is a place in an answer.
type Value struct {
	Kind   Kind
	Path   []string // of FromBody: the tokens of a JSON Pointer (RFC 6901); empty means the whole body
	Header string   // of FromHeader: the canonical name
}

// Kind says in which part of an answer a value is.
type Kind int

// The kinds of places.
const (
	FromBody Kind = iota
	FromHeader
	FromCode // the status code
)

// String returns the place as a description writes it.
func (v Value) String() string {
	switch v.Kind {
	case FromCode:
		return "code"
	case FromHeader:
		return "header:" + v.Header
	}
	var b strings.Builder
	b.WriteString("body:")
	for _, token := range v.Path {
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(token))
	}
	return b.String()
}

// String returns the places as a description writes them.
func (v Values) String() string {
	texts := make([]string, len(v))
	for i, value := range v {
		texts[i] = value.String()
	}
	return strings.Join(texts, " or ")
}
