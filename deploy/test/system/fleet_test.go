package system_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/casewatch/casewatch/shared/config"
)

// process is one that the test started. It is killed when the test ends.
type process struct {
	cmd  *exec.Cmd
	out  *output
	gone chan struct{} // closed when it has ended
}

func startProcess(t *testing.T, program string, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(program, args...), out: &output{}, gone: make(chan struct{})}
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.gone)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(p.kill)
	return p
}

// kill ends the process as a machine's failure would, and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may be gone
	<-p.gone
}

// output is a buffer for concurrent use.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// built are the commands that were built, in a folder that TestMain removes.
var built = struct {
	sync.Mutex
	dir      string
	commands map[string]bool
}{commands: map[string]bool{}}

// build builds one of the commands of this package, once for all tests.
func build(t *testing.T, command string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	binary := filepath.Join(built.dir, command)
	if built.commands[command] {
		return binary
	}
	cmd := exec.Command("go", "build", "-o", binary, "./"+command)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", command, err, out)
	}
	built.commands[command] = true
	return binary
}

// instances is how many of each function there are.
const instances = 2

// fleet is every function, as processes behind one address each.
type fleet struct {
	t        *testing.T
	binary   string
	env      map[string]string            // of all functions
	own      map[string]map[string]string // of one, on top
	routers  map[string]*router
	mu       sync.Mutex
	departed []*output // of instances that were killed
}

// router is the address of a function: it hands requests to its instances in turn, as a load balancer does.
type router struct {
	url    string
	next   atomic.Int64
	mu     sync.Mutex
	behind []*instance
	served map[*instance]bool
	slots  chan struct{} // one for each request that may be under way; nil for any number
	carry  *http.Transport
}

// limit lets so many requests be under way; the others wait, as they do where an instance is full
// and there may be no more of them.
func (r *router) limit(n int) { r.slots = make(chan struct{}, n) }

type instance struct {
	*process
	url *url.URL
}

// newFleet opens the addresses; nothing is behind them before start.
func newFleet(t *testing.T, binary string) *fleet {
	f := &fleet{
		t: t, binary: binary, env: map[string]string{}, own: map[string]map[string]string{},
		routers: map[string]*router{},
	}
	for _, name := range config.Functions() {
		r := &router{served: map[*instance]bool{}, carry: &http.Transport{MaxIdleConnsPerHost: 256}}
		server := httptest.NewServer(r)
		t.Cleanup(func() {
			server.Close()
			r.carry.CloseIdleConnections()
		})
		r.url = server.URL
		f.routers[name] = r
	}
	return f
}

// pick is the instance whose turn it is; nil if there is none.
func (r *router) pick() *instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.behind) == 0 {
		return nil
	}
	to := r.behind[int(r.next.Add(1))%len(r.behind)]
	r.served[to] = true
	return to
}

// asked is how many instances were handed a request.
func (r *router) asked() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.served)
}

func (r *router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if r.slots != nil {
		select {
		case r.slots <- struct{}{}:
			defer func() { <-r.slots }()
		case <-req.Context().Done():
			return
		}
	}
	to := r.pick()
	if to == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	(&httputil.ReverseProxy{
		Transport: r.carry,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to.url)
			p.Out.Host = p.In.Host
		},
		ModifyResponse: func(res *http.Response) error {
			res.Header.Set("X-Instance", to.url.Host)
			return nil
		},
		ErrorLog:     log.New(io.Discard, "", 0), // instances are made to die in the middle of answers
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}).ServeHTTP(w, req)
}

// settings are the environment of a function: of what it was told, only what it uses.
func (f *fleet) settings(function string) []string {
	var env []string
	for _, s := range config.Settings() {
		value, ok := f.own[function][s.Name]
		if !ok {
			value, ok = f.env[s.Name]
		}
		if ok && s.UsedBy(function) {
			env = append(env, s.Name+"="+value)
		}
	}
	return env
}

// boot starts an instance, puts it behind its address and returns it.
func (f *fleet) boot(function string) *instance {
	f.t.Helper()
	for range 3 { // the port may be taken in the meantime
		port := freePort(f.t)
		env := append(f.settings(function), fmt.Sprintf("PORT=%d", port), "FUNCTION_TARGET="+function)
		i := &instance{
			process: startProcess(f.t, f.binary, env),
			url:     &url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)},
		}
		if i.answers(i.url.String()) {
			r := f.routers[function]
			r.mu.Lock()
			r.behind = append(r.behind, i)
			r.mu.Unlock()
			return i
		}
		f.t.Logf("%s did not start: %s", function, i.out)
	}
	f.giveUp("%s does not start", function)
	return nil
}

// start boots the instances of every function.
func (f *fleet) start() {
	f.t.Helper()
	var wg sync.WaitGroup
	for _, name := range config.Functions() {
		wg.Go(func() {
			for range instances {
				f.boot(name)
			}
		})
	}
	wg.Wait()
}

// giveUp fails the test and ends the goroutine, which need not be the test's own.
func (f *fleet) giveUp(format string, args ...any) {
	f.t.Helper()
	f.t.Errorf(format, args...)
	runtime.Goexit()
}

// lose kills the first instance of a function and boots another in its place.
func (f *fleet) lose(function string) {
	f.t.Helper()
	r := f.routers[function]
	r.mu.Lock()
	victim := r.behind[0]
	r.behind = r.behind[1:]
	r.mu.Unlock()
	victim.kill()
	f.mu.Lock()
	f.departed = append(f.departed, victim.out)
	f.mu.Unlock()
	f.boot(function)
}

// log is what all instances wrote.
func (f *fleet) log() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all bytes.Buffer
	for _, o := range f.departed {
		all.WriteString(o.String())
	}
	for _, r := range f.routers {
		for _, i := range r.behind {
			all.WriteString(i.out.String())
		}
	}
	return all.String()
}

// get asks an instance itself, past its router.
func (i *instance) get(ctx context.Context, pathAndQuery string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, i.url.String()+pathAndQuery, http.NoBody)
	if err != nil {
		return nil, err
	}
	return plain.Do(req)
}
