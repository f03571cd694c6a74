package taskserver

import (
	"container/heap"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	longestSleep = time.Minute // the scheduler looks at the queues at least so often
	tidyEvery    = time.Hour
)

// schedule dispatches what is due until the server stops. It is the one goroutine for all that is pending: only attempts under way have one of their own.
func (c *core) schedule() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-c.wake:
		case <-timer.C:
		}
		timer.Reset(c.dispatch())
	}
}

// dispatch begins what is due and may begin, and returns how long nothing else will be.
func (c *core) dispatch() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.stopping || c.err != nil {
		return longestSleep
	}
	if now.Sub(c.tidied) >= tidyEvery {
		c.tidied = now
		c.tidy(now)
	}
	sleep := longestSleep
	for _, q := range c.queues {
		sleep = min(sleep, c.dispatchQueue(q, now))
	}
	return sleep
}

func (c *core) dispatchQueue(q *queue, now time.Time) time.Duration {
	if q.pb.GetState() != cloudtaskspb.Queue_RUNNING {
		return longestSleep
	}
	for len(q.due) > 0 {
		t := q.due[0]
		if wait := t.at.Sub(now); wait > 0 {
			return wait
		}
		if q.running >= int(q.pb.GetRateLimits().GetMaxConcurrentDispatches()) {
			return longestSleep // the end of an attempt pokes
		}
		reserved := q.limiter.ReserveN(now, 1)
		if wait := reserved.DelayFrom(now); wait > 0 {
			reserved.CancelAt(now)
			return wait
		}
		heap.Pop(&q.due)
		c.begin(t, now, false)
	}
	return longestSleep
}

// begin begins an attempt: it is counted, and written down, before anything is sent. The caller holds c.mu and has taken t out of the heap.
func (c *core) begin(t *task, now time.Time, forced bool) *batch {
	if forced {
		t.at = now.Truncate(time.Microsecond)
	}
	// The headers tell of what was before this attempt.
	a := attempt{
		task: t, at: t.at, began: now, forced: forced,
		retries: t.dispatched, executed: t.executed, previous: t.previous, reason: t.last.GetResponseStatus(),
	}
	t.running++
	t.queue.running++
	t.queue.counts.Attempts++
	t.dispatched++
	if t.first.IsZero() {
		t.first = now
	}
	t.last = &cloudtaskspb.Attempt{ScheduleTime: timestamppb.New(t.at), DispatchTime: timestamppb.New(now)}
	a.recorded = c.journal.add(t.updated())
	c.attempts.Go(func() { c.attempt(a) })
	return a.recorded
}

// tidy forgets names that have become free and drops tasks that are too old. The caller holds c.mu.
func (c *core) tidy(now time.Time) {
	ops := []op{{expireNames, []any{now.UnixMicro()}}}
	for _, q := range c.queues {
		q.taken.forget(now)
		for _, t := range q.tasks {
			if t.running == 0 && now.Sub(t.pb.GetCreateTime().AsTime()) >= maxTaskAge {
				c.log.Warn("a task was dropped after 31 days", "task", t.pb.GetName())
				q.counts.Dropped++
				ops = append(ops, c.remove(t, now)...)
			}
		}
	}
	c.journal.add(ops...)
}
