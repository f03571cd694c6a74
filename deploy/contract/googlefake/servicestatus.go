package googlefake

import (
	"fmt"
	"strings"
)

// refreshService brings what a service reports up to date: its URLs, its traffic and whether it is ready.
func (f *Fake) refreshService(key string) {
	service := f.state[key]
	name, region := last(key), strings.Split(key, "/")[4]
	url := f.serviceURL(region, name)
	annotations := objAt(objAt(service, "metadata"), "annotations")
	annotations["run.googleapis.com/urls"] = fmt.Sprintf("[%q]", url)
	status := objAt(service, "status")
	status["url"], status["address"] = url, obj{"url": url}
	traffic := []any{}
	for _, t := range items(service, "spec", "traffic") {
		target, _ := clone(t).(obj)
		if latest, _ := target["latestRevision"].(bool); latest {
			target["revisionName"] = text(status, "latestReadyRevisionName")
		}
		if tag := text(target, "tag"); tag != "" {
			target["url"] = f.tagURL(region, name, tag)
		}
		traffic = append(traffic, target)
	}
	status["traffic"] = traffic
	created := text(status, "latestCreatedRevisionName")
	revision := f.state[fmt.Sprintf("run/projects/%s/locations/%s/revisions/%s", f.opts.Project, region, created)]
	problem, now := "", text(revision, "metadata", "creationTimestamp")
	if created != text(status, "latestReadyRevisionName") {
		problem = fmt.Sprintf("Revision '%s' is not ready and cannot serve traffic.", created)
		for _, c := range items(revision, "status", "conditions") {
			if text(c, "type") == "Ready" {
				problem += " " + text(c, "message")
			}
		}
	}
	status["conditions"] = []any{condition("Ready", problem, now), condition("ConfigurationsReady", problem, now), condition("RoutesReady", problem, now)}
}

// usualURL is the URL that a service has by its name, its project's number and its region:
// https://cloud.google.com/run/docs/triggering/https-request.
func (f *Fake) usualURL(region, service string) string {
	return fmt.Sprintf("https://%s-%s.%s.run.app", service, f.opts.Number, region)
}

func (f *Fake) serviceURL(region, service string) string {
	if url, ok := f.urls[service]; ok {
		return url
	}
	return f.usualURL(region, service)
}

// tagURL is the URL of a tagged revision. Where a test serves the service, it serves all of its revisions.
func (f *Fake) tagURL(region, service, tag string) string {
	if url, ok := f.urls[service]; ok {
		return url
	}
	return strings.Replace(f.usualURL(region, service), "https://", "https://"+tag+"---", 1)
}
