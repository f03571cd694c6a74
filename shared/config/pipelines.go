package config

import (
	"errors"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/casewatch/casewatch/shared/pipeline/description"
)

// descriptions takes any text. What it describes is read once all settings are known.
func descriptions() value {
	return value{
		expects:   "YAML that describes pipelines, each below its name",
		multiline: true,
		parse:     func(*Config, string) error { return nil },
	}
}

// descriptionsFile takes the path of a file that can be read.
func descriptionsFile() value {
	return value{
		expects: "the path of a readable file of YAML that describes pipelines",
		parse: func(_ *Config, path string) error {
			_, err := readDescriptions(path)
			return err
		},
	}
}

func readDescriptions(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	switch {
	case err != nil:
		return nil, errors.New("cannot be read: " + err.Error())
	case !utf8.Valid(text):
		return nil, errors.New("names a file that is not UTF-8")
	}
	return text, nil
}

// pipelines sets Config.Pipelines from the one of the three settings that is given.
func (l *loader) pipelines(given func(name string) bool) {
	const address, byText, file = "PIPELINE_API_URL", "PIPELINES", "PIPELINES_FILE"
	var set []string
	for _, name := range []string{address, byText, file} {
		if given(name) {
			set = append(set, name)
		}
	}
	switch {
	case len(set) == 0:
		l.fault(address, "is missing, so there is no pipeline; expected %s, or %s or %s, which describe pipelines",
			lookupSetting(address).expects, byText, file)
		return
	case len(set) > 1:
		for _, name := range set[1:] {
			if l.bad[name] {
				continue
			}
			l.fault(name, "is set, and %s too; expected one of the three ways to name a pipeline", set[0])
		}
		return
	case l.bad[set[0]]:
		return
	}
	c, name := l.c, set[0]
	if name == address {
		c.Pipelines = description.Set{
			description.ForDocuments(c.Pipeline.URL, c.Pipeline.APIKey.Reveal(), c.Pipeline.Auth == AuthOIDC),
		}
	} else {
		for _, unused := range []string{"PIPELINE_API_KEY", "PIPELINE_AUTH"} {
			if lookupSetting(unused).UsedBy(c.Function) && given(unused) && !l.bad[unused] {
				l.fault(unused,
					"is set, and only PIPELINE_API_URL goes with it; expected none: see auth in the description")
			}
		}
		options := description.Options{RefuseLoopback: c.OnGoogleCloud}
		if c.UsesPipelines() {
			options.Secret = l.lookup
		}
		value, _ := l.lookup(name)
		text := []byte(value)
		if name == file {
			text, _ = readDescriptions(value) // it could be read a moment ago; an empty text is refused
		}
		described, err := description.Parse(text, options)
		var problems description.Error
		switch {
		case errors.As(err, &problems):
			for _, p := range problems {
				l.fault(name, "%s", p.Error())
			}
			return
		case err != nil:
			l.fault(name, "%v", err)
			return
		}
		c.Pipelines = described
	}
	c.Pipelines.Fill(description.Defaults{
		Rate: c.Queue.Rate, Concurrency: c.Queue.Concurrency,
		Idempotent: c.Pipeline.Idempotent, Timeout: c.Pipeline.Timeout, Deadline: c.Rules.CaseDeadline,
		PollMin: c.Rules.CheckMinInterval, PollMax: c.Rules.CheckMaxInterval,
	})
	if name != address {
		l.descriptionsFit(name)
	}
}

// descriptionsFit checks the descriptions against the other settings.
func (l *loader) descriptionsFit(name string) {
	rules := l.c.Rules
	for _, p := range l.c.Pipelines {
		if limit := rules.MaxDeadline; limit > 0 && p.Deadline > limit && !l.bad["MAX_DEADLINE"] {
			l.fault(name, "%s.deadline is %v; expected at most MAX_DEADLINE, which is %v", p.Name, p.Deadline, limit)
		}
		if p.Poll.Max > 0 && p.Poll.Min > p.Poll.Max && !l.bad["CHECK_MIN_INTERVAL"] && !l.bad["CHECK_MAX_INTERVAL"] {
			l.fault(name, "%s.poll.min is %v; expected at most poll.max, which is %v, as CHECK_MAX_INTERVAL unless "+
				"it is given", p.Name, p.Poll.Min, p.Poll.Max)
		}
		limit := l.c.RequestTimeout
		if l.c.Function == "dispatch" && limit > 0 && p.Dispatch.Timeout >= limit && !l.bad["PIPELINE_TIMEOUT"] {
			l.fault(name, "%s.dispatch.timeout is %v; expected less than %s, which is %v",
				p.Name, p.Dispatch.Timeout, timeoutVariable, limit)
		}
	}
}

// UsesPipelines reports whether the function speaks with pipelines, and so knows their secrets.
func (c *Config) UsesPipelines() bool {
	return c.Function == Local || c.Function == "callback" || slices.Contains(asking, c.Function)
}

// PipelineSecrets returns the names of the secrets that a text of descriptions needs. It does not
// check the text.
func PipelineSecrets(text string) []string {
	var names []string
	for rest := text; ; {
		_, after, found := strings.Cut(rest, "{secret:")
		if !found {
			slices.Sort(names)
			return slices.Compact(names)
		}
		name, _, closed := strings.Cut(after, "}")
		if closed {
			names = append(names, name)
		}
		rest = after
	}
}

// UsesCallbacks reports whether some pipeline is told where it may report on a run.
func (c *Config) UsesCallbacks() bool {
	return slices.ContainsFunc(c.Pipelines, (*description.Pipeline).UsesCallback)
}
