package taskserver

import (
	"container/heap"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	maxSleep       = time.Minute // the longest interval between two checks of the queues
	expiryInterval = time.Hour   // between two calls of dropExpired
)

// schedule dispatches due tasks until the server stops. It is the only goroutine for all pending
// tasks. Each running attempt has a goroutine of its own.
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

// dispatch begins the attempts that are due and allowed, and returns the time until it must be
// called again.
func (c *core) dispatch() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.stopping || c.err != nil {
		return maxSleep
	}
	if now.Sub(c.lastExpiry) >= expiryInterval {
		c.lastExpiry = now
		c.dropExpired(now)
	}
	sleep := maxSleep
	for _, q := range c.queues {
		sleep = min(sleep, c.dispatchQueue(q, now))
	}
	return sleep
}

func (c *core) dispatchQueue(q *queue, now time.Time) time.Duration {
	if q.pb.GetState() != cloudtaskspb.Queue_RUNNING {
		return maxSleep
	}
	for len(q.due) > 0 {
		t := q.due[0]
		if wait := t.at.Sub(now); wait > 0 {
			return wait
		}
		if q.running >= int(q.pb.GetRateLimits().GetMaxConcurrentDispatches()) {
			return maxSleep // the end of an attempt wakes the scheduler
		}
		reserved := q.limiter.ReserveN(now, 1)
		if wait := reserved.DelayFrom(now); wait > 0 {
			reserved.CancelAt(now)
			return wait
		}
		heap.Pop(&q.due)
		c.beginAttempt(t, now, false)
	}
	return maxSleep
}

// beginAttempt counts an attempt, adds it to the journal and starts it. The request is sent only
// when the journal is written. The caller holds c.mu and has removed t from the heap.
func (c *core) beginAttempt(t *task, now time.Time, forced bool) *batch {
	if forced {
		t.at = now.Truncate(time.Microsecond)
	}
	a := attempt{ // the headers describe the attempts before this one
		task:     t,
		at:       t.at,
		began:    now,
		forced:   forced,
		retries:  t.dispatched,
		executed: t.executed,
		previous: t.previous,
		reason:   t.last.GetResponseStatus(),
	}
	t.running++
	t.queue.running++
	t.queue.counts.Attempts++
	t.dispatched++
	if t.first.IsZero() {
		t.first = now
	}
	t.last = &cloudtaskspb.Attempt{ScheduleTime: timestamppb.New(t.at), DispatchTime: timestamppb.New(now)}
	a.recorded = c.journal.add(t.updateOp())
	c.attempts.Go(func() { c.attempt(a) })
	return a.recorded
}

// dropExpired forgets names that are free again and drops tasks that are too old. The caller holds
// c.mu.
func (c *core) dropExpired(now time.Time) {
	ops := []op{{expireNames, []any{now.UnixMicro()}}}
	for _, q := range c.queues {
		q.taken.forget(now)
		for _, t := range q.tasks {
			if t.running == 0 && now.Sub(t.pb.GetCreateTime().AsTime()) >= maxTaskAge {
				c.log.Warn("task dropped after 31 days", "task", t.pb.GetName())
				q.counts.Dropped++
				ops = append(ops, c.remove(t, now)...)
			}
		}
	}
	c.journal.add(ops...)
}
