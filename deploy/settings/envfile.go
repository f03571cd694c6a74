package main

import (
	"bufio"
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// envFile is what an env/NAME.env says: one KEY=VALUE a line, nothing quoted, nothing expanded, never sourced. A line that is empty
// or begins with # says nothing.
type envFile struct {
	name   string
	values map[string]string
	lines  map[string]int // of each key, from 1
}

// fault is one thing that is wrong with an env file. Text never holds the value of a secret.
type fault struct {
	line int // 0 for what is missing
	text string
}

// faults is everything that is wrong with an env file.
type faults struct {
	file string
	list []fault
}

func (f *faults) add(line int, format string, args ...any) {
	next := fault{line, fmt.Sprintf(format, args...)}
	if !slices.Contains(f.list, next) {
		f.list = append(f.list, next)
	}
}

// Error names each fault on a line of its own, in the order of the file.
func (f *faults) Error() string {
	slices.SortStableFunc(f.list, func(a, b fault) int { return a.line - b.line })
	var b strings.Builder
	fmt.Fprintf(&b, "%s cannot be deployed (%d):", f.file, len(f.list))
	for _, one := range f.list {
		if one.line > 0 {
			fmt.Fprintf(&b, "\n  line %d: %s", one.line, one.text)
		} else {
			b.WriteString("\n  " + one.text)
		}
	}
	return b.String()
}

var keyName = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)

// parseEnv reads an env file. What cannot be read is added to bad, and the rest is still returned.
func parseEnv(name string, data []byte, bad *faults) envFile {
	f := envFile{name: name, values: map[string]string{}, lines: map[string]int{}}
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
			// The line is not quoted: it may hold what should not be printed.
			bad.add(number, "is not KEY=VALUE, with a key of capital letters, digits and _, and no space around =")
			continue
		case f.lines[key] > 0:
			bad.add(number, "%s is set already, in line %d", key, f.lines[key])
			continue
		}
		meant := strings.TrimSpace(value) // what is looked at further, so that a fault is named once
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
