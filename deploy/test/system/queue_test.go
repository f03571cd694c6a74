package system_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/identity/identitytest"
)

// taskQueue is the local Cloud Tasks server as a process. What it was given survives it.
type taskQueue struct {
	t      *testing.T
	binary string
	env    []string
	addr   string
	*process
}

// startQueue starts it, with these queues, for the length of the test.
func startQueue(t *testing.T, issuer *identitytest.Issuer, queues ...string) *taskQueue {
	t.Helper()
	signer := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, issuer.Sign(r.FormValue("account"), r.FormValue("audience")))
	})
	q := &taskQueue{t: t, binary: build(t, "queue"),
		env: []string{"DIR=" + t.TempDir(), "QUEUES=" + strings.Join(queues, " "), "SIGNER=" + signer}}
	q.boot()
	return q
}

// boot starts the process, on the folder of the one before.
func (q *taskQueue) boot() {
	q.t.Helper()
	for range 3 { // the port may be taken in the meantime
		q.addr = fmt.Sprintf("127.0.0.1:%d", freePort(q.t))
		q.process = startProcess(q.t, q.binary, append([]string{"ADDR=" + q.addr}, q.env...))
		if q.listens(q.addr) {
			return
		}
		q.t.Logf("the queue server did not start: %s", q.out)
	}
	q.t.Error("the queue server does not start")
}

// listens waits until something listens there; it reports false if the process ended first, or nothing did in time.
func (p *process) listens(addr string) bool {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			_ = conn.Close()
			return true
		}
		select {
		case <-p.gone:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}
