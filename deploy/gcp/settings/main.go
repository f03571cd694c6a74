// Command settings is the part of the deployment that shell is bad at. It calls nothing.
//
//	settings read [-organization] [-example] FILE FOLDER   checks an env file; writes FOLDER/values and FOLDER/FUNCTION.env
//	settings same NAME WANTED LIVE                         prints each difference between two JSON or YAML files
//
// "values" has a line NAME=VALUE for each value that the scripts use. FUNCTION.env is the environment of a function, as
// service.yaml takes it. Each function's settings are checked by config.Load, as the function does when it starts.
// It exits with 1 if the file is bad or a difference was found, with 2 if it is called wrongly.
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
	case errors.Is(err, errDiffers):
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type usageError string

func (e usageError) Error() string { return string(e) }

var errDiffers = errors.New("a difference was found")

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("settings", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	organization := flags.Bool("organization", false, "the project belongs to an organization")
	example := flags.Bool("example", false, "accept the placeholders of an example")
	folder := flags.String("gcp", "deploy/gcp", "the folder with functions.txt")
	if len(args) == 0 {
		return usageError("expected read or same")
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
	case args[0] == "same" && flags.NArg() == 3:
		return same(out, flags.Arg(0), flags.Arg(1), flags.Arg(2))
	}
	return usageError("cannot " + strings.Join(args, " "))
}

// write writes what the scripts read.
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

// environment is the list of a container's variables, as service.yaml takes it.
func (f function) environment() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(f.settings)) {
		fmt.Fprintf(&b, "        - {name: %s, value: %q}\n", name, f.settings[name])
	}
	for _, name := range slices.Sorted(maps.Keys(f.secrets)) {
		secret := f.secrets[name]
		fmt.Fprintf(&b, "        - {name: %s, valueFrom: {secretKeyRef: {name: %s, key: %q}}}\n", name, secret, fmt.Sprintf(versionPlaceholder, secret))
	}
	return b.String()
}
