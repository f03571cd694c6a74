// Command stub stands in for gcloud in the tests of the scripts, and for curl if it is called by
// that name. It knows three rules of Google Cloud. A missing resource is not found. An existing
// resource cannot be created. A service whose template changed gets a new revision.
//
// The environment variable STUB names its folder:
//
//	state.json     what is live (see [resources])
//	calls          every command since the test last read the file, a JSON list a line
//	faults.json    the commands that fail (see [fault])
//	canaries.json  the states in which the next canary cases end; succeeded if there is none
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// object is a resource as gcloud prints it.
type object = map[string]any

// fault lets the next commands fail that match the regular expression Match, Times of them, with
// Message as their error. With AfterEffect a command fails after it took effect. A Signal other than
// 0 is sent to the script that called the command.
type fault struct {
	Match, Message string
	Times          int
	AfterEffect    bool
	Signal         syscall.Signal
}

// cloud is what the stub knows of Google Cloud while it executes one command.
type cloud struct {
	dir     string
	live    map[string]object // by kind and name, such as "pubsub topics casewatch-ended"
	names   []string          // the keys of live, in the order of creation
	changed bool              // the command changed live
}

// resources is the content of state.json: the fields live and names of a cloud.
type resources struct {
	Names []string
	Live  map[string]object
}

var errNotFound = errors.New("NOT_FOUND: the resource was not found")

func main() {
	g := &cloud{dir: os.Getenv("STUB"), live: map[string]object{}}
	out, err := g.run(filepath.Base(os.Args[0]), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "ERROR:", err)
		os.Exit(1)
	}
	fmt.Print(out)
}

func (g *cloud) run(tool string, args []string) (string, error) {
	if err := g.record(tool, args); err != nil {
		return "", err
	}
	var s resources
	if err := g.read("state.json", &s); err != nil {
		return "", err
	}
	if s.Live != nil {
		g.live, g.names = s.Live, s.Names
	}
	c := parse(args)
	failure, afterEffect, err := g.fault(tool + " " + strings.Join(args, " "))
	if err != nil || failure != nil && !afterEffect {
		return "", errors.Join(err, failure)
	}
	var out string
	if tool == "curl" {
		out, err = g.curl(args)
	} else {
		out, err = g.gcloud(c)
	}
	if err == nil && g.changed { // a command that only reads may run beside this one: it must not write
		err = g.write("state.json", resources{g.names, g.live})
	}
	return out, errors.Join(err, failure)
}

