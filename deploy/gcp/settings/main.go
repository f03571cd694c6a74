// Command settings does what is hard in a shell: it checks an env file, and compares two documents.
// It sends no request.
//
//	settings read [-organization] [-example] [-gcp=DIR] FILE FOLDER
//	settings compare NAME WANTED LIVE
//
// read writes FOLDER/values, with a line NAME=VALUE for each value that the scripts use, and
// FOLDER/FUNCTION.env for each function, with its variables as service.yaml holds them. It checks
// the settings of each function with config.Load, as the function does when it starts.
//
// compare prints each difference between two JSON or YAML files, on a line that begins with NAME.
//
// It exits with 1 if the env file has a problem or compare found a difference, and with 2 if the
// arguments are not valid.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	err := run(os.Args[1:], os.Stdout)
	var usage usageError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "settings:", err)
		os.Exit(2)
	case errors.Is(err, errDifferences):
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// usageError is a problem of the arguments.
type usageError string

func (e usageError) Error() string { return string(e) }

var errDifferences = errors.New("a difference was found")

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("settings", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	organization := flags.Bool("organization", false, "the project belongs to an organization")
	example := flags.Bool("example", false, "accept the placeholders of an example")
	folder := flags.String("gcp", "deploy/gcp", "the folder that holds functions.txt")
	if len(args) == 0 {
		return usageError("expected read or compare")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return usageError(err.Error())
	}
	switch {
	case args[0] == "read" && flags.NArg() == 2:
		p, err := newPlan(flags.Arg(0), *folder, *organization, *example)
		if err != nil {
			return err
		}
		return p.write(flags.Arg(1))
	case args[0] == "compare" && flags.NArg() == 3:
		return compare(out, flags.Arg(0), flags.Arg(1), flags.Arg(2))
	}
	return usageError("not a command: " + strings.Join(args, " "))
}

// write writes the files that the scripts read.
func (p *plan) write(folder string) error {
	var values strings.Builder
	for _, f := range p.functions {
		suffix := "_" + strings.ToUpper(f.name)
		p.values["CALLER"+suffix] = f.caller
		for name, value := range f.resources {
			p.values[name+suffix] = value
		}
		if err := os.WriteFile(filepath.Join(folder, f.name+".env"), []byte(f.environment()), 0o600); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.values)) {
		fmt.Fprintf(&values, "%s=%s\n", name, p.values[name])
	}
	return os.WriteFile(filepath.Join(folder, "values"), []byte(values.String()), 0o600)
}

// environment returns the variables of a function's container, as service.yaml holds them.
func (f function) environment() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(f.settings)) {
		fmt.Fprintf(&b, "        - {name: %s, value: %q}\n", name, f.settings[name])
	}
	for _, name := range slices.Sorted(maps.Keys(f.secrets)) {
		secret := f.secrets[name]
		fmt.Fprintf(&b, "        - {name: %s, valueFrom: {secretKeyRef: {name: %s, key: %q}}}\n",
			name, secret, fmt.Sprintf(versionPlaceholder, secret))
	}
	return b.String()
}
