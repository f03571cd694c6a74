package cloudtasks

import (
	"errors"
	"fmt"
	"time"

	"github.com/casewatch/casewatch/shared/queue"
	"github.com/casewatch/casewatch/shared/weburl"
)

// These are the bounds of a task's dispatch deadline
// (https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks#Task).
const (
	minDeadline = 15 * time.Second
	maxDeadline = 30 * time.Minute
)

// Config describes the queues and the targets of the tasks.
type Config struct {
	Project  string
	Location string

	// CheckQueue and DispatchQueue are queue ids. If Shards is 1, all checks are in CheckQueue. If
	// it is larger, they are in the queues "<CheckQueue>-0" to "<CheckQueue>-<Shards-1>", by case.
	// The reason is that one queue dispatches at most 500 tasks a second
	// (https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues#RateLimits).
	// DispatchQueue is the queue of the dispatches to the default pipeline; those to another one are
	// in "<DispatchQueue>-<its name>". A pipeline always has one queue, because its rate and
	// concurrency protect the pipeline. A process that schedules only checks leaves DispatchQueue and
	// DispatchURL empty.
	CheckQueue    string
	DispatchQueue string
	Shards        int
	// Pipelines are the names of the pipelines. The first one is the default. None means one
	// pipeline, whatever its name.
	Pipelines []string

	// CheckURL and DispatchURL are the targets of the tasks, as absolute URLs of http or https.
	CheckURL    string
	DispatchURL string

	// ServiceAccount is the e-mail address of the account whose OIDC token the tasks carry. The
	// audience is the scheme and host of the URL, as Cloud Run expects it. Empty means no token.
	ServiceAccount string

	// CheckDeadline and DispatchDeadline bound one delivery, from 15 s to 30 m. After that time
	// Cloud Tasks stops waiting for the response and delivers the task again. Zero means 60 s for a
	// check and 30 m for a dispatch.
	CheckDeadline    time.Duration
	DispatchDeadline time.Duration

	// EmulatorHost is the host and port of a local server, used in plain text and without
	// credentials. Empty means Google's service.
	EmulatorHost string
}

// withDefaults returns c with the defaults for missing deadlines.
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

// validate returns one error that lists every problem of c.
func (c Config) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, f := range []struct{ name, value string }{
		{"Project", c.Project}, {"Location", c.Location}, {"CheckQueue", c.CheckQueue}, {"DispatchQueue",
			c.DispatchQueue},
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

// Queues returns the full names of all queues that c uses: the check queues in the order of their
// shards, then the dispatch queues in the order of the pipelines.
func (c Config) Queues() []string {
	var names []string
	for i := range c.Shards {
		names = append(names, c.queueName(c.checkQueue(i)))
	}
	if c.checksOnly() {
		return names
	}
	names = append(names, c.queueName(c.DispatchQueue))
	for i, pipeline := range c.Pipelines {
		if i > 0 {
			names = append(names, c.queueName(c.dispatchQueue(pipeline)))
		}
	}
	return names
}

// dispatchQueue returns the id of the queue of a pipeline's dispatches.
func (c Config) dispatchQueue(pipeline string) string {
	if pipeline == "" || len(c.Pipelines) == 0 || pipeline == c.Pipelines[0] {
		return c.DispatchQueue
	}
	return c.DispatchQueue + "-" + pipeline
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
		return c.queueName(c.dispatchQueue(t.Pipeline))
	}
	return c.queueName(c.checkQueue(queue.Shard(t.CaseID, c.Shards)))
}

// taskName returns the full name of t.
func (c Config) taskName(t queue.Task) string {
	return c.queueOf(t) + "/tasks/" + t.Name()
}
