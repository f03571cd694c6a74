// Command coldstart measures how long each function takes from the start of its process to its
// first answer, beside a hello-world on the same framework, and says how large the programs are:
// `make coldstart`.
//
// All are built as deploy.sh has the buildpack build them, the functions for Firestore. The first
// request makes a function open its clients (none of which waits for a server), so that their
// making is in the figure. The programs take turns, one start each, so that a busy machine is busy
// for all of them. At the end it says which packages take longest to start, by GODEBUG=inittrace=1.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/config"
)

func main() {
	starts := flag.Int("starts", 20, "how often each function is started")
	flag.Parse()
	if err := run(context.Background(), *starts); err != nil {
		fmt.Fprintln(os.Stderr, "coldstart:", err)
		os.Exit(1)
	}
}

// subject is what is started.
type subject struct {
	name, binary string
	env          []string
	took         []time.Duration
}

func run(ctx context.Context, starts int) error {
	if starts < 1 {
		return errors.New("-starts is below 1")
	}
	dir, err := os.MkdirTemp("", "coldstart")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := build(ctx, dir); err != nil {
		return err
	}
	subjects := []*subject{{name: "hello", binary: filepath.Join(dir, "hello")}}
	for _, name := range config.Functions() {
		subjects = append(subjects, &subject{name: name, binary: filepath.Join(dir, "firestore"), env: settings(name)})
	}
	for range starts {
		for _, s := range subjects {
			took, err := s.start(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			s.took = append(s.took, took)
		}
	}
	floor := median(subjects[0].took)
	fmt.Printf("\n| function | start to first answer, median of %d | fastest | slowest | of hello-world |\n"+
		"| --- | --- | --- | --- | --- |\n", starts)
	for _, s := range subjects {
		fmt.Printf("| %s | %v | %v | %v | %.2f |\n", s.name, ms(median(s.took)), ms(slices.Min(s.took)),
			ms(slices.Max(s.took)), float64(median(s.took))/float64(floor))
	}
	return profile(ctx, dir)
}

// settings are the examples of a function, with servers that are not asked on the way to the first answer.
func settings(function string) []string {
	const nowhere = "127.0.0.1:9"
	instead := map[string]string{
		"CLOUD_TASKS_EMULATOR_HOST": nowhere, "PUBSUB_EMULATOR_HOST": nowhere, "FIRESTORE_EMULATOR_HOST": nowhere,
		"PIPELINE_AUTH": "none",
	}
	env := []string{"FUNCTION_TARGET=" + function}
	for _, s := range config.Settings() {
		value, ok := instead[s.Name]
		if !ok {
			value = s.Example
		}
		if s.UsedBy(function) && value != "" {
			env = append(env, s.Name+"="+value)
		}
	}
	return env
}

// start starts the program and stops it after its first answer.
func (s *subject) start(ctx context.Context) (time.Duration, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return 0, err
	}
	_, port, _ := strings.Cut(address, ":")
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, s.binary)
	cmd.Env = append([]string{"PORT=" + port}, s.env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	status, err := first(ctx, "http://"+address+"/")
	took := time.Since(began)
	_ = cmd.Process.Kill() // it may have ended
	_ = cmd.Wait()         // by that kill
	if err == nil && status >= 500 {
		err = fmt.Errorf("answered %d", status)
	}
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, &out)
	}
	return took, nil
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}

// first asks until there is an answer. No function takes the method, so none asks anybody.
func first(ctx context.Context, url string) (int, error) {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		req, err := http.NewRequestWithContext(ctx, http.MethodTrace, url, http.NoBody)
		if err != nil {
			return 0, err
		}
		res, err := client.Do(req)
		if err == nil {
			return res.StatusCode, res.Body.Close()
		}
		if time.Now().After(end) {
			return 0, err
		}
	}
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return (d[(len(d)-1)/2] + d[len(d)/2]) / 2
}

func ms(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
