// Command googlefake runs the fake of Google's APIs by itself and prints the environment in which gcloud speaks to it:
//
//	go run ./deploy/contract/googlefake/cmd/googlefake -port 9400 -log calls.log > env.sh &
//	. ./env.sh
//	gcloud services list --enabled
package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/casewatch/casewatch/deploy/contract/googlefake"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() (err error) {
	var opts googlefake.Options
	port := flag.Int("port", 9400, "port to listen on, on loopback")
	log := flag.String("log", "", "file to which each call is appended")
	flag.StringVar(&opts.Project, "project", "", "the project's id (demo-p)")
	flag.StringVar(&opts.Number, "number", "", "the project's number (123456789012)")
	flag.StringVar(&opts.Region, "region", "", "the region of calls that name none (us-central1)")
	flag.BoolVar(&opts.AllServices, "all-services", false, "answer as if every API were enabled")
	urls := map[string]string{}
	flag.Func("url", "SERVICE=URL: what a Cloud Run service reports as its URL; may be repeated", func(s string) error {
		service, url, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("%q is not SERVICE=URL", s)
		}
		urls[service] = url
		return nil
	})
	flag.Parse()

	opts.Addr = "127.0.0.1:" + strconv.Itoa(*port)
	if *log != "" {
		file, openErr := os.OpenFile(*log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if openErr != nil {
			return openErr
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		opts.Log = file
	}
	dir, err := os.MkdirTemp("", "googlefake-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fake, err := googlefake.New(opts, dir)
	if err != nil {
		return err
	}
	for service, url := range urls {
		fake.SetURL(service, url)
	}
	settings := fake.Settings()
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Printf("export %s='%s'\n", name, settings[name])
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	<-stop
	return fake.Close()
}
