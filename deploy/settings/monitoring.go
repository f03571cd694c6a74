package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// notify plans who is told of alerts: the channels that the env file names, and one for its e-mail address.
func (p *Plan) notify(f envFile, live *state, bad *faults) {
	p.Channels = append(p.Channels, split(f.values["NOTIFICATION_CHANNELS"])...)
	if p.AlertEmail == "" {
		if len(p.Channels) == 0 {
			bad.add(0, "ALERT_EMAIL or NOTIFICATION_CHANNELS is missing: an alert has to reach somebody")
		}
		return
	}
	name := "{CHANNEL_OF_" + p.AlertEmail + "}"
	if c := p.liveChannel(live); c != nil {
		name = c.Name
	}
	p.Channels = append(p.Channels, name)
}

// liveChannel returns the channel of the alerts' address, or nil.
func (p *Plan) liveChannel(live *state) *liveChannel {
	var all []liveChannel
	live.load("channels", &all)
	for i, c := range all {
		if c.UserLabels["casewatch"] == p.Prefix && c.Labels["email_address"] == p.AlertEmail {
			return &all[i]
		}
	}
	return nil
}

// monitoring reads the files of deploy/monitoring, with the plan's values for their placeholders.
func (p *Plan) monitoring(folder string, bad *faults) {
	p.Metrics, p.Alerts, p.Dashboards = []File{}, []File{}, []File{}
	read := func(pattern, kind string, list *[]File, stamp func(*Plan, *File) error) {
		paths, _ := filepath.Glob(filepath.Join(folder, "monitoring", filepath.FromSlash(pattern)))
		if len(paths) == 0 {
			bad.add(0, "%s is missing", filepath.Join(folder, "monitoring", pattern))
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err == nil {
				name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
				file := File{Name: name, Path: kind + "/" + filepath.Base(path), text: p.fill(string(data))}
				if err = unfilled(file.text); err == nil {
					err = stamp(p, &file)
				}
				*list = append(*list, file)
			}
			if err != nil {
				bad.add(0, "%s: %v", path, err)
			}
		}
	}
	read("metrics/*.yaml", "metrics", &p.Metrics, stampMetric)
	read("alerts/*.json", "alerts", &p.Alerts, stampAlert)
	read("dashboard.json", "dashboards", &p.Dashboards, stampDashboard)
}

// fill puts the plan's values in place of ${PROJECT} and the like.
func (p *Plan) fill(text string) string {
	return strings.NewReplacer("${PROJECT}", p.Project, "${PREFIX}", p.Prefix, "${REGION}", p.Region, "${RUNBOOKS}", p.Runbooks, "${CHANNELS}", "").Replace(text)
}

// placeholder is one of ours; Monitoring's own, such as ${metric.label.x}, are of small letters.
var placeholder = regexp.MustCompile(`\$\{[A-Z_]+\}`)

func unfilled(text string) error {
	if left := placeholder.FindString(text); left != "" {
		return fmt.Errorf("%s is nothing that is known here", left)
	}
	return nil
}

var (
	descriptionLine = regexp.MustCompile(`(?m)^description:[ \t]*(.*)\n((?:[ \t]+\S.*\n|[ \t]*\n)*)`)
	nameLine        = regexp.MustCompile(`(?m)^name:[ \t]*(\S+)[ \t]*\n`)
)

// stampMetric names the metric as the file does, or after the file, and puts the hash into its description: a metric has no labels of its own.
func stampMetric(p *Plan, f *File) error {
	f.Spec = hash(f.text)
	if !strings.HasSuffix(f.text, "\n") {
		f.text += "\n"
	}
	if m := nameLine.FindStringSubmatch(f.text); m != nil {
		f.Name = strings.Trim(m[1], `"'`)
	} else {
		f.Name = p.Prefix + "-" + f.Name
	}
	at := descriptionLine.FindStringSubmatchIndex(f.text)
	if at == nil {
		return fmt.Errorf("has no description")
	}
	first := strings.TrimSpace(f.text[at[2]:at[3]])
	if strings.HasPrefix(first, "|") || strings.HasPrefix(first, ">") { // a block: its text is in the lines that follow
		first = ""
	}
	words := strings.Join(strings.Fields(first+" "+f.text[at[4]:at[5]]), " ")
	if n := len(words); n > 1 && (words[0] == '"' || words[0] == '\'') && words[n-1] == words[0] {
		words = words[1 : n-1]
	}
	quoted, err := json.Marshal(words + " " + f.mark())
	if err != nil {
		return err
	}
	f.text = f.text[:at[0]] + "description: " + string(quoted) + "\n" + f.text[at[1]:]
	return nil
}

// mark is how a description carries the hash.
func (f *File) mark() string { return "[" + f.Spec + "]" }

// stampAlert adds the channels, and the hash as a label.
func stampAlert(p *Plan, f *File) error {
	return f.edit(func(policy map[string]any) {
		channels := make([]any, len(p.Channels))
		for i, c := range p.Channels {
			channels[i] = c
		}
		policy["notificationChannels"] = channels
		f.label(p, policy, "userLabels")
	})
}

// stampDashboard adds the hash as a label.
func stampDashboard(p *Plan, f *File) error {
	f.Name = p.Prefix
	return f.edit(func(dashboard map[string]any) { f.label(p, dashboard, "labels") })
}

// label marks a resource as ours, of this prefix, by this file, with this hash.
func (f *File) label(p *Plan, resource map[string]any, field string) {
	f.Spec = hash(resource)
	labels, _ := resource[field].(map[string]any)
	labels = maps.Clone(labels)
	if labels == nil {
		labels = map[string]any{}
	}
	labels["casewatch"], labels["casewatch-file"], labels["casewatch-spec"] = p.Prefix, f.Name, f.Spec
	resource[field] = labels
}

// edit changes a JSON file.
func (f *File) edit(change func(map[string]any)) error {
	var resource map[string]any
	if err := json.Unmarshal([]byte(f.text), &resource); err != nil {
		return err
	}
	change(resource)
	data, err := json.MarshalIndent(resource, "", "  ")
	f.text = string(data) + "\n"
	return err
}
