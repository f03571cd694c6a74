package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/casewatch/casewatch/shared/printable"
)

// Fault is the error of one setting. Detail never holds the value of a secret.
type Fault struct {
	Name   string // of the setting
	Detail string
}

func (f Fault) Error() string { return f.Name + " " + f.Detail }

// Error holds every invalid or missing setting of a function, in the order of [Settings].
type Error struct {
	Function string
	Faults   []Fault
}

// Error returns one line for each invalid or missing setting.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "faulty settings of the function %s (%d):", e.Function, len(e.Faults))
	for _, f := range e.Faults {
		b.WriteString("\n  " + f.Error())
	}
	return b.String()
}

// Unwrap returns the error of each setting.
func (e *Error) Unwrap() []error {
	errs := make([]error, len(e.Faults))
	for i, f := range e.Faults {
		errs[i] = f
	}
	return errs
}

// Load reads the settings of a function. The function is one of [Functions], or [Local]. lookup
// returns the value of a variable and whether it is set, like [os.LookupEnv]. If a setting is
// missing or invalid, the error is an [*Error] that names all such settings.
func Load(function string, lookup func(name string) (value string, ok bool)) (*Config, error) {
	if function != Local && !slices.Contains(Functions(), function) {
		return nil, fmt.Errorf("no function is named %q; there are %s, and %s for all in one process",
			function, strings.Join(Functions(), ", "), Local)
	}
	l := loader{c: &Config{Function: function}, lookup: lookup, bad: map[string]bool{}}
	service, _ := lookup(serviceVariable)
	l.c.OnGoogleCloud = service != ""
	for _, s := range table {
		if !s.UsedBy(function) {
			continue
		}
		if value, ok := lookup(s.Name); ok {
			l.set(s, value)
		} else {
			l.unset(s)
		}
	}
	l.relations()
	l.pipelines(func(name string) bool { _, ok := lookup(name); return ok })
	l.callbacks()
	if len(l.faults) > 0 {
		order := func(f Fault) int { return slices.IndexFunc(table, func(s setting) bool { return s.Name == f.Name }) }
		slices.SortStableFunc(l.faults, func(a, b Fault) int { return order(a) - order(b) })
		return nil, &Error{Function: function, Faults: l.faults}
	}
	return l.c, nil
}

// serviceVariable is set by Google Cloud for every service
// (https://cloud.google.com/run/docs/container-contract#services-env-vars).
const serviceVariable = "K_SERVICE"

type loader struct {
	c      *Config
	lookup func(name string) (string, bool)
	bad    map[string]bool
	faults []Fault
}

func (l *loader) fault(name, format string, args ...any) {
	l.bad[name] = true
	l.faults = append(l.faults, Fault{name, fmt.Sprintf(format, args...)})
}

func (l *loader) set(s setting, value string) {
	var err error
	switch {
	case value == "" && s.emptyAllowed: // the same as unset
		return
	case strings.TrimSpace(value) == "":
		err = errors.New("is set but empty, which is no value")
	case strings.TrimSpace(value) != value && !s.multiline:
		err = errors.New("has white space around its value")
	case s.multiline && utf8.ValidString(value): // its lines are its syntax
		err = s.parse(l.c, value)
	case !utf8.ValidString(value) || strings.ContainsFunc(value, printable.IsControl):
		err = errors.New("holds control characters or is not UTF-8")
	default:
		err = s.parse(l.c, value)
	}
	if err != nil {
		l.fault(s.Name, "%v; expected %s", err, s.expects)
	}
}

func (l *loader) unset(s setting) {
	switch {
	case s.Default != "":
		l.set(s, s.Default)
	case s.Required:
		l.fault(s.Name, "is missing; expected %s", s.expects)
	}
}

