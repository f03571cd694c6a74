// Command stub stands in for gcloud, and under the name curl for curl, in the tests of the scripts. It knows no rules of
// Google Cloud but these: what is not there is not found, what is there cannot be created, and a service whose template
// changed gets a new revision. The folder of the environment variable STUB holds what is live (state.json), every command
// (calls), and what goes wrong (plan.json, see [trouble]).
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
)

// object is a resource as gcloud shows it.
type object = map[string]any

// trouble is what goes wrong: a command that matches fails Times times, before or after it took effect.
type trouble struct {
	Match, Says string
	Times       int
	Late        bool
}

// world is the folder of the stub.
type world struct {
	dir   string
	live  map[string]object // by kind and name: "pubsub topics casewatch-ended"
	names []string          // of live, in the order in which they were made
	dirty bool              // whether live is to be written
}

type saved struct {
	Names []string
	Live  map[string]object
}

var errNotFound = errors.New("NOT_FOUND: the resource was not found")

func main() {
	w := &world{dir: os.Getenv("STUB"), live: map[string]object{}}
	out, err := w.run(filepath.Base(os.Args[0]), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "ERROR:", err)
		os.Exit(1)
	}
	fmt.Print(out)
}

func (w *world) run(tool string, args []string) (string, error) {
	if err := w.note(tool, args); err != nil {
		return "", err
	}
	var s saved
	if err := w.read("state.json", &s); err != nil {
		return "", err
	}
	if s.Live != nil {
		w.live, w.names = s.Live, s.Names
	}
	c := parse(args)
	failure, late, err := w.trouble(tool + " " + strings.Join(args, " "))
	if err != nil || failure != nil && !late {
		return "", errors.Join(err, failure)
	}
	var out string
	if tool == "curl" {
		out, err = w.curl(args)
	} else {
		out, err = w.gcloud(c)
	}
	if err == nil && w.dirty { // two commands may run at the same time, of which one only reads
		err = w.write("state.json", saved{w.names, w.live})
	}
	return out, errors.Join(err, failure)
}

// note adds a command to the calls, one JSON list a line.
func (w *world) note(tool string, args []string) error {
	line, err := json.Marshal(append([]string{tool}, args...))
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(w.dir, "calls"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

func (w *world) trouble(command string) (failure error, late bool, err error) {
	var plan []trouble
	if err := w.read("plan.json", &plan); err != nil {
		return nil, false, err
	}
	for i := range plan {
		if t := &plan[i]; t.Times > 0 && regexp.MustCompile(t.Match).MatchString(command) {
			t.Times--
			return errors.New(t.Says), t.Late, w.write("plan.json", plan)
		}
	}
	return nil, false, nil
}

func (w *world) read(name string, v any) error {
	data, err := os.ReadFile(filepath.Join(w.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

func (w *world) write(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.dir, name), data, 0o600)
}

// command is a gcloud command: "tasks queues", "create", ["casewatch-check"] and its flags.
type command struct {
	kind, verb string
	names      []string
	flags      map[string][]string
}

var verbs = map[string]bool{}

func init() {
	for verb := range strings.FieldsSeq("describe list list-configs create update patch delete replace update-traffic add access enable submit version " +
		"set-iam-policy get-iam-policy add-iam-policy-binding remove-iam-policy-binding set-cleanup-policies set-password " +
		"list-files-for-upload print-access-token rm") {
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

func (c command) flag(name string) string {
	if values := c.flags[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

func (c command) name() string {
	if len(c.names) == 0 {
		return ""
	}
	return c.names[len(c.names)-1]
}

func (w *world) put(key string, o object) {
	w.dirty = true
	if _, ok := w.live[key]; !ok {
		w.names = append(w.names, key)
	}
	w.live[key] = o
}

func (w *world) remove(key string) {
	w.dirty = true
	delete(w.live, key)
	for i, name := range w.names {
		if name == key {
			w.names = append(w.names[:i], w.names[i+1:]...)
			return
		}
	}
}

// under returns what is live of a kind, in the order in which it was made.
func (w *world) under(prefix string) []any {
	list := []any{}
	for _, name := range w.names {
		if strings.HasPrefix(name, prefix+" ") {
			list = append(list, w.live[name])
		}
	}
	return list
}

// show is a value as --flatten, --filter, --limit and --format say.
func (c command) show(v any) (string, error) {
	list, isList := v.([]any)
	if flatten := c.flag("flatten"); flatten == "bindings[].members" {
		list, isList = nil, true
		bindings, _ := v.(object)["bindings"].([]any)
		for _, b := range bindings {
			members, _ := b.(object)["members"].([]any)
			for _, m := range members {
				list = append(list, object{"bindings": object{"role": b.(object)["role"], "members": m, "condition": b.(object)["condition"]}})
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
	fields, isValue := strings.CutPrefix(c.flag("format"), "value(")
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
				b.WriteByte('\t')
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
