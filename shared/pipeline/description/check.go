package description

import (
	"slices"
	"strings"

	"github.com/casewatch/casewatch/shared/weburl"
)

// checker checks how the parts of one description fit together.
type checker struct {
	*reader
	p     *Pipeline
	top   *node // with the preset
	given *node // without it
}

// problemAt adds a problem of the member at a path below the pipeline's name. If the member comes
// from the preset, which has no lines here, the problem has the line of the nearest member above it
// that the description gives.
func (c *checker) problemAt(path, format string, args ...any) {
	name := c.p.Name
	if path != "" {
		name += "." + path
	}
	c.problem(c.given.at(path), name, format, args...)
}

func (c *checker) check() {
	c.addresses()
	c.auth()
	c.requests()
	c.jobs()
	c.status()
	c.limits()
	c.callback()
	if c.p.Preset == Documents {
		c.documents()
	}
}

func (c *checker) addresses() {
	if c.p.URL == "" {
		c.problemAt("url", "is missing; expected an http or https URL, such as https://api.example.com")
	} else if u, err := weburl.ParseBase(c.p.URL); err != nil {
		c.problemAt("url", "%v; expected an http or https URL without query", err)
	} else if c.options.RefuseLoopback && weburl.MayBeLoopback(u.Hostname()) {
		c.problemAt("url", "is this machine, and on Google Cloud no pipeline is; expected its address")
	} else {
		c.p.URL = strings.TrimRight(c.p.URL, "/")
	}
	for _, origin := range c.p.Also {
		u, err := weburl.ParseBase(origin)
		switch {
		case err != nil:
			c.problemAt("also", "has %s, which %v; expected an origin, such as https://files.example.com",
				quote(origin), err)
		case weburl.Origin(u) != origin:
			c.problemAt("also", "has %s; expected only scheme and host, such as %s", quote(origin), weburl.Origin(u))
		case c.options.RefuseLoopback && weburl.MayBeLoopback(u.Hostname()):
			c.problemAt("also", "has %s, which is this machine; on Google Cloud no pipeline is", quote(origin))
		}
	}
}

// reserved are the headers that a client sets itself.
var reserved = []string{
	"host",
	"content-length",
	"transfer-encoding",
	"connection",
	"content-type",
	"accept",
	"idempotency-key",
	"traceparent",
}

func (c *checker) auth() {
	auth, value := c.p.Auth, c.top.member("auth").member("value")
	switch {
	case auth.Header != "" && !headerName.MatchString(auth.Header):
		c.problemAt("auth.header", "is %s, which is no name of a header", quote(auth.Header))
	case slices.Contains(reserved, strings.ToLower(auth.Header)):
		c.problemAt("auth.header", "is %s, which is set already; expected another, such as Authorization",
			quote(auth.Header))
	case auth.Header != "" && value == nil && c.p.Preset != Documents:
		c.problemAt("auth", `has a header without a value; expected value: "Bearer {secret:%sNAME}"`, secretPrefix)
	case auth.Header == "" && value != nil:
		c.problemAt("auth", "has a value without a header; expected header: Authorization, for example")
	case auth.GoogleIDToken && strings.EqualFold(auth.Header, "Authorization"):
		c.problemAt("auth", "sends Authorization twice: google_id_token uses it too; keep one")
	}
}

func (c *checker) requests() {
	if !c.p.Start.Request.Given() {
		c.problemAt("start.request", "is missing; expected the request that starts a job, such as POST /jobs")
	} else if c.p.Start.Request.Target.Address() != "" {
		c.problemAt("start.request", "begins with a placeholder; expected a path that begins with /")
	}
	if !c.p.Poll.Request.Given() {
		c.problemAt("poll.request", "is missing; expected the request that asks for a job, such as GET /jobs/{job}")
	}
	// A request that names only the case may be answered for another run of that case. A poll may
	// do that, since the rules tell the runs apart.
	if t := c.p.Poll.Request.Target; len(t) > 0 && !usesAny(t, "job", "case_id", "idempotency_key") {
		c.problemAt("poll.request", "names no job; expected {job}, or {case_id} if the case id names the job")
	}
	if t := c.p.Cancel.Target; len(t) > 0 && !usesAny(t, "job", "run", "idempotency_key") {
		c.problemAt("cancel.request",
			"could stop another run of the case; expected {job} from the start's answer, or {run}")
	}
	if c.p.Cancel.Target.Address() == resultURL || c.p.Poll.Request.Target.Address() == resultURL {
		c.problemAt("cancel.request", "uses {%s}, which only result.request may", resultURL)
	}
	if t := c.p.Result.Request.Target; t.Uses(resultURL) {
		if t.Address() != resultURL || len(t) > 1 {
			c.problemAt("result.request", "has something beside {%s}; expected a method and that alone", resultURL)
		}
		if len(c.p.Result.URL) == 0 {
			c.problemAt("result.request", "uses {%s} without result.url; expected where the address is", resultURL)
		}
	} else if len(t) > 0 && !usesAny(t, "job", "case_id", "idempotency_key") {
		c.problemAt("result.request", "names no job; expected {job}, or {case_id} if the case id names the job")
	}
	if m := c.p.Result.Request.Method; m != "" && m != "GET" && m != "POST" {
		c.problemAt("result.request", "has the method %s; expected GET or POST", m)
	}
}