// relations checks the rules between settings. Settings that are invalid by themselves are skipped.
func (l *loader) relations() {
	c := l.c
	l.atMost("CHECK_MIN_INTERVAL", c.Rules.CheckMinInterval, "CHECK_MAX_INTERVAL", c.Rules.CheckMaxInterval)
	l.atMost("CASE_DEADLINE", c.Rules.CaseDeadline, "MAX_DEADLINE", c.Rules.MaxDeadline)
	if c.Function == "dispatch" || c.Function == Local {
		l.belowRequest("PIPELINE_TIMEOUT", c.Pipeline.Timeout)
	}
	if c.Function == "status" || c.Function == Local {
		l.belowRequest("STREAM_HOLD", c.Stream.Hold)
	}
	l.different("CHECK_QUEUE", c.Queue.Check, "DISPATCH_QUEUE", c.Queue.Dispatch)
	l.different("ENDED_TOPIC", c.Topics.Ended, "PIPELINE_EVENTS_TOPIC", c.Topics.PipelineEvents)
	l.different("DEAD_LETTER_TOPIC", c.Topics.DeadLetter, "PIPELINE_EVENTS_TOPIC", c.Topics.PipelineEvents)
	l.different("DEAD_LETTER_TOPIC", c.Topics.DeadLetter, "ENDED_TOPIC", c.Topics.Ended)

	s := lookupSetting("TASKS_SERVICE_ACCOUNT")
	if s.UsedBy(c.Function) && c.OnGoogleCloud && c.Queue.ServiceAccount == "" && !l.bad[s.Name] {
		l.fault(s.Name, "is missing, and on Google Cloud no task arrives without it; expected %s", s.expects)
	}
	l.callers()
	l.together("OIDC_AUDIENCE", len(c.Access.OIDC.Audiences) > 0, "OIDC_ISSUER", c.Access.OIDC.Issuer != "")
	l.together("OIDC_ISSUER", c.Access.OIDC.Issuer != "", "OIDC_AUDIENCE", len(c.Access.OIDC.Audiences) > 0)
	l.together("CONSOLE_AUDIENCES", len(c.Access.ConsoleAudiences) > 0, "CONSOLE_USERS", len(c.Access.ConsoleUsers) > 0)
	s = lookupSetting("CONSOLE_USERS")
	if s.UsedBy(c.Function) && c.OnGoogleCloud && len(c.Access.ConsoleUsers) == 0 && !l.bad[s.Name] {
		l.fault(s.Name, "is missing, and on Google Cloud the console needs it; expected %s", s.expects)
	}
	l.invokers()
	l.together(
		"INVOKER_AUDIENCES",
		len(c.Access.InvokerTokens.Audiences) > 0,
		"INVOKER_SERVICE_ACCOUNTS",
		len(c.Access.Invokers) > 0,
	)
}

// callers requires a way to start a case.
func (l *loader) callers() {
	s, access := lookupSetting("API_KEYS"), l.c.Access
	if l.c.Function != "start" && l.c.Function != Local {
		return
	}
	if l.bad[s.Name] || l.bad["ALLOW_ANONYMOUS"] || l.bad["OIDC_ISSUER"] {
		return
	}
	if access.APIKeys.Len() == 0 && access.OIDC.Issuer == "" && !access.AllowAnonymous {
		l.fault(s.Name, "is missing, so no caller could start a case; expected %s, or OIDC_ISSUER, "+
			"or ALLOW_ANONYMOUS=true to allow everyone", s.expects)
	}
}

// callbacks requires the address that pipelines are told.
func (l *loader) callbacks() {
	s := lookupSetting("CALLBACK_URL")
	if s.UsedBy(l.c.Function) && l.c.UsesCallbacks() && l.c.URLs.Callback == "" && !l.bad[s.Name] {
		l.fault(s.Name, "is missing, and a description uses {callback_url}; expected %s", s.expects)
	}
}

// invokers rejects INVOKER_SERVICE_ACCOUNTS where it cannot work. It requires it where nothing else
// guards the private functions.
func (l *loader) invokers() {
	s, given := lookupSetting("INVOKER_SERVICE_ACCOUNTS"), len(l.c.Access.Invokers) > 0
	switch {
	case !s.UsedBy(l.c.Function) || l.bad[s.Name]:
	case l.c.OnGoogleCloud && given:
		// https://cloud.google.com/run/docs/troubleshooting#signature-removed
		l.fault(s.Name, "is set, and Cloud Run may remove the signatures that it would check; "+
			"expected none: IAM guards the function")
	case !l.c.OnGoogleCloud && !given && l.c.Function != Local:
		l.fault(s.Name, "is missing, and outside Google Cloud nothing else guards the function; expected %s", s.expects)
	}
}

// together rejects a missing setting a if setting b, which needs it, is given.
func (l *loader) together(a string, given bool, b string, needed bool) {
	if needed && !given && !l.bad[a] && !l.bad[b] {
		l.fault(a, "is missing, and %s is set; expected %s", b, lookupSetting(a).expects)
	}
}

// atMost rejects a duration that is longer than another one, if the function uses both.
func (l *loader) atMost(a string, av time.Duration, b string, bv time.Duration) {
	if lookupSetting(b).UsedBy(l.c.Function) && !l.bad[a] && !l.bad[b] && av > bv {
		l.fault(a, "is %v; expected at most %s, which is %v", av, b, bv)
	}
}

// belowRequest rejects a duration that is not shorter than the request in which it is spent.
func (l *loader) belowRequest(name string, d time.Duration) {
	limit := l.c.RequestTimeout
	if limit > 0 && d >= limit && !l.bad[name] {
		l.fault(name, "is %v; expected less than %s, which is %v", d, timeoutVariable, limit)
	}
}

func (l *loader) different(a, av, b, bv string) {
	if !l.bad[a] && !l.bad[b] && av != "" && av == bv {
		l.fault(a, "is %q, as %s is; expected another one", av, b)
	}
}