// record adds a command to the file calls.
func (g *cloud) record(tool string, args []string) error {
	line, err := json.Marshal(append([]string{tool}, args...))
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(g.dir, "calls"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// fault returns the error of the first fault that matches a command, and counts the fault down.
func (g *cloud) fault(command string) (failure error, afterEffect bool, err error) {
	var faults []fault
	if err := g.read("faults.json", &faults); err != nil {
		return nil, false, err
	}
	for i := range faults {
		if f := &faults[i]; f.Times > 0 && regexp.MustCompile(f.Match).MatchString(command) {
			f.Times--
			if f.Signal != 0 {
				if err := syscall.Kill(os.Getppid(), f.Signal); err != nil {
					return nil, false, err
				}
			}
			return errors.New(f.Message), f.AfterEffect, g.write("faults.json", faults)
		}
	}
	return nil, false, nil
}

// read reads a JSON file of the folder. If there is none, v stays as it is.
func (g *cloud) read(name string, v any) error {
	data, err := os.ReadFile(filepath.Join(g.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// write replaces a JSON file of the folder. A command that runs at the same time reads the old file
// or the new one.
func (g *cloud) write(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	file := filepath.Join(g.dir, name)
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// command is a gcloud command, taken apart.
type command struct {
	kind  string              // "tasks queues", without alpha or beta
	verb  string              // "create"
	names []string            // ["casewatch-check"]
	flags map[string][]string // by name, without the hyphens; "true" for a flag without a value
}

var verbs = map[string]bool{}

func init() {
	const list = "access add create delete describe enable list list-configs list-files-for-upload patch " +
		"print-access-token replace rm submit update update-traffic version set-cleanup-policies set-password " +
		"get-iam-policy set-iam-policy add-iam-policy-binding remove-iam-policy-binding"
	for verb := range strings.FieldsSeq(list) {
		verbs[verb] = true
	}
}

func parse(args []string) command {
	c := command{flags: map[string][]string{}}
	var kind []string
	for _, arg := range args {
		name, isFlag := strings.CutPrefix(arg, "--")
		switch {
		case isFlag:
			name, value, given := strings.Cut(name, "=")
			if !given {
				value = "true"
			}
			c.flags[name] = append(c.flags[name], value)
		case c.verb != "":
			c.names = append(c.names, arg)
		case verbs[arg]:
			c.verb = arg
		case arg != "alpha" && arg != "beta":
			kind = append(kind, arg)
		}
	}
	c.kind = strings.Join(kind, " ")
	return c
}

// flag returns the first value of a flag, or "".
func (c command) flag(name string) string {
	if values := c.flags[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// name returns the last name, or "".
func (c command) name() string {
	if len(c.names) == 0 {
		return ""
	}
	return c.names[len(c.names)-1]
}

func (g *cloud) put(key string, o object) {
	g.changed = true
	if _, ok := g.live[key]; !ok {
		g.names = append(g.names, key)
	}
	g.live[key] = o
}

func (g *cloud) remove(key string) {
	g.changed = true
	delete(g.live, key)
	for i, name := range g.names {
		if name == key {
			g.names = append(g.names[:i], g.names[i+1:]...)
			return
		}
	}
}

// under returns the resources of a kind, in the order of creation.
func (g *cloud) under(prefix string) []any {
	list := []any{}
	for _, name := range g.names {
		if strings.HasPrefix(name, prefix+" ") {
			list = append(list, g.live[name])
		}
	}
	return list
}

// show returns a value as the flags --flatten, --filter, --limit and --format ask for it.
func (c command) show(v any) (string, error) {
	list, isList := v.([]any)
	if flatten := c.flag("flatten"); flatten == "bindings[].members" {
		list, isList = nil, true
		bindings, _ := v.(object)["bindings"].([]any)
		for _, b := range bindings {
			members, _ := b.(object)["members"].([]any)
			for _, m := range members {
				list = append(list, object{"bindings": object{
					"role": b.(object)["role"], "members": m, "condition": b.(object)["condition"],
				}})
			}
		}
	}
	if field, want, ok := strings.Cut(c.flag("filter"), "="); ok {
		field, not := strings.CutSuffix(field, "!")
		var kept []any
		for _, o := range list {
			if (text(at(o, strings.TrimSpace(field))) == strings.TrimSpace(want)) != not {
				kept = append(kept, o)
			}
		}
		list = kept
	}
	if n, err := strconv.Atoi(c.flag("limit")); err == nil && len(list) > n {
		list = list[:n]
	}
	if isList {
		if list == nil {
			list = []any{}
		}
		v = list
	}
	format, fields, isValue := strings.Cut(c.flag("format"), "(")
	separator := "\t"
	if _, given, ok := strings.Cut(format, `separator="`); ok {
		separator = strings.TrimSuffix(given, `"]`)
	}
	if !isValue {
		data, err := json.MarshalIndent(v, "", " ")
		return string(data) + "\n", err
	}
	if !isList {
		list = []any{v}
	}
	var b strings.Builder
	for _, o := range list {
		for i, field := range strings.Split(strings.TrimSuffix(fields, ")"), ",") {
			if i > 0 {
				b.WriteString(separator)
			}
			field, base := strings.CutSuffix(strings.TrimSpace(field), ".basename()")
			value := text(at(o, strings.Trim(field, `"`)))
			if base {
				value = value[strings.LastIndexByte(value, '/')+1:]
			}
			b.WriteString(value)
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

// at returns the value at a path of names.
func at(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		o, _ := v.(object)
		v = o[name]
	}
	return v
}

// set puts a value at a path of names.
func set(o object, path string, value any) {
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		next, ok := o[name].(object)
		if !ok {
			next = object{}
			o[name] = next
		}
		o = next
	}
	o[names[len(names)-1]] = value
}

func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func input() string {
	data, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	return string(data)
}
