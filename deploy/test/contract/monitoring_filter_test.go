package contract

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// severities in their order (https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry#LogSeverity).
var severities = []string{"DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY"}

var (
	comparison = regexp.MustCompile(`^([a-zA-Z_.]+)(=~|>=|>|=)(.+)$`)
	logID      = regexp.MustCompile(`^NOT log_id\("([^"]+)"\)$`)
	extract    = regexp.MustCompile(`^EXTRACT\(([a-zA-Z_.]+)\)$`)
)

// field returns the field of an entry at a path such as jsonPayload.message.
func (e entry) field(path string) (any, bool) {
	var v any = map[string]any(e)
	for _, name := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[name]; !ok {
			return nil, false
		}
	}
	return v, true
}

// matches reports whether an entry matches a filter: of the query language what
// deploy/gcp/monitoring uses, one comparison a line, all of which hold
// (https://cloud.google.com/logging/docs/view/logging-query-language). Anything else is an error.
func (e entry) matches(filter string) (bool, error) {
	all := true
	for line := range strings.Lines(filter) {
		ok, err := e.holds(strings.TrimSpace(line))
		if err != nil {
			return false, err
		}
		all = all && ok
	}
	return all, nil
}

func (e entry) holds(line string) (bool, error) {
	if m := logID.FindStringSubmatch(line); m != nil {
		return e["logName"] != m[1], nil
	}
	m := comparison.FindStringSubmatch(line)
	if m == nil {
		return false, fmt.Errorf("this test does not know how to read %q", line)
	}
	v, there := e.field(m[1])
	operator, operand := m[2], m[3]
	text, err := strconv.Unquote(operand)
	quoted := err == nil
	switch {
	case operator == "=" && quoted:
		return there && v == text, nil
	case operator == "=~" && quoted:
		pattern, err := regexp.Compile(text)
		s, isText := v.(string)
		return err == nil && isText && pattern.MatchString(s), err
	case operator == "=" && (operand == "true" || operand == "false"):
		return there && v == (operand == "true"), nil
	case operator == ">=" && m[1] == "severity" && slices.Contains(severities, operand):
		s, _ := v.(string)
		return slices.Index(severities, s) >= slices.Index(severities, operand), nil
	}
	return false, fmt.Errorf("this test does not know how to read %q", line)
}

// extracted returns what an extractor takes from an entry.
func (e entry) extracted(extractor string) (any, error) {
	m := extract.FindStringSubmatch(extractor)
	if m == nil {
		return nil, fmt.Errorf("this test does not know how to read %q", extractor)
	}
	v, ok := e.field(m[1])
	if !ok {
		return nil, fmt.Errorf("no line has the field %s", m[1])
	}
	return v, nil
}

func TestFilterIsReadAsCloudLoggingDoes(t *testing.T) {
	e := newEntry("run.googleapis.com/stdout", "check", "WARNING",
		map[string]any{"message": "m", "moved": true, "n": 1.0})
	for line, want := range map[string]bool{
		`jsonPayload.message="m"`: true, `jsonPayload.message="M m"`: false, `jsonPayload.other="m"`: false,
		`jsonPayload.moved=true`: true, `jsonPayload.moved=false`: false,
		`severity>=WARNING`: true, `severity>=ERROR`: false, `resource.type="cloud_run_revision"`: true,
		`resource.labels.service_name=~"^casewatch-test-(check|start)$"`: true,
		`resource.labels.service_name=~"^casewatch-test-(start)$"`:       false,
		`NOT log_id("run.googleapis.com/requests")`:                      true,
		`NOT log_id("run.googleapis.com/stdout")`:                        false,
		"jsonPayload.message=\"m\"\nseverity>=ERROR":                     false,
	} {
		if got, err := e.matches(line); err != nil || got != want {
			t.Errorf("%s: %v, %v", line, got, err)
		}
	}
	for _, bad := range []string{
		`jsonPayload.n<1`, `message`, `a="b" OR c="d"`, `severity>=LOUD`, `resource.type=~"("`,
	} {
		if _, err := e.matches(bad); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}
