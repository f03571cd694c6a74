package main

import (
	"bufio"
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// envFile is the content of an env/NAME.env: one KEY=VALUE a line. Nothing is quoted, expanded or
// sourced. Empty lines and lines that begin with # are comments.
type envFile struct {
	values map[string]string
	lines  map[string]int // of each key, from 1
}

// problem is one thing that is wrong with an env file. Its text never holds a secret.
type problem struct {
	line int // 0 for a key that is missing
	text string
}

// problems collects everything that is wrong with an env file, so that it is reported at once.
type problems struct {
	file string
	list []problem
}

func (p *problems) add(line int, format string, args ...any) {
	next := problem{line, fmt.Sprintf(format, args...)}
	if !slices.Contains(p.list, next) {
		p.list = append(p.list, next)
	}
}

// Error names each problem on a line of its own, in the order of the file.
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

// parseEnv reads an env file. Lines that cannot be read are added to bad; the others are returned.
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
			// The line is not quoted: it may hold something that should not be printed.
			bad.add(number, "is not KEY=VALUE, with a key of capital letters, digits and _, and no space around =")
			continue
		case f.lines[key] > 0:
			bad.add(number, "%s is set already, in line %d", key, f.lines[key])
			continue
		}
		meant := strings.TrimSpace(value) // is checked further, so that each problem is named once
		switch {
		case meant != value:
			bad.add(number, "%s has white space around its value", key)
		case len(value) > 1 && strings.ContainsAny(value[:1], `"'`) && value[0] == value[len(value)-1]:
			bad.add(number, "%s is in quotes, which would be part of the value: write it without", key)
			meant = value[1 : len(value)-1]
		case strings.Contains(value, " #"):
			bad.add(number, "%s is followed by a comment, which would be part of the value: comments are lines of their own", key)
			meant, _, _ = strings.Cut(value, " #")
		}
		f.lines[key], f.values[key] = number, meant
	}
	if err := scanner.Err(); err != nil {
		bad.add(0, "cannot be read: %v", err)
	}
	return f
}
