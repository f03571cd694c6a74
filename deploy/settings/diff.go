package main

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Difference is one thing that is not as the plan has it.
type Difference struct {
	How   string // create, update, or look: what a deployment leaves alone, or does by other means
	Kind  string
	Name  string
	Field string
	Is    string
	Want  string
}

// line is the difference with tabs between its parts.
func (d Difference) line() string {
	return strings.Join([]string{d.How, d.Kind, d.Name, orElse(d.Field, "-"), orElse(d.Is, "-"), orElse(d.Want, "-")}, "\t")
}

// differ collects the differences of one resource.
type differ struct {
	kind, name string
	list       *[]Difference
}

func (d differ) add(how, field, is, want string) {
	*d.list = append(*d.list, Difference{how, d.kind, d.name, field, is, want})
}

func (d differ) missing() { d.add("create", "", "missing", "there") }
func (d differ) update(field, is, want string) {
	if is != want {
		d.add("update", field, is, want)
	}
}

func (d differ) look(field, is, want string) {
	if is != want {
		d.add("look", field, is, want)
	}
}

// diff returns how what is live differs from the plan, in the order of the plan.
func diff(p *Plan, live *state) []Difference {
	var list []Difference
	of := func(kind, name string) differ { return differ{kind, name, &list} }
	exist := func(kind, in string, names ...string) {
		have := live.names(in)
		for _, name := range names {
			if !slices.Contains(have, name) {
				of(kind, name).missing()
			}
		}
	}
	exist("api", "apis", p.APIs...)
	exist("repository", "repositories", p.Prefix)
	for _, a := range p.Accounts {
		exist("account", "accounts", a.Email)
	}
	for _, s := range p.Secrets {
		exist("secret", "secrets", s.Name)
		if strings.HasPrefix(s.Version, "{") {
			of("version", s.Name).missing()
		}
	}
	diffFirestore(p, live, of)
	diffSQL(p, live, of)
	exist("topic", "topics", p.Topics...)
	for _, s := range p.Subscriptions {
		diffSubscription(p, s, live, of("subscription", s.Name))
	}
	for _, q := range p.Queues {
		diffQueue(q, live, of("queue", q.Name))
	}
	diffServices(p, live, of)
	for _, wanted := range p.Policies {
		live.policy(wanted.Kind, wanted.Name).compare(wanted, func(field, is, want string) {
			of("policy", wanted.Kind+"/"+wanted.Name).update(field, is, want)
		})
	}
	diffJob(p.Job, live, of("job", p.Job.Name))
	diffMonitoring(p, live, of)
	return list
}

func diffSubscription(p *Plan, want Subscription, live *state, d differ) {
	is := find(live, "subscriptions", want.Name, func(s *liveSubscription) string { return s.Name })
	if is == nil {
		d.missing()
		return
	}
	// The topic of a subscription cannot be changed.
	d.look("topic", is.Topic, p.full("topics", want.Topic))
	d.update("push endpoint", is.PushConfig.PushEndpoint, want.Endpoint)
	d.update("push account", is.PushConfig.OidcToken.ServiceAccountEmail, want.Account)
	d.update("push audience", is.PushConfig.OidcToken.Audience, want.Audience)
	d.update("ack deadline", strconv.Itoa(is.AckDeadlineSeconds), strconv.Itoa(want.AckDeadline))
	d.update("retention", seconds(is.MessageRetentionDuration), seconds(want.Retention))
	d.update("expires after", seconds(is.ExpirationPolicy.TTL), "")
	d.update("least backoff", seconds(is.RetryPolicy.MinimumBackoff), seconds(want.MinBackoff))
	d.update("longest backoff", seconds(is.RetryPolicy.MaximumBackoff), seconds(want.MaxBackoff))
	dead := ""
	if want.DeadLetter != "" {
		dead = p.full("topics", want.DeadLetter)
	}
	d.update("dead-letter topic", is.DeadLetterPolicy.DeadLetterTopic, dead)
	d.update("delivery attempts", strconv.Itoa(is.DeadLetterPolicy.MaxDeliveryAttempts), strconv.Itoa(want.Attempts))
	d.look("state", orElse(is.State, "ACTIVE"), "ACTIVE")
}

func diffQueue(want Queue, live *state, d differ) {
	is := find(live, "queues", want.Name, func(q *liveQueue) string { return q.Name })
	if is == nil {
		d.missing()
		return
	}
	d.update("dispatches a second", decimal(is.RateLimits.MaxDispatchesPerSecond), decimal(want.Rate))
	d.update("dispatches at once", strconv.Itoa(is.RateLimits.MaxConcurrentDispatches), strconv.Itoa(want.Concurrency))
	d.update("attempts", strconv.Itoa(is.RetryConfig.MaxAttempts), "-1")
	d.update("retry duration", seconds(is.RetryConfig.MaxRetryDuration), "")
	d.update("least backoff", seconds(is.RetryConfig.MinBackoff), want.MinBackoff)
	d.update("longest backoff", seconds(is.RetryConfig.MaxBackoff), want.MaxBackoff)
	d.update("doublings", strconv.Itoa(is.RetryConfig.MaxDoublings), strconv.Itoa(want.Doublings))
	d.update("log sampling", decimal(is.StackdriverLoggingConfig.SamplingRatio), decimal(want.LogSampling))
	d.look("state", is.State, "RUNNING") // whoever paused it had a reason
}

func diffJob(want Job, live *state, d differ) {
	is := find(live, "jobs", want.Name, func(j *liveJob) string { return j.Name })
	if is == nil {
		d.missing()
		return
	}
	d.update("schedule", is.Schedule, want.Schedule)
	d.update("time zone", is.TimeZone, "Etc/UTC")
	d.update("target", strings.TrimSuffix(is.HTTPTarget.URI, "/"), want.URL)
	d.update("method", is.HTTPTarget.HTTPMethod, "POST")
	d.update("account", is.HTTPTarget.OidcToken.ServiceAccountEmail, want.Account)
	d.update("audience", is.HTTPTarget.OidcToken.Audience, want.URL)
	d.update("attempt deadline", seconds(is.AttemptDeadline), seconds(strconv.Itoa(want.Deadline)+"s"))
	d.update("retries", strconv.Itoa(is.RetryConfig.RetryCount), "3")
	d.look("state", is.State, "ENABLED")
}

// seconds writes a duration of the API in one way; "" for none at all.
func seconds(text string) string {
	d, err := time.ParseDuration(text)
	if err != nil {
		return text
	}
	if d == 0 {
		return ""
	}
	return decimal(d.Seconds()) + "s"
}

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
