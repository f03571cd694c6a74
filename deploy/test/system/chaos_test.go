package system_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/config"
)

// chaosTimes make runs short, and what a fault delays shorter than the faults' own graces: nothing
// may end for a fault that passes.
var chaosTimes = map[string]string{
	"CHECK_MIN_INTERVAL": "500ms", "CHECK_MAX_INTERVAL": "2s", "CHECK_TIMEOUT": "3s", "COMPLETION_GRACE": "2s",
	"START_GRACE": "5s", "UNREACHABLE_AFTER": "30s",
	"PIPELINE_TIMEOUT": "30s", "CASE_DEADLINE": "140s",
}

const (
	quietWithin   = 180 * time.Second // for every run to end once the faults are over: its deadline, and a sweep
	healthyWithin = 60 * time.Second  // for every end to be told after that: the sweep's patience, and a sweep
	settledWithin = 45 * time.Second  // after the faults: from then on no sweep may find a leak
	// for the end of a run to be seen once it was due and no server is out: a lost wake-up takes two
	// sweeps and their patience
	healedWithin = 60 * time.Second
	markPatience = 30 * time.Second // of dispatch
	viewersStop  = 30 * time.Second // for a viewer to come back after an end, and be told to stop
	viewed       = 5                // one case in so many has a viewer
)

// casesPerSecond is how many cases begin at the usual intensity: 300 in two minutes.
const casesPerSecond = 2.5

// chaosOptions are SEED, CHAOS (how long faults last), INTENSITY (1, or 2 for twice the rate of
// faults and cases) and CASES of the environment. Without CHAOS it is the short version.
type chaosOptions struct {
	seed      uint64
	lasts     time.Duration
	intensity int
	cases     int
	short     bool
}

func (o chaosOptions) String() string {
	return fmt.Sprintf("SEED=%d CHAOS=%v INTENSITY=%d CASES=%d", o.seed, o.lasts, o.intensity, o.cases)
}

func chaosFromEnv(t *testing.T) chaosOptions {
	t.Helper()
	o := chaosOptions{seed: 1, lasts: 6 * time.Second, intensity: 1, cases: 24, short: true}
	var err error
	if text := os.Getenv("INTENSITY"); text != "" {
		if o.intensity, err = strconv.Atoi(text); err != nil || o.intensity < 1 || o.intensity > 2 {
			t.Fatalf("INTENSITY: %q is neither 1 nor 2", text)
		}
	}
	if text := os.Getenv("CHAOS"); text != "" {
		if o.lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("CHAOS: %v", err)
		}
		o.short, o.cases = false, int(casesPerSecond*o.lasts.Seconds())*o.intensity
	}
	if text := os.Getenv("CASES"); text != "" {
		if o.cases, err = strconv.Atoi(text); err != nil {
			t.Fatalf("CASES: %v", err)
		}
	}
	if text := os.Getenv("SEED"); text != "" {
		if o.seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SEED: %v", err)
		}
	}
	return o
}

// TestChaos kills instances of every function at random while the servers between them stop,
// freeze, lose their connections, run out of disk and answer late, under cases of every kind. Which
// case begins when, and which fault, follows from SEED; the rest is up to the processes. Then it is
// quiet, every run has to end as the pipeline's own record says that it must, and nothing may be
// left.
//
// In a normal run it is a short version over one store. `make chaos` is the whole.
func TestChaos(t *testing.T) {
	skipShort(t)
	o := chaosFromEnv(t)
	t.Log(o)
	var hurt []*chaos
	for _, store := range []struct {
		name string
		open func(t *testing.T) *chaosStore
	}{{"sqlite", chaosOnSQLite}, {"postgres", chaosOnPostgres}, {"firestore", chaosOnFirestore}} {
		if o.short && len(hurt) > 0 {
			break
		}
		t.Run(store.name, func(t *testing.T) {
			c := newChaos(t, o, store.name, store.open(t))
			hurt = append(hurt, c)
			c.run(t)
		})
	}
	t.Logf("%v\n%s", o, table(hurt))
}

// chaos is one system that is being hurt.
type chaos struct {
	*system
	chaosOptions
	store  string
	links  map[string]*link
	kinds  []outage // in the order in which they were made
	began  time.Time
	over   time.Time     // the faults
	quiet  time.Duration // from then until every run was seen to have ended
	trials []*trial

	killed  map[string][]time.Time // instances, by function
	outages []span                 // that are over, in the order of their ends
	verdict verdict
}

// outage is a fault that lasts.
type outage struct {
	name  string
	of    string              // the server that is out, or slow, by the name of its link
	tears string              // to which server it breaks connections, if to one
	begin func() (end func()) // begins it, and returns what ends it
	says  string              // what the functions have to have said of it, if anything
}

// span is an outage that took place.
type span struct {
	outage
	from, to time.Time
}

