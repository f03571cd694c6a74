package main

import (
	"bufio"
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// envFile is the content of a file in env/: one KEY=VALUE a line. Values are not quoted and not
// expanded. Empty lines, and lines that begin with #, are comments.
type envFile struct {
	values map[string]string
	lines  map[string]int // the line of each key, from 1
}

// problem is one problem of an env file. Its text never holds a secret.
type problem struct {
	line int // 0 if the problem has no line: a key is missing
	text string
}

// problems collects all problems of an env file, so that they are reported together.
type problems struct {
	file string
	list []problem
}

// add adds a problem, unless the same one was added before.
func (p *problems) add(line int, format string, args ...any) {
	next := problem{line, fmt.Sprintf(format, args...)}
	if !slices.Contains(p.list, next) {
		p.list = append(p.list, next)
	}
}

// Error returns a line for each problem, in the order of the file.
func (p *problems) Error() string {
	slices.SortStableFunc(p.list, func(a, b problem) int { return a.line - b.line })
	var b strings.Builder
	fmt.Fprintf(&b, "%s cannot be deployed (%d):", p.file, len(p.list))
	for _, one := range p.list {
		if one.line > 0 {
			fmt.Fprintf(&b, "\n  line %d: %s", one.line, one.text)
		} else {
			b.WriteString("\n  " + one.text)
		}
	}
	return b.String()
}

var keyName = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)

// parseEnv reads an env file. It adds to bad each line that is not valid. A value with a problem is
// returned as it was probably meant, so that later checks do not report it again.
func parseEnv(data []byte, bad *problems) envFile {
	f := envFile{values: map[string]string{}, lines: map[string]int{}}
	scanner := bufio.NewScanner(bytes.NewReader(data))
	scanner.Buffer(nil, 1<<20)
	for number := 1; scanner.Scan(); number++ {
		line := scanner.Text() // without the carriage return of a Windows editor
		if t := strings.TrimSpace(line); t == "" || strings.HasPrefix(t, "#") {
			continue
		}
		key, value, found := strings.Cut(line, "=")
		switch {
		case !found || !keyName.MatchString(key):
			// The problem does not quote the line, which may hold a secret.
			bad.add(number, "is not KEY=VALUE, with a key of capital letters, digits and _, and no space around =")
			continue
		case f.lines[key] > 0:
			bad.add(number, "%s is set in line %d already", key, f.lines[key])
			continue
		}
		meant := strings.TrimSpace(value)
		switch {
		case meant != value:
			bad.add(number, "%s has white space around its value", key)
		case len(value) > 1 && strings.ContainsAny(value[:1], `"'`) && value[0] == value[len(value)-1]:
			bad.add(number, "%s is in quotes, which would be part of the value: write it without quotes", key)
			meant = value[1 : len(value)-1]
		case strings.Contains(value, " #"):
			bad.add(number, "%s is followed by a comment, which would be part of the value: "+
				"write the comment on a line of its own", key)
			meant, _, _ = strings.Cut(value, " #")
		}
		f.lines[key], f.values[key] = number, meant
	}
	if err := scanner.Err(); err != nil {
		bad.add(0, "cannot be read: %v", err)
	}
	return f
}
