// Command drill disturbs a running Casewatch, and reports which of its promises it keeps:
// `make drill`.
//
//	drill [--json] [--only fault,fault] [--yes-purge] [--target FILE]
//
// It makes canary cases through the public door, loses, repeats, delays and contradicts events,
// deletes tasks as a kill between two steps leaves them, purges the queues, freezes the pipeline,
// delivers tasks of the past, repeats starts and cancels. It judges only by what anybody sees from
// outside: the status and stream of each case, the console, and the sample pipeline's own record.
// What it began it cancels at the end.
//
// Without --target it drills the `make run` of this folder (DATA_DIR, .local). deploy/gcp/drill.sh
// makes a target of a deployed system. API_KEY is for the public functions where they ask for one.
//
// It exits with 0 if every promise was kept, 1 if one was broken, and 2 if the drill or one of its
// faults could not be done, or did not happen.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/casewatch/casewatch/deploy/test/drill/target"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := command(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// command is the program; what is going on is told on errs, the report on out.
func command(ctx context.Context, args []string, env func(string) (string, bool), out, errs io.Writer) int {
	flags := flag.NewFlagSet("drill", flag.ContinueOnError)
	flags.SetOutput(errs)
	asJSON := flags.Bool("json", false, "write the report as JSON")
	only := flags.String("only", "", "only these faults, comma-separated, of: "+strings.Join(names(), " "))
	yesPurge := flags.Bool("yes-purge", false,
		"on a deployed system: purge its queues, with the tasks of every case, and stop them for a moment")
	file := flags.String("target", "", "the file that says where the system is; the one of `make run` unless given")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintln(errs, "drill: too many arguments")
		return 2
	}
	o := settings{yesPurge: *yesPurge}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	t, err := find(ctx, *file, env)
	if err != nil {
		fmt.Fprintln(errs, "drill:", err)
		return 2
	}
	rep, err := Run(ctx, t, o, errs)
	if err != nil {
		fmt.Fprintln(errs, "drill:", err)
		return 2
	}
	if *asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(rep)
	} else {
		err = rep.print(out)
	}
	switch {
	case err != nil:
		fmt.Fprintln(errs, "drill:", err)
		return 2
	case rep.Broken > 0:
		return 1
	case rep.NotDrilled > 0 || rep.cases() == 0 || rep.Left != "":
		return 2
	}
	return 0
}

// find returns the target, once something answers there.
func find(ctx context.Context, file string, env func(string) (string, bool)) (*target.Target, error) {
	local := file == ""
	if local {
		dir, ok := env("DATA_DIR")
		if !ok || dir == "" {
			dir = ".local"
		}
		file = filepath.Join(dir, target.File)
	}
	t, err := target.Read(file)
	if local && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("nothing to drill: there is no %s, so no `make run` is ready in this folder "+
			"(DATA_DIR names another)", file)
	}
	if err != nil {
		return nil, err
	}
	if key, ok := env("API_KEY"); ok && t.APIKey == "" {
		t.APIKey = key
	}
	d := newDoor(t)
	defer d.http.CloseIdleConnections()
	if err := d.knock(ctx); err != nil {
		return nil, fmt.Errorf("nothing answers at %s, of which %s tells: %w", t.Start, file, err)
	}
	return t, nil
}
