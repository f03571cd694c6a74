package main

import (
	"fmt"

	"github.com/casewatch/casewatch/shared/config"
)

// triggers plans what calls complete and sweep, and what keeps the dead letters.
func (p *Plan) triggers(f envFile) {
	events, dead := p.derived(f, "PIPELINE_EVENTS_TOPIC"), p.derived(f, "DEAD_LETTER_TOPIC")
	p.Subscriptions = []Subscription{
		// A topic without a subscription loses what is published to it.
		{Name: p.Prefix + "-dead-letter", Topic: dead, AckDeadline: 60, Retention: "2678400s", MinBackoff: "10s", MaxBackoff: "600s"},
		// With these figures, 100 attempts take about 16 hours: no outage of the store that anybody would sleep through turns events into dead letters.
		{Name: p.Prefix + "-complete", Topic: events, Endpoint: p.url("complete"), Audience: p.url("complete"), Account: p.account("push"),
			AckDeadline: longestAck, Retention: "604800s", MinBackoff: "1s", MaxBackoff: "600s", DeadLetter: dead, Attempts: 100},
	}
	timeout := 0
	if s := p.service("sweep"); s != nil {
		timeout = s.Timeout
	}
	p.Job = Job{Name: p.Prefix + "-sweep", Schedule: f.values["SWEEP_SCHEDULE"], URL: p.url("sweep"), Account: p.account("scheduler"), Deadline: min(timeout, longestAttempt)}
}

// queues plans the queues of the settings c.
func (p *Plan) queues(c *config.Config) {
	if c == nil {
		return
	}
	check := p.service("check")
	shards := max(1, c.Queue.Shards)
	// Never more deliveries at once than the instances of check hold, over all shards.
	width := min(widestQueue, max(1, check.Max*check.Concurrency/shards))
	for i := range shards {
		name := c.Queue.Check // as the adapter of Cloud Tasks names it
		if shards > 1 {
			name = fmt.Sprintf("%s-%d", name, i)
		}
		p.Queues = append(p.Queues, Queue{Name: name, Rate: fastestQueue, Concurrency: width, MinBackoff: "1s", MaxBackoff: "60s", Doublings: 6, LogSampling: 0.01})
	}
	p.Queues = append(p.Queues, Queue{Name: c.Queue.Dispatch, Rate: c.Queue.Rate, Concurrency: c.Queue.Concurrency, MinBackoff: "1s", MaxBackoff: "60s", Doublings: 6, LogSampling: 1})
}
