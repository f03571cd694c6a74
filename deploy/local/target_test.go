package main_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/casewatch/casewatch/deploy/test/drill/target"
)

// A machine says where it is while it is ready, and no longer when it was told to stop.
func TestTargetIsThereWhileItRuns(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	var dir string
	for _, v := range p.env {
		if d, ok := strings.CutPrefix(v, "DATA_DIR="); ok {
			dir = d
		}
	}
	p.run()
	got, err := target.Read(filepath.Join(dir, target.File))
	if err != nil {
		t.Fatal(err)
	}
	if got.Start != p.base+"/start" || got.SamplePipeline != p.base+"/pipeline" || !got.Local() || len(got.Checks) != 1 {
		t.Errorf("%+v", got)
	}
	p.stop(syscall.SIGTERM)
	if _, err := target.Read(filepath.Join(dir, target.File)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is gone, and its target is not: %v", err)
	}
}

// The running program refuses a rebound name on every path. For a path that is not clean the framework's router answers
// first, with a redirect to the clean one: it tells nothing.
func TestReboundNameGetsNothing(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.run()
	for _, path := range []string{"/", "/form.js", "/start", "/console", "/pipeline/api/progress/x", "/publish", "/issuer/jwks", "/none", "//start", "/status", "/x/../start"} {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, p.base+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "rebound.example"
		res, err := p.http.Transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if redirect := res.StatusCode/100 == 3 && strings.HasPrefix(res.Header.Get("Location"), "/"); res.StatusCode != http.StatusMisdirectedRequest && !redirect {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}