func usesAny(t Template, names ...string) bool { return slices.ContainsFunc(names, t.Uses) }

// jobs checks that {job} is used as it is found: as a name or as an address, the same everywhere.
func (c *checker) jobs() {
	requests := []struct {
		path   string
		target Template
	}{
		{"poll.request", c.p.Poll.Request.Target},
		{"result.request", c.p.Result.Request.Target},
		{"cancel.request", c.p.Cancel.Target},
	}
	asAddress, asName := "", ""
	for _, request := range requests {
		if !request.target.Uses("job") {
			continue
		}
		if len(c.p.Start.Job) == 0 {
			c.problemAt(request.path, "uses {job}, and start.job does not say where the start's answer names it")
			return
		}
		if request.target.Address() == "job" {
			asAddress = request.path
			if slices.ContainsFunc(request.target[1:], func(p Part) bool { return p.Name == "job" }) {
				asName = request.path
			}
		} else {
			asName = request.path
		}
	}
	if asAddress != "" && asName != "" {
		c.problemAt(asName, "uses {job} as a name, and %s uses it as an address; expected one of the two", asAddress)
	}
	for _, v := range c.p.Start.Job {
		if v.Kind == FromCode {
			c.problemAt("start.job", "is code, and a status code names no job; expected body: or header:")
		}
	}
}

func (c *checker) status() {
	s := &c.p.Status
	lists := []struct {
		name   string
		values *[]string
	}{
		{"running", &s.Running}, {"succeeded", &s.Succeeded}, {"failed", &s.Failed}, {"cancelled", &s.Cancelled},
	}
	given := c.given.member("status")
	owner := map[string]string{} // by value, the list that the description puts it into
	for _, list := range lists {
		if given.member(list.name) == nil {
			continue
		}
		for _, value := range *list.values {
			if other := owner[value]; other != "" {
				c.problemAt("status."+list.name, "has %s, which is in %s too; expected it in one list",
					quote(value), other)
			}
			owner[value] = list.name
		}
	}
	for _, list := range lists { // the preset's other lists lose what the description lists
		if given.member(list.name) == nil {
			*list.values = slices.DeleteFunc(*list.values, func(value string) bool { return owner[value] != "" })
		}
	}
	if c.p.Preset == Documents {
		return
	}
	listed := len(s.Running)+len(s.Succeeded)+len(s.Failed)+len(s.Cancelled) > 0
	counted := len(c.p.Progress.Completed) > 0 && len(c.p.Progress.Total) > 0
	switch {
	case len(s.At) == 0 && listed:
		c.problemAt("status", "has lists and does not say where the status is; expected at, such as at: body:/status")
	case len(s.At) == 0 && !counted:
		c.problemAt(
			"status",
			"is missing: nothing says when a job is done; expected it, or progress.completed and progress.total",
		)
	case len(s.At) > 0 && len(s.Succeeded) == 0:
		c.problemAt("status", "says nothing of success; expected succeeded, a list of the values that mean it")
	}
	for _, list := range lists {
		for _, value := range *list.values {
			if given.member(list.name) != nil && len(s.At) == 1 && s.At[0].Kind == FromCode && !isCode(value) {
				c.problemAt("status."+list.name, "has %s, which is no status code", quote(value))
			}
		}
	}
}

func isCode(value string) bool {
	return len(value) == 3 && value >= "100" && value <= "599" && strings.Trim(value, "0123456789") == ""
}

func (c *checker) limits() {
	if lo, hi := c.p.Poll.Min, c.p.Poll.Max; lo > 0 && hi > 0 && lo > hi {
		c.problemAt("poll.min", "is %s; expected at most poll.max, which is %s", lo, hi)
	}
	if c.p.Dispatch.Timeout > c.p.Deadline && c.p.Deadline > 0 {
		c.problemAt(
			"dispatch.timeout",
			"is %s; expected at most the deadline, which is %s",
			c.p.Dispatch.Timeout,
			c.p.Deadline,
		)
	}
}

func (c *checker) callback() {
	cb, secret := c.p.Callback, c.top.member("callback").member("secret")
	switch {
	case cb.Verify != "" && cb.Verify != StandardWebhooks:
		c.problemAt("callback.verify", "is %s; expected %s", quote(cb.Verify), StandardWebhooks)
	case cb.Verify != "" && secret == nil:
		c.problemAt("callback", `verifies signatures without a secret; expected secret: "{secret:%sNAME}"`,
			secretPrefix)
	case cb.Verify == "" && secret != nil:
		c.problemAt("callback", "has a secret and verifies nothing; expected verify: %s", StandardWebhooks)
	}
}

// documents refuses what the preset documents would not heed.
func (c *checker) documents() {
	for _, path := range []string{
		"start.accepted", "start.job", "start.body.wrap", "poll.unknown", "status", "progress", "result", "error",
	} {
		n := c.given
		for name := range strings.SplitSeq(path, ".") {
			n = n.member(name)
		}
		if n != nil {
			c.problemAt(path, "has no effect in the preset %s, which reads answers by rules of its own; leave it out",
				Documents)
		}
	}
	if c.p.Poll.Request.Target.Uses("job") || c.p.Cancel.Target.Uses("job") {
		c.problemAt("", "uses {job}, and in the preset %s the case id names the job; expected {case_id}", Documents)
	}
}
