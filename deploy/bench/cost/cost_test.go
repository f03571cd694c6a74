package cost

import (
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// opencensus is a dependency of Google's clients; its worker is begun by an init function.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// length is that of the case: five minutes, and a little so that nothing happens at the same moment.
const length = 300*time.Second + 137*time.Millisecond

// TestOperationsAreWhatWasCounted: what [reconcile.OperationsOf] reads from a record is what the case took, for each way to end.
func TestOperationsAreWhatWasCounted(t *testing.T) {
	for _, end := range []string{ByAnswer, ByEvent, ByPolling} {
		for _, long := range []time.Duration{20*time.Second + 137*time.Millisecond, length, 29*time.Minute + 137*time.Millisecond} {
			n, c := Play(t, Setting{End: end, Length: long})
			if c.State != cases.Succeeded || !c.Bookkeeping.Finalized {
				t.Fatalf("%s after %v: %s, settled %v", end, long, c.State, c.Bookkeeping.Finalized)
			}
			o := reconcile.OperationsOf(c)
			const purgeReads, purgeWrites, purgeDeletes = 3, 1, 5 // with the record that the sweep finds
			got := []int{o.Start, o.Dispatch, o.Check, o.Complete, o.Invocations(), o.TasksCreated, o.TasksDeleted, o.TaskOperations(), o.Reads, o.Writes, o.Deletes, o.Published + 2*o.Received, o.LogLines, int(o.Held / time.Second)}
			want := []int{n.Invocations["start"], n.Invocations["dispatch"], n.Invocations["check"], n.Invocations["complete"], total(n.Invocations), n.Created, n.Deleted, n.Created + n.Found + n.Delivered + n.Deleted,
				n.Reads - purgeReads, n.Writes - purgeWrites, n.Deletes - purgeDeletes, n.Messages, n.LogLines, int(n.Held["dispatch"] / time.Second)}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s after %v: the record tells %v, counted were %v", end, long, got, want)
			}
		}
	}
}

// TestOperationsOfWatched: what watching makes a case take is told too, but for the reads and requests of those who watch.
func TestOperationsOfWatched(t *testing.T) {
	n, c := Play(t, Setting{End: ByEvent, Length: 29*time.Minute + 137*time.Millisecond, Viewers: 2, Watch: 70 * time.Second, Streams: true})
	alone, _ := Play(t, Setting{End: ByEvent, Length: 29*time.Minute + 137*time.Millisecond})
	o := reconcile.OperationsOf(c)
	const purgeWrites = 1
	got := []int{o.Start, o.Dispatch, o.Check, o.Complete, o.TasksCreated, o.TasksDeleted, o.TaskOperations(), o.Writes}
	want := []int{n.Invocations["start"], n.Invocations["dispatch"], n.Invocations["check"], n.Invocations["complete"], n.Created, n.Deleted, n.Created + n.Found + n.Delivered + n.Deleted, n.Writes - purgeWrites}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the record tells %v, counted were %v", got, want)
	}
	if more := n.Invocations["check"] - alone.Invocations["check"]; more < 15 || more > 45 {
		t.Errorf("%d looks more for a minute of watching", more)
	}
}

func total(by map[string]int) (n int) {
	for _, count := range by {
		n += count
	}
	return n
}

// TestConsolePrices: the console works with the prices of the table.
func TestConsolePrices(t *testing.T) {
	prices, err := Prices()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../../functions/console/cost.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for name, constant := range map[string]string{"task_operation": "taskOperationPrice", "request": "invocationPrice", "vcpu_second": "vcpuSecondPrice", "gib_second": "gibSecondPrice",
		"read": "readPrice", "write": "writePrice", "delete": "deletePrice", "log_gib": "logGiBPrice"} {
		found := regexp.MustCompile(constant + `\s+= ([0-9.e-]+)\n`).FindSubmatch(text)
		if found == nil {
			t.Errorf("the console has no %s", constant)
			continue
		}
		seen++
		if usd, err := strconv.ParseFloat(string(found[1]), 64); err != nil || math.Abs(usd-prices[name].USD) > 1e-12 {
			t.Errorf("%s is %s, the price of a %s is %g", constant, found[1], name, prices[name].USD)
		}
	}
	if seen == 0 || prices["pubsub_tib"].USD != 40 || !strings.Contains(string(text), "pubsubGiBPrice     = 40.0 / 1024") {
		t.Error("the prices are not compared")
	}
	for name, p := range prices {
		if p.USD <= 0 || !strings.HasPrefix(p.Source, "https://") || p.Verified == "" {
			t.Errorf("%s: %+v", name, p)
		}
		if _, err := time.Parse(time.DateOnly, p.AsOf); err != nil {
			t.Error(err)
		}
	}
}

