package googlefake

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Options describe the project that a fake stands for. The zero value is a bare project: nothing is enabled or made in it
// but what Google gives every new project.
type Options struct {
	// Project is the project's id. "": demo-p.
	Project string
	// Number is the project's number. "": 123456789012.
	Number string
	// Region is the region of calls that name none. "": us-central1.
	Region string
	// AllServices has every API that the fake knows enabled from the beginning, for tests that are not about enabling them.
	AllServices bool
	// Addr is the loopback address to listen on. "": 127.0.0.1 and a free port.
	Addr string
	// Log is where each call is written as it comes in, its canonical line and the status of its answer. Nil: nowhere.
	Log io.Writer
}

// Fake is a running fake. Its methods are safe for concurrent use.
type Fake struct {
	opts   Options
	server *http.Server
	listen net.Listener
	served sync.WaitGroup
	tb     testing.TB // nil outside of tests
	config string     // gcloud's own folder
	token  string     // the file of its access token
	warm   string     // the folder with a gcloud that is kept loaded; "" for none

	mu      sync.Mutex
	state   store
	ops     map[string]obj // operations, by api and name
	calls   []Call
	uploads []Upload
	faults  []*fault
	urls    map[string]string // of services, where they are not the usual
	agents  map[string]bool   // the accounts of Google's services that exist, by e-mail
	retired map[string]bool   // the names of queues that cannot be used again for a while
	secrets map[string]obj    // the payloads of secrets' versions, by name
	seconds int               // how often the clock was read
	serials map[string]int    // the last number that was given, by kind
}

// New starts a fake and keeps gcloud's folder in dir, which must exist. It fails if the address is taken or not on loopback.
func New(opts Options, dir string) (*Fake, error) {
	if opts.Project == "" {
		opts.Project = "demo-p"
	}
	if opts.Number == "" {
		opts.Number = "123456789012"
	}
	if opts.Region == "" {
		opts.Region = "us-central1"
	}
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(opts.Addr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("googlefake: %q is not an address on loopback", opts.Addr)
	}
	f := &Fake{
		opts: opts, state: store{}, ops: map[string]obj{}, urls: map[string]string{}, agents: map[string]bool{}, retired: map[string]bool{},
		secrets: map[string]obj{}, serials: map[string]int{},
		config: filepath.Join(dir, "gcloud"), token: filepath.Join(dir, "token"),
	}
	if err := os.MkdirAll(f.config, 0o700); err != nil {
		return nil, fmt.Errorf("googlefake: %w", err)
	}
	if err := os.WriteFile(f.token, []byte("a-token-of-the-fake\n"), 0o600); err != nil {
		return nil, fmt.Errorf("googlefake: %w", err)
	}
	f.foundProject()
	f.listen, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("googlefake: %w", err)
	}
	f.server = &http.Server{Handler: http.HandlerFunc(f.serve), ReadHeaderTimeout: 10 * time.Second}
	f.served.Go(func() { _ = f.server.Serve(f.listen) }) // it returns when Close closes the listener
	return f, nil
}

// Start starts a fake for a test, in a folder of its own, and closes it when the test has ended.
func Start(t testing.TB, opts Options) *Fake {
	t.Helper()
	f, err := New(opts, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f.tb = t
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// Close ends the fake and whatever is connected to it.
func (f *Fake) Close() error {
	err := f.server.Close()
	f.served.Wait()
	return err
}

// URL is where the fake listens, without a slash at its end.
func (f *Fake) URL() string { return "http://" + f.listen.Addr().String() }

// Project is the id of the project that the fake stands for.
func (f *Fake) Project() string { return f.opts.Project }

// fatalf ends the test, or the program outside of tests: what is asked of the fake cannot be done.
func (f *Fake) fatalf(format string, args ...any) {
	if f.tb == nil {
		panic(fmt.Sprintf("googlefake: "+format, args...))
	}
	f.tb.Helper()
	f.tb.Fatalf("googlefake: "+format, args...)
}

// now is the fake's clock: it begins on the same day in every fake, and a second passes each time it is read.
func (f *Fake) now() string {
	f.seconds++
	return time.Date(2026, time.January, 2, 3, 0, f.seconds, 0, time.UTC).Format("2006-01-02T15:04:05.000000Z")
}

// next numbers things of a kind from 1.
func (f *Fake) next(kind string) int {
	f.serials[kind]++
	return f.serials[kind]
}

// uuid is a number in the form of a UUID.
func uuid(number int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", number) }
