package main

import (
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
)

const host = "-123456789012.us-central1.run.app"

// cloudRun executes the commands for services and their revisions.
func (g *cloud) cloudRun(c command) (string, error) {
	switch c.kind + " " + c.verb {
	case "run revisions list":
		return c.show(g.under("run revisions"))
	case "run services replace":
		var wanted object
		if err := readYAML(c.name(), &wanted); err != nil {
			return "", err
		}
		return "", g.replace(copyOf(wanted).(object))
	case "run services update-traffic":
		o, there := g.live["run services "+c.name()]
		if !there {
			return "", errNotFound
		}
		g.changed = true
		return "", updateTraffic(c, o)
	case "run services list":
		return c.show(g.under("run services"))
	}
	return g.resource(c)
}

// replace stores a service. If its template changed, the service gets a new revision.
func (g *cloud) replace(wanted object) error {
	name := text(at(wanted, "metadata.name"))
	old, there := g.live["run services "+name]
	latest := text(at(old, "status.latestCreatedRevisionName"))
	if !there || !reflect.DeepEqual(at(old, "spec.template"), at(wanted, "spec.template")) {
		n := len(g.under("run revisions")) + 1
		latest = name + "-" + fmt.Sprintf("%05d", n)
		g.put("run revisions "+latest, object{"metadata": object{
			"name":              latest,
			"creationTimestamp": fmt.Sprintf("2026-01-01T00:00:%05dZ", n),
			"labels":            at(wanted, "spec.template.metadata.labels"),
		}})
	}
	set(wanted, "status.latestCreatedRevisionName", latest)
	set(wanted, "status.latestReadyRevisionName", latest)
	set(wanted, "status.url", "https://"+name+host)
	traffic, _ := at(wanted, "spec.traffic").([]any)
	g.put("run services "+name, wanted)
	return resolve(wanted, traffic)
}

// resolve sets the traffic in the status of a service: latestRevision becomes the name of a
// revision, and each tag gets its address. It returns an error if the shares do not add up to 100
// %.
func resolve(o object, traffic []any) error {
	sum, found := 0.0, []any{}
	for _, t := range traffic {
		entry := copyOf(t).(object)
		if entry["latestRevision"] == true {
			entry["revisionName"] = at(o, "status.latestReadyRevisionName")
		}
		if percent, ok := entry["percent"].(float64); ok {
			sum += percent
		}
		if tag := text(entry["tag"]); tag != "" {
			entry["url"] = "https://" + tag + "---" + text(at(o, "metadata.name")) + host
		}
		found = append(found, entry)
	}
	if sum != 100 {
		return fmt.Errorf("traffic adds up to %v, not 100", sum)
	}
	set(o, "status.traffic", found)
	return nil
}

// updateTraffic sends all traffic to the revision that a command names or tags, and changes the
// tags.
func updateTraffic(c command, o object) error {
	old, _ := at(o, "status.traffic").([]any)
	tags := map[string]string{}
	for _, t := range old {
		if tag := text(t.(object)["tag"]); tag != "" {
			tags[tag] = text(t.(object)["revisionName"])
		}
	}
	if tag := c.flag("remove-tags"); tag != "" {
		delete(tags, tag)
	}
	if tag, revision, ok := strings.Cut(c.flag("update-tags"), "="); ok {
		tags[tag] = revision
	}
	to, percent, _ := strings.Cut(c.flag("to-revisions"), "=")
	share, err := strconv.ParseFloat(percent, 64)
	if err != nil {
		return err
	}
	traffic := []any{object{"revisionName": to, "percent": share}}
	for tag, revision := range tags {
		traffic = append(traffic, object{"revisionName": revision, "tag": tag})
	}
	set(o, "spec.traffic", traffic)
	return resolve(o, traffic)
}

// curl answers a request as the functions or Firestore do. It writes the answer and its headers to
// the files that the arguments name, and returns the status.
func (g *cloud) curl(args []string) (string, error) {
	var method, answer, headers, body string
	address := args[len(args)-1]
	for i, arg := range args {
		switch arg {
		case "-X":
			method = args[i+1]
		case "-o":
			answer = args[i+1]
		case "-D":
			headers = args[i+1]
		case "-d":
			body = args[i+1]
		}
	}
	code, kind, text := g.answer(method, address, body)
	if headers != "" {
		text := fmt.Sprintf("HTTP/2 %d\r\ncontent-type: %s\r\netag: W/\"1\"\r\n\r\n", code, kind)
		if err := os.WriteFile(headers, []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	return strconv.Itoa(code), os.WriteFile(answer, []byte(text), 0o600)
}

// answer returns the status, the content type and the body that a request gets.
func (g *cloud) answer(method, address, body string) (code int, kind, text string) {
	const ours = "application/json"
	const firestore = "https://firestore.googleapis.com/v1/projects/demo-p/databases/"
	if rest, ok := strings.CutPrefix(address, firestore); ok {
		database, path, _ := strings.Cut(rest, "/documents")
		owner := "owner " + database
		switch {
		case path == ":listCollectionIds" && g.live["collections "+database] != nil:
			return 200, ours, `{"collectionIds": ["others"]}`
		case path == ":listCollectionIds":
			return 200, ours, `{}`
		case method == "PATCH":
			_, prefix, _ := strings.Cut(body, `"stringValue": "`)
			prefix, _, _ = strings.Cut(prefix, `"`)
			g.put(owner, object{"prefix": prefix})
		case g.live[owner] == nil:
			return 404, ours, `{}`
		}
		return 200, ours, fmt.Sprintf(`{"fields": {"prefix": {"stringValue": %q}}}`, g.live[owner]["prefix"])
	}
	name, path, _ := strings.Cut(strings.TrimPrefix(address, "https://"), "/")
	name = strings.TrimSuffix(name, host)
	if _, tagged, ok := strings.Cut(name, "---"); ok {
		name = tagged
	}
	name, _, _ = strings.Cut(name, host)
	o := g.live["run services "+name]
	policy := fmt.Sprint(g.live["policy run services "+name])
	annotations := fmt.Sprint(at(o, "metadata.annotations")) // not by name: the names hold dots
	switch {
	case o == nil:
		return 404, "text/html", "no such service"
	case !strings.Contains(annotations, "invoker-iam-disabled:true") && !strings.Contains(policy, "allUsers"):
		return 403, "text/html", "forbidden"
	case strings.HasSuffix(name, "-console"): // it verifies ID tokens itself
		return 401, ours, `{}`
	case strings.HasSuffix(path, "probe"):
		return 404, ours, `{}`
	case method == "POST":
		return 202, ours, `{}`
	}
	var ends []string
	end := "succeeded"
	if err := g.read("canaries.json", &ends); err == nil && len(ends) > 0 {
		end = ends[0]
		_ = g.write("canaries.json", ends[1:])
	}
	return 200, ours, fmt.Sprintf(`{"state": %q, "progress": {"completed": 1, "total": 1},
		"ended_at": "2026-01-01T00:00:00Z", "duration_seconds": 1,
		"end": {"reason": "completed", "source": "check", "message": ""}, "checks": {"count": 1}}`, end)
}
