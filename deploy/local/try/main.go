// Command try runs one job of a described pipeline by hand: `make try`. It prints each request, each
// answer, and what was read from it. Secrets are removed. It makes the requests that the functions
// would make, with the same client.
//
// PIPELINES_FILE, PIPELINES or PIPELINE_API_URL describe the pipelines; without any, it tries the
// sample pipeline. PIPELINE is the name of one of them (the first), FORM the path of a form (a small
// one), CALLBACK_URL the address that {callback_url} stands for (none), DEADLINE how long the job
// may take (10m), CANCEL=1 cancels the job after its first poll.
//
// It exits with 1 if the description does not fit: if a request is not accepted, if an answer cannot
// be read, if a status is in no list, or if success comes without the result that is described.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/api/idtoken"

	"github.com/casewatch/casewatch/deploy/local/samplepipeline"
	"github.com/casewatch/casewatch/shared/pipeline"
	"github.com/casewatch/casewatch/shared/pipeline/description"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, os.LookupEnv)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "try:", err)
		os.Exit(1)
	}
}

const (
	sampleFile = "deploy/local/pipelines.yaml"
	sampleBase = "http://127.0.0.1:8080" // where that file expects the sample pipeline
	sampleForm = `{"Filing city": "Los Angeles", "document_types": ["srogs", "pods", "admissions"]}`
)

// documentTime is how long the sample pipeline takes for a document, and pollEvery how often it is polled unless its
// description says so.
var documentTime, pollEvery = time.Second, time.Second

// run tries one job. The error says why the description does not fit.
func run(ctx context.Context, out io.Writer, lookup func(string) (string, bool)) error {
	text, err := descriptions(lookup)
	if err != nil {
		return err
	}
	if text == "" {
		base, closeSample, err := startSample()
		if err != nil {
			return err
		}
		defer closeSample()
		sample, err := os.ReadFile(sampleFile)
		if err != nil {
			return err
		}
		fmt.Fprintf(
			out,
			"no pipeline is named (PIPELINES_FILE): this tries the sample pipeline, as %s describes it\n",
			sampleFile,
		)
		text = strings.ReplaceAll(string(sample), sampleBase, base)
	}
	set, err := description.Parse([]byte(text), description.Options{Secret: lookup})
	if err != nil {
		return fmt.Errorf("the description is not right:\n%w", err)
	}
	set.Fill(description.Defaults{
		Timeout: 29*time.Minute + 30*time.Second, Deadline: 10 * time.Minute,
		PollMin: pollEvery, PollMax: 30 * time.Second,
	})
	chosen := set.Default()
	if name, ok := lookup("PIPELINE"); ok && name != "" {
		if chosen, ok = set.Get(name); !ok {
			return fmt.Errorf("no pipeline is named %q; there are %s", name, strings.Join(set.Names(), ", "))
		}
	}
	deadline := chosen.Deadline
	if text, ok := lookup("DEADLINE"); ok && text != "" {
		if deadline, err = time.ParseDuration(text); err != nil || deadline <= 0 {
			return fmt.Errorf("DEADLINE is %q; expected a duration, such as 10m", text)
		}
	}
	form, err := formOf(lookup)
	if err != nil {
		return err
	}
	t := &trial{out: out, pipeline: chosen, seen: map[string]pipeline.Found{}}
	config := pipeline.Config{Pipeline: chosen, CheckTimeout: 10 * time.Second, Observe: t.observe}
	if chosen.Auth.GoogleIDToken {
		config.TokenSource = idTokens(chosen.URL)
	}
	if t.client, err = pipeline.New(config); err != nil {
		return err
	}
	defer t.client.Close()
	callback, _ := lookup("CALLBACK_URL")
	cancel, _ := lookup("CANCEL")
	ctx, end := context.WithTimeout(ctx, deadline)
	defer end()
	return t.run(ctx, pipeline.Job{
		CaseID: "try-" + strconv.FormatInt(time.Now().Unix(), 36), Run: 1, Form: form, CallbackURL: callback,
	}, cancel != "")
}

// descriptions returns the text that describes the pipelines; "" if none is named.
func descriptions(lookup func(string) (string, bool)) (string, error) {
	file, byFile := lookup("PIPELINES_FILE")
	text, byText := lookup("PIPELINES")
	url, byURL := lookup("PIPELINE_API_URL")
	switch {
	case file != "" && text != "", file != "" && url != "", text != "" && url != "":
		return "", errors.New("two of PIPELINES_FILE, PIPELINES and PIPELINE_API_URL are set; expected one")
	case byFile && file != "":
		data, err := os.ReadFile(file)
		return string(data), err
	case byText && text != "":
		return text, nil
	case byURL && url != "":
		return fmt.Sprintf("default: {preset: documents, url: %q}\n", url), nil
	}
	return "", nil
}

func formOf(lookup func(string) (string, bool)) ([]byte, error) {
	if file, ok := lookup("FORM"); ok && file != "" {
		return os.ReadFile(file)
	}
	return []byte(sampleForm), nil
}

// startSample starts the sample pipeline on this machine.
func startSample() (base string, closeSample func(), err error) {
	dir, err := os.MkdirTemp("", "casewatch-try")
	if err != nil {
		return "", nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	base = "http://" + l.Addr().String()
	sample := samplepipeline.New(samplepipeline.Options{
		BaseURL:      func() string { return base + "/pipeline" },
		Dir:          filepath.Join(dir, "documents"),
		DocumentTime: documentTime,
		Logger:       slog.New(slog.DiscardHandler),
	})
	mux := http.NewServeMux()
	mux.Handle("/pipeline/", http.StripPrefix("/pipeline", sample.Handler()))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l) // until it is closed
	}()
	return base, func() {
		sample.Close()
		_ = server.Close()
		<-served
		_ = os.RemoveAll(dir) // a temporary directory
	}, nil
}

// idTokens returns a source of Google ID tokens for a pipeline.
func idTokens(url string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		audience, err := pipeline.Audience(url)
		if err != nil {
			return "", err
		}
		source, err := idtoken.NewTokenSource(ctx, audience)
		if err != nil {
			return "", err
		}
		token, err := source.Token()
		if err != nil {
			return "", err
		}
		return token.AccessToken, nil
	}
}
