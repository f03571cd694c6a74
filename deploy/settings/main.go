// Command settings is what the deploy scripts know: it reads an env file, refuses a bad one with every fault that it has, and says as
// JSON what is to exist on Google Cloud; and, given what gcloud said is there, how the two differ. It calls nothing.
//
//	settings plan   [flags] FILE              the plan, as JSON
//	settings diff   [flags] FILE              each difference on a line, with tabs: how, kind, name, field, is, should be
//	settings policy [flags] FILE KIND NAME    the policy to write: what is there, with what is missing, without what may not be
//	settings render [flags] FILE FOLDER       writes what gcloud takes from files: environments, metrics, alerts, dashboards
//	settings source                           a hash of the files whose names it reads, a line each
//
// It exits with 1 if the file is bad, 2 if it is called wrongly.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	err := run(os.Args[1:], os.Stdin, os.Stdout)
	var usage usageError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "settings:", err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// usageError is a call that makes no sense.
type usageError string

func (e usageError) Error() string { return string(e) }

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) == 0 {
		return usageError("expected plan, diff, policy, render or source")
	}
	if args[0] == "source" {
		return source(in, out)
	}
	flags := flag.NewFlagSet("settings "+args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	folder := flags.String("deploy", "deploy", "the folder with monitoring/ and firestore.indexes.json")
	live := state{}
	flags.StringVar(&live.folder, "state", "", "the folder with what gcloud said is there")
	flags.StringVar(&live.image, "image", "", "the image, with its digest; none: any, but all the same")
	example := flags.Bool("example", false, "accept the placeholders of an example")
	if err := flags.Parse(args[1:]); err != nil {
		return usageError(err.Error())
	}
	operands := map[string]int{"plan": 1, "diff": 1, "policy": 3, "render": 2}
	if n, ok := operands[args[0]]; !ok || flags.NArg() != n {
		return usageError("cannot " + strings.Join(args, " "))
	}
	p, err := planOf(flags.Arg(0), *folder, &live, *example)
	if err != nil {
		return err
	}
	switch args[0] {
	case "diff":
		for _, d := range diff(p, &live) {
			fmt.Fprintln(out, d.line())
		}
	case "policy":
		err = p.writePolicy(out, &live, flags.Arg(1), flags.Arg(2))
	case "render":
		err = p.render(flags.Arg(1))
	default:
		err = writeJSON(out, p)
	}
	return errors.Join(err, live.err)
}

// planOf reads an env file and returns its plan, or everything that is wrong with it.
func planOf(path, folder string, live *state, example bool) (*Plan, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	bad := &faults{file: path}
	f := parseEnv(path, data, bad)
	if !example {
		placeholders(f, bad)
	}
	p := build(f, live, folder, bad)
	if len(bad.list) > 0 {
		return nil, bad
	}
	return p, live.err
}

func (p *Plan) writePolicy(out io.Writer, live *state, kind, name string) error {
	for _, wanted := range p.Policies {
		if wanted.Kind == kind && wanted.Name == name {
			return writeJSON(out, live.policy(kind, name).merge(wanted))
		}
	}
	return usageError("the plan has no policy of the " + kind + " " + name)
}

// render writes env/FUNCTION.json, metrics/NAME.yaml, alerts/NAME.json and dashboards/NAME.json below folder.
func (p *Plan) render(folder string) error {
	write := func(name, text string) error {
		path := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		return os.WriteFile(path, []byte(text), 0o600)
	}
	var errs []error
	for _, s := range p.Services {
		env, err := json.MarshalIndent(s.Env, "", "  ") // JSON is YAML too
		errs = append(errs, err, write("env/"+s.Function+".json", string(env)+"\n"))
	}
	for _, files := range [][]File{p.Metrics, p.Alerts, p.Dashboards} {
		for _, file := range files {
			errs = append(errs, write(file.Path, file.text))
		}
	}
	return errors.Join(errs...)
}

func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// source prints a hash over the names and contents of files: the same for the same source, wherever it lies.
func source(names io.Reader, out io.Writer) error {
	list, err := io.ReadAll(names)
	if err != nil {
		return err
	}
	files := strings.Split(strings.TrimSuffix(string(list), "\n"), "\n")
	slices.Sort(files)
	all := sha256.New()
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(all, "%s\x00%x\n", filepath.ToSlash(name), sha256.Sum256(data))
	}
	fmt.Fprintf(out, "%x\n", all.Sum(nil)[:8])
	return nil
}
