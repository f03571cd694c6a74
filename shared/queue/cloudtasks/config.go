package cloudtasks

import (
	"errors"
	"fmt"
	"time"

	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/weburl"
)

// The bounds of a task's dispatch deadline
// (https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks#Task.FIELDS.dispatch_deadline).
const (
	minDeadline = 15 * time.Second
	maxDeadline = 30 * time.Minute
)

// Config says which queues hold the tasks and what they call.
type Config struct {
	Project  string
	Location string

	// CheckQueue and DispatchQueue are queue ids. With Shards of 1 the checks are in CheckQueue
	// itself, with more in "<CheckQueue>-0" to "<CheckQueue>-<Shards-1>", by case: one queue
	// dispatches at most 500 tasks a second
	// (https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues#RateLimits).
	// DispatchQueue is always one queue, since its rate and concurrency are what protects the
	// pipeline. Who schedules checks only leaves DispatchQueue and DispatchURL out.
	CheckQueue    string
	DispatchQueue string
	Shards        int

	// CheckURL and DispatchURL are what the tasks call: absolute, http or https.
	CheckURL    string
	DispatchURL string

	// ServiceAccount is the e-mail of the account whose OIDC token the tasks carry. The audience is
	// scheme and host of the URL, as Cloud Run expects it. "": no token.
	ServiceAccount string

	// CheckDeadline and DispatchDeadline bound one delivery: 15s to 30m. Cloud Tasks then gives up
	// on the answer and delivers again. Zero means 60s for a check and 30m for a dispatch.
	CheckDeadline    time.Duration
	DispatchDeadline time.Duration

	// EmulatorHost is the host and port of a local server to be spoken to in plain text and without
	// credentials; "" for Google's.
	EmulatorHost string
}

// withDefaults returns c with the deadlines that were left out.
func (c Config) withDefaults() Config {
	if c.CheckDeadline == 0 {
		c.CheckDeadline = time.Minute
	}
	if c.DispatchDeadline == 0 {
		c.DispatchDeadline = maxDeadline
	}
	return c
}

func (c Config) checksOnly() bool { return c.DispatchQueue == "" && c.DispatchURL == "" }

// validate names every fault of c at once.
func (c Config) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, f := range []struct{ name, value string }{
		{"Project", c.Project}, {"Location", c.Location}, {"CheckQueue", c.CheckQueue}, {"DispatchQueue", c.DispatchQueue},
	} {
		if f.value == "" && (f.name != "DispatchQueue" || !c.checksOnly()) {
			fault("%s is missing", f.name)
		}
	}
	if c.Shards < 1 {
		fault("Shards is %d, not at least 1", c.Shards)
	}
	for _, f := range []struct{ name, value string }{{"CheckURL", c.CheckURL}, {"DispatchURL", c.DispatchURL}} {
		if f.name == "DispatchURL" && c.checksOnly() {
			continue
		}
		if _, err := weburl.Parse(f.value); err != nil {
			fault("%s %w", f.name, err)
		}
	}
	for _, f := range []struct {
		name  string
		value time.Duration
	}{{"CheckDeadline", c.CheckDeadline}, {"DispatchDeadline", c.DispatchDeadline}} {
		if f.value < minDeadline || f.value > maxDeadline {
			fault("%s is %v, not between %v and %v", f.name, f.value, minDeadline, maxDeadline)
		}
	}
	return errors.Join(faults...)
}

// Queues returns the full names of every queue that c uses: those of the checks in the order of
// their shards, then that of dispatch.
func (c Config) Queues() []string {
	var names []string
	for i := range c.Shards {
		names = append(names, c.queueName(c.checkQueue(i)))
	}
	if c.checksOnly() {
		return names
	}
	return append(names, c.queueName(c.DispatchQueue))
}

func (c Config) checkQueue(shard int) string {
	if c.Shards == 1 {
		return c.CheckQueue
	}
	return fmt.Sprintf("%s-%d", c.CheckQueue, shard)
}

func (c Config) queueName(id string) string {
	return fmt.Sprintf("projects/%s/locations/%s/queues/%s", c.Project, c.Location, id)
}

// queueOf returns the full name of the queue that holds t.
func (c Config) queueOf(t queue.Task) string {
	if t.Kind == queue.Dispatch {
		return c.queueName(c.DispatchQueue)
	}
	return c.queueName(c.checkQueue(queue.Shard(t.CaseID, c.Shards)))
}

// taskName returns the full name of t.
func (c Config) taskName(t queue.Task) string {
	return c.queueOf(t) + "/tasks/" + t.Name()
}