func newChaos(t *testing.T, o chaosOptions, name string, store *chaosStore) *chaos {
	t.Helper()
	addr, pubsub := pubsubProcess(t)
	c := &chaos{
		chaosOptions: o, store: name, killed: map[string][]time.Time{}, links: map[string]*link{}, kinds: store.outages,
	}
	c.system = newSystem(t, build(t, store.binary), addr, store.env, func(s *system) {
		for name, value := range chaosTimes {
			s.env[name] = value
		}
		s.patience = 90 * time.Second
		s.deliverAgain()
		c.links["queue"] = newLink(t, "tcp", s.tasks.addr)
		c.links["pubsub"] = newLink(t, "tcp", addr)
		c.links["pipeline"] = newLink(t, "tcp", strings.TrimPrefix(s.pipe.URL, "http://"))
		s.env["CLOUD_TASKS_EMULATOR_HOST"] = c.links["queue"].addr
		s.env["PUBSUB_EMULATOR_HOST"] = c.links["pubsub"].addr
		s.env["PIPELINE_API_URL"] = "http://" + c.links["pipeline"].addr
	})
	if store.link != nil {
		c.links["store"] = store.link
	}
	c.kinds = append(c.kinds,
		outage{name: "the queue server is killed", of: "queue", begin: func() func() {
			c.tasks.kill()
			c.mu.Lock()
			c.departed = append(c.departed, c.tasks.out)
			c.mu.Unlock()
			return func() {
				c.tasks.boot()
				c.links["queue"].lead(c.tasks.addr)
			}
		}},
		frozen("the Pub/Sub emulator", "pubsub", pubsub.cmd.Process.Pid),
		unreachable("Pub/Sub", "pubsub", c.links["pubsub"]),
		unreachable("the queue", "queue", c.links["queue"]))
	for _, name := range []string{"queue", "pubsub", "pipeline", "store"} {
		if l := c.links[name]; l != nil {
			c.kinds = append(c.kinds, slow(name, l), broken(name, l))
		}
	}
	return c
}

// run hurts the system, lets it rest, and judges it.
func (c *chaos) run(t *testing.T) {
	dice := rand.New(rand.NewPCG(c.seed, 1))
	for n := range c.cases {
		c.trials = append(c.trials, c.draw(dice, n))
	}
	c.began = time.Now()
	over := c.began.Add(c.lasts)
	c.over = over
	var working, killing sync.WaitGroup
	for _, trial := range c.trials {
		working.Go(func() { trial.live(c, over.Add(quietWithin)) })
	}
	killing.Go(func() { c.killInstances(rand.New(rand.NewPCG(c.seed, 2)), over) })
	for n, kinds := range c.series() {
		killing.Go(func() { c.haveOutages(t, kinds, rand.New(rand.NewPCG(c.seed, uint64(3+n))), over) })
	}
	killing.Wait()
	t.Logf("the faults are over: %d instances killed, %d outages", c.kills(), len(c.outages))
	working.Wait()
	c.quiet = time.Since(over)
	t.Logf("every run has ended, or had the time to, %v later", c.quiet.Round(time.Second))
	c.judge(t)
}

// series are the kinds of outages, split into those that come one after the other. There is a
// series for each step of the intensity, and all outages of one server are in one, so that what
// ends one does not end another.
func (c *chaos) series() [][]outage {
	all := make([][]outage, c.intensity)
	for _, kind := range c.kinds {
		n := slices.Index([]string{"store", "queue", "pipeline", "pubsub"}, kind.of) % c.intensity
		all[n] = append(all[n], kind)
	}
	return all
}

// killInstances kills an instance of a random function every second or two, at the usual intensity.
// Another is booted in its place, as long as that may take.
func (c *chaos) killInstances(dice *rand.Rand, over time.Time) {
	functions := config.Functions()
	slices.Sort(functions)
	var booting sync.WaitGroup
	defer booting.Wait()
	for {
		wait, function := time.Duration(500+dice.IntN(2000))*time.Millisecond/time.Duration(c.intensity),
			functions[dice.IntN(len(functions))]
		if c.short {
			wait /= 3
		}
		if time.Now().Add(wait).After(over) {
			return
		}
		time.Sleep(wait)
		r := c.routers[function]
		r.mu.Lock()
		n := len(r.behind)
		r.mu.Unlock()
		if n == 0 { // those that are to replace the last ones are still booting
			continue
		}
		c.killed[function] = append(c.killed[function], time.Now())
		booting.Go(func() { c.lose(function) })
	}
}

// haveOutages has one outage after the other, each kind before any comes again.
func (c *chaos) haveOutages(t *testing.T, kinds []outage, dice *rand.Rand, over time.Time) {
	var order []int
	for {
		if len(order) == 0 {
			order = dice.Perm(len(kinds))
		}
		kind := kinds[order[0]]
		order = order[1:]
		pause, lasts := time.Duration(300+dice.IntN(2000))*time.Millisecond,
			time.Duration(1000+dice.IntN(4500))*time.Millisecond
		if c.short {
			pause, lasts = pause/5, lasts/5
		}
		if time.Now().Add(pause + lasts).After(over) {
			time.Sleep(time.Until(over))
			return
		}
		time.Sleep(pause)
		o := span{outage: kind, from: time.Now()}
		end := kind.begin()
		time.Sleep(lasts)
		end()
		o.to = time.Now()
		c.mu.Lock()
		c.outages = append(c.outages, o)
		c.mu.Unlock()
		t.Logf("%6.1fs  %s for %v", o.from.Sub(c.began).Seconds(), o.name, o.to.Sub(o.from).Round(100*time.Millisecond))
	}
}
