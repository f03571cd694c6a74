package status_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/casewatch/casewatch/functions/internal/functiontest"
)

// audience are the viewers of the benchmark, in their own process.
type audience struct {
	mu   sync.Mutex
	news *sync.Cond
	seen map[string][]receipt
}

// runViewers is the main function of the viewers' process. It opens streams, records when events
// arrive, and reports that.
func runViewers(addr string) {
	a := &audience{seen: map[string][]receipt{}}
	a.news = sync.NewCond(&a.mu)
	var conns []net.Conn
	var reading sync.WaitGroup
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		words := strings.Fields(lines.Text())
		switch words[0] {
		case "open":
			for i := range benchStreams {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					fmt.Println(err)
					return
				}
				conns = append(conns, conn)
				caseID := fmt.Sprint("case-", i%benchCases)
				reading.Go(func() { a.read(conn, caseID, fmt.Sprint(caseID, "/", i)) })
			}
			a.waitFor(func() bool { return len(a.seen) == benchStreams })
			fmt.Println("opened")
		case "until":
			var version int64
			_, _ = fmt.Sscan(words[2], &version)
			a.waitFor(func() bool { return a.reached(words[1], version) })
			fmt.Println("seen")
		case "close":
			for _, conn := range conns {
				_ = conn.Close()
			}
			reading.Wait()
			out := bufio.NewWriter(os.Stdout)
			for viewer, receipts := range a.seen {
				for _, r := range receipts {
					fmt.Fprintln(out, viewer, r.version, r.at)
				}
			}
			fmt.Fprintln(out, "closed")
			_ = out.Flush()
		}
	}
}

// waitFor waits until holds returns true. It calls holds with the lock, after every event.
func (a *audience) waitFor(holds func() bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !holds() {
		a.news.Wait()
	}
}

// reached reports whether all viewers of a case have read a version.
func (a *audience) reached(caseID string, version int64) bool {
	n := 0
	for viewer, receipts := range a.seen {
		if id, _, _ := strings.Cut(viewer, "/"); id == caseID && receipts[len(receipts)-1].version >= version {
			n++
		}
	}
	return n == benchViewers
}

func (a *audience) read(conn net.Conn, caseID, viewer string) {
	fmt.Fprintf(conn, "GET /%s HTTP/1.1\r\nHost: status\r\nX-API-Key: %s\r\n%s\r\n\r\n",
		caseID, functiontest.Key, asStream)
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		id, ok := strings.CutPrefix(lines.Text(), "id: ")
		if !ok {
			continue
		}
		r := receipt{at: time.Now().UnixNano()}
		_, _ = fmt.Sscanf(id, "1.%d", &r.version)
		a.mu.Lock()
		a.seen[viewer] = append(a.seen[viewer], r)
		a.news.Broadcast()
		a.mu.Unlock()
	}
}
