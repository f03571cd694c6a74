package main_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/casewatch/casewatch/deploy/drill/target"
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
