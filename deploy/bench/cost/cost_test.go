package cost

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// opencensus is a dependency of Google's clients; its worker is begun by an init function.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// length is that of the case: five minutes, and a little so that nothing happens at the same moment.
const length = 300*time.Second + 137*time.Millisecond

// TestPrices: each price of the table is one, with its source and its day.
func TestPrices(t *testing.T) {
	prices, err := Prices()
	if err != nil {
		t.Fatal(err)
	}
	if len(prices) == 0 {
		t.Error("there are no prices")
	}
	for name, p := range prices {
		if p.USD <= 0 || !strings.HasPrefix(p.Source, "https://") || p.Verified == "" {
			t.Errorf("%s: %+v", name, p)
		}
		if _, err := time.Parse(time.DateOnly, p.AsOf); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func total(by map[string]int) (n int) {
	for _, count := range by {
		n += count
	}
	return n
}

var show = flag.Bool("print", false, "print the tables, as make cost does")

// TestCost prints the bill. It fails where what is said of it would not hold: a held request
// dominates, and an event makes nothing much dearer than polling alone.
func TestCost(t *testing.T) {
	prices, err := Prices()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	bills := map[string]float64{}
	fmt.Fprintf(&out, "A million five-minute cases, in $ at list prices of us-central1 as of %s "+
		"(deploy/bench/cost/prices.csv says which figures were read at their source).\n\n", prices["read"].AsOf)
	fmt.Fprint(&out, "| end by | viewers | invocations | task operations | reads, writes, deletes | held s: dispatch, "+
		"streams | log KB | sent KB | Firestore | PostgreSQL, and its instance | most of it |\n",
		strings.Repeat("| --- ", 11), "|\n")
	looks := 0
	for _, end := range []string{ByAnswer, ByEvent, ByPolling} {
		for _, v := range []struct {
			name string
			Setting
		}{
			{"none", Setting{}}, {"1 minute, stream", Setting{Viewers: 1, Watch: time.Minute, Streams: true}},
			{"1 minute, asking", Setting{Viewers: 1, Watch: time.Minute}},
			{"10 minutes, streams", Setting{Viewers: 2, Watch: length + time.Minute, Streams: true}},
			{"10 minutes, asking", Setting{Viewers: 2, Watch: length + time.Minute}},
		} {
			v.End, v.Length = end, length
			n, _ := Play(t, v.Setting)
			lines := Bill(n, prices)
			most := Dominant(lines)
			all := Total(lines)
			bills[end+", "+v.name] = all
			if end == ByPolling && v.Viewers == 0 {
				looks = n.Invocations["check"]
			}
			fmt.Fprintf(&out, "| %s | %s | %d | %d | %d, %d, %d | %.0f, %.0f | %.1f | %.1f | **%.0f** | "+
				"%.0f + %.0f a month | %s %.0f |\n", end, v.name, total(n.Invocations),
				n.Created+n.Found+n.Delivered+n.Deleted, n.Reads, n.Writes, n.Deletes,
				n.Held["dispatch"].Seconds(), n.Held["status"].Seconds(),
				float64(n.LogBytes+total(n.Invocations)*requestLogBytes)/1e3, float64(n.Sent)/1e3,
				all, all-lines[1].USD, Instance(prices), most.What, most.USD)
		}
	}
	fmt.Fprintf(&out, "\nBeside it, for a million such cases:\n\n| | $ | |\n| --- | --- | --- |\n")
	fmt.Fprintf(&out, "| a Node server, always on, and its PostgreSQL | %.0f + %.0f a month | whatever the number of "+
		"cases, as far as one instance goes; it loses what it held when it stops |\n", Server(prices), Instance(prices))
	fmt.Fprintf(&out, "| a worker of a job queue, always on, and its PostgreSQL | %.0f + %.0f a month | the same |\n",
		Server(prices), Instance(prices))
	fmt.Fprintf(&out, "| Cloud Workflows, %d looks with sleep between | %.0f, or %.0f if the pipeline is outside | as "+
		"many as Casewatch takes by polling alone |\n",
		looks, Workflow(prices, looks, false), Workflow(prices, looks, true))
	fmt.Fprintf(&out, "| Cloud Workflows, a look every 2 s | %.0f, or %.0f | |\n",
		Workflow(prices, int(length/(2*time.Second)), false), Workflow(prices, int(length/(2*time.Second)), true))
	fmt.Fprintf(&out, "| a Cloud Run job for each case | %.0f | 1 vCPU and 512 MiB for five minutes |\n",
		Job(prices, length))
	second := prices["vcpu_second"].USD + prices["gib_second"].USD
	fmt.Fprintf(&out, "\nA request held for five minutes, a million times: $%.0f with %d at once on an instance, "+
		"$%.0f with %d, $%.0f alone.\n", 1e6*length.Seconds()*second/streamSharing, streamSharing,
		1e6*length.Seconds()*second/sharing, sharing, 1e6*length.Seconds()*second)
	if *show {
		fmt.Print(out.String())
	} else {
		t.Log("\n" + out.String())
	}
	if bills[ByAnswer+", none"] <= bills[ByEvent+", none"] {
		t.Errorf("a held request costs no more than an event: %v", bills)
	}
	if bills[ByEvent+", none"] > 1.05*bills[ByPolling+", none"] {
		t.Errorf("an event makes a case dearer: %v", bills)
	}
}
