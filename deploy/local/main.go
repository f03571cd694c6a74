// Command local runs Casewatch on one machine: `make run`.
//
// It listens on 127.0.0.1:PORT (8080) and keeps its state in DATA_DIR (.local), where it survives a
// kill. Other settings are those of the functions, with local values for what is not set.
//
// Standard output has the log, and some lines of text, the first of which begins with "ready", once
// everything answers. On a terminal the log is one short line an event, with colours unless
// NO_COLOR is set (https://no-color.org); anywhere else it is JSON, an object a line.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"github.com/GoogleCloudPlatform/functions-framework-go/functions"

	"github.com/casewatch/casewatch/deploy/local/machine"
	"github.com/casewatch/casewatch/deploy/local/termlog"
	"github.com/casewatch/casewatch/deploy/test/drill/target"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/ctxtime"
)

// closeTimeout is how long what is running has when the process is told to stop.
const closeTimeout = 3 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "casewatch:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	port, dir, err := place()
	base := "http://127.0.0.1:" + port
	out := os.Stdout
	options := machine.Options{Lookup: os.LookupEnv, BaseURL: base, DataDir: dir, Log: out}
	if isTerminal(out) {
		options.Handler = termlog.New(out, os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb")
	}
	if err != nil {
		options.BaseURL = "http://127.0.0.1:8080" // any: the port may be what is wrong
		return errors.Join(err, machine.Check(options))
	}
	m, err := machine.Open(ctx, options)
	if err != nil {
		return err
	}
	for path, h := range m.Handlers {
		if name := strings.TrimPrefix(path, "/"); name != "" {
			functions.HTTP(name, h.ServeHTTP)
		} else if err := funcframework.RegisterHTTPFunctionContext(ctx, path, h.ServeHTTP); err != nil {
			return errors.Join(err, m.Close(ctx))
		}
	}
	// The framework prints the name of each function to standard output, where only the log belongs.
	if os.Stdout, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
		return errors.Join(err, m.Close(ctx))
	}
	served := make(chan error, 1)
	go func() { served <- funcframework.StartHostPort("127.0.0.1", port) }()
	go announce(ctx, out, base, dir, m)
	select {
	case err = <-served:
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if removeErr := target.Remove(dir); removeErr != nil {
		err = errors.Join(err, removeErr)
	}
	if closeErr := m.Close(closing); closeErr != nil && !errors.Is(closeErr, context.DeadlineExceeded) {
		err = errors.Join(err, closeErr)
	}
	return err
}

// place reads where to listen and where to keep state, and names every fault.
func place() (port, dir string, err error) {
	var faults []error
	port, dir = "8080", ".local"
	if value, ok := os.LookupEnv("PORT"); ok {
		port = value
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		faults = append(faults, fmt.Errorf("PORT is %q, not a port from 1 to 65535", port))
	} else if l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:"+port); err != nil {
		faults = append(faults, fmt.Errorf("PORT %s cannot be listened on: %w", port, err))
	} else if err := l.Close(); err != nil {
		faults = append(faults, err)
	}
	if value, ok := os.LookupEnv("DATA_DIR"); ok {
		dir = value
	}
	if dir == "" {
		faults = append(faults, errors.New("DATA_DIR is empty"))
	} else if dir, err = filepath.Abs(dir); err != nil {
		faults = append(faults, fmt.Errorf("DATA_DIR: %w", err))
	}
	if os.Getenv("FUNCTION_TARGET") != "" {
		faults = append(faults,
			errors.New("FUNCTION_TARGET is set: that is for a deployed function, here all are served"))
	}
	return port, dir, errors.Join(faults...)
}

// isTerminal reports whether a person is likely to read f.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// announce says that the machine is ready, once everything answers, and where: to people on out, to
// programs in DATA_DIR.
func announce(ctx context.Context, out io.Writer, base, dir string, m *machine.Machine) {
	client := &http.Client{Timeout: 5 * time.Second}
	for path := range m.Handlers {
		for !answers(ctx, client, base+path) {
			if ctxtime.Sleep(ctx, 20*time.Millisecond) != nil {
				return
			}
		}
	}
	client.CloseIdleConnections()
	target := m.Target()
	if err := target.Write(dir); err != nil {
		fmt.Fprintln(os.Stderr, "casewatch: a drill will not find this machine:", err)
	}
	fmt.Fprint(out, greeting(base, m.Config, target))
}

// greeting says where everything is, and how other programs get in. Its first line begins with "ready".
func greeting(base string, cfg *config.Config, t *target.Target) string {
	pipeline := fmt.Sprintf("your own, %s (PIPELINE_API_URL)", cfg.Pipeline.URL)
	if cfg.Pipeline.URL == "" {
		pipeline = strings.Join(cfg.Pipelines.Names(), ", ") + ", as they are described (PIPELINES_FILE)"
	}
	if t.SamplePipeline != "" {
		pipeline = fmt.Sprintf("the sample one, %s. Yours instead: PIPELINE_API_URL=http://localhost:8000 make run",
			t.SamplePipeline)
	}
	pages := "on other origins are refused. Your dev server's get in by ALLOWED_ORIGINS=http://localhost:5173 make run"
	if origins := cfg.Access.AllowedOrigins; len(origins) > 0 {
		pages = fmt.Sprintf("on these origins may call the functions: %s (ALLOWED_ORIGINS)",
			strings.Join(origins, ", "))
	}
	return fmt.Sprintf(`ready  form %[1]s/  console %[1]s/console
  calls     POST %[1]s/start  GET %[1]s/status/{case_id}  POST %[1]s/cancel/{case_id}
  pipeline  %[2]s
  events    POST them to %[1]s/publish, or publish them with a Google client:
            GOOGLE_CLOUD_PROJECT=%[4]s PUBSUB_EMULATOR_HOST=%[5]s, topic %[3]s
  tasks     Cloud Tasks of the same project is at CLOUD_TASKS_EMULATOR_HOST=%[6]s
  pages     %[7]s
`, base, pipeline, t.EventsTopic, t.Project, t.PubSubEmulator, t.TasksEmulator, pages)
}

// answers reports whether something answers a GET there, other than that it cannot work yet.
func answers(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode != http.StatusServiceUnavailable
}