var show = flag.Bool("print", false, "print the tables, as make cost does")

// TestCost prints the bill. It fails where what is said of it would not hold: a held request dominates, and an event makes nothing much dearer than
// polling alone.
func TestCost(t *testing.T) {
	prices, err := Prices()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	bills := map[string]float64{}
	fmt.Fprintf(&out, "A million five-minute cases, in $ at list prices of us-central1 as of %s (deploy/bench/cost/prices.csv says which figures were read at their source).\n\n", prices["read"].AsOf)
	fmt.Fprint(&out, "| end by | viewers | invocations | task operations | reads, writes, deletes | held s: dispatch, streams | log KB | sent KB | Firestore | PostgreSQL, and its instance | most of it |\n", strings.Repeat("| --- ", 11), "|\n")
	looks := 0
	for _, end := range []string{ByAnswer, ByEvent, ByPolling} {
		for _, v := range []struct {
			name string
			Setting
		}{
			{"none", Setting{}}, {"1 minute, stream", Setting{Viewers: 1, Watch: time.Minute, Streams: true}}, {"1 minute, asking", Setting{Viewers: 1, Watch: time.Minute}},
			{"10 minutes, streams", Setting{Viewers: 2, Watch: length + time.Minute, Streams: true}}, {"10 minutes, asking", Setting{Viewers: 2, Watch: length + time.Minute}},
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
			fmt.Fprintf(&out, "| %s | %s | %d | %d | %d, %d, %d | %.0f, %.0f | %.1f | %.1f | **%.0f** | %.0f + %.0f a month | %s %.0f |\n", end, v.name, total(n.Invocations), n.Created+n.Found+n.Delivered+n.Deleted,
				n.Reads, n.Writes, n.Deletes, n.Held["dispatch"].Seconds(), n.Held["status"].Seconds(), float64(n.LogBytes+total(n.Invocations)*requestLogBytes)/1e3, float64(n.Sent)/1e3,
				all, all-lines[1].USD, Instance(prices), most.What, most.USD)
		}
	}
	fmt.Fprintf(&out, "\nBeside it, for a million such cases:\n\n| | $ | |\n| --- | --- | --- |\n")
	fmt.Fprintf(&out, "| a Node server, always on, and its PostgreSQL | %.0f + %.0f a month | whatever the number of cases, as far as one instance goes; it loses what it held when it stops |\n", Server(prices), Instance(prices))
	fmt.Fprintf(&out, "| a worker of a job queue, always on, and its PostgreSQL | %.0f + %.0f a month | the same |\n", Server(prices), Instance(prices))
	fmt.Fprintf(&out, "| Cloud Workflows, %d looks with sleep between | %.0f, or %.0f if the pipeline is outside | as many as Casewatch takes by polling alone |\n", looks, Workflow(prices, looks, false), Workflow(prices, looks, true))
	fmt.Fprintf(&out, "| Cloud Workflows, a look every 2 s | %.0f, or %.0f | |\n", Workflow(prices, int(length/(2*time.Second)), false), Workflow(prices, int(length/(2*time.Second)), true))
	fmt.Fprintf(&out, "| a Cloud Run job for each case | %.0f | 1 vCPU and 512 MiB for five minutes |\n", Job(prices, length))
	second := prices["vcpu_second"].USD + prices["gib_second"].USD
	fmt.Fprintf(&out, "\nA request held for five minutes, a million times: $%.0f with %d at once on an instance, $%.0f with %d, $%.0f alone.\n", 1e6*length.Seconds()*second/streamSharing, streamSharing, 1e6*length.Seconds()*second/sharing, sharing, 1e6*length.Seconds()*second)
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
