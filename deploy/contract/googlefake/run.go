package googlefake

import (
	"fmt"
	"net/http"
	"strings"
)

// Cloud Run is spoken to in the form of Knative's API, in one region each (the region is before the host), but for IAM policies.
// A service is kept under the name that IAM has for it.

const knative = "namespaces/{p}"

func runAPI() *api {
	locations := func(r *request) (any, error) {
		return obj{"locations": []any{obj{"name": r.name + "/" + r.opts.Region, "locationId": r.opts.Region}}}, nil
	}
	return &api{service: "run.googleapis.com", policies: true, routes: []route{
		{http.MethodGet, knativePath + "/services", listServices},
		{http.MethodGet, "projects/{p}/locations/{l}/services", listServices},
		{http.MethodPost, knativePath + "/services", createService},
		{http.MethodGet, knativePath + "/services/{s}", getService},
		{http.MethodPut, knativePath + "/services/{s}", replaceService},
		{http.MethodDelete, knativePath + "/services/{s}", deleteService},
		{http.MethodGet, knativePath + "/revisions", listRevisions},
		{http.MethodGet, knativePath + "/revisions/{v}", getRevision},
		{http.MethodDelete, knativePath + "/revisions/{v}", deleteRevision},
		{http.MethodGet, knativePath + "/configurations/{s}", getService},
		{http.MethodGet, knativePath + "/routes/{s}", getService},
		{http.MethodGet, "projects/{p}/locations", locations},
		{http.MethodPost, "projects/{p}/locations/{l}/operations/{o}:wait", waitService},
		{http.MethodPost, "projects/{p}/locations/{l}/builds:submit", submitBuild},
	}}
}

const knativePath = "apis/serving.knative.dev/v1/" + knative

// region is the region that a call of Cloud Run is about.
func (r *request) region() string {
	if region := r.regionOf(r); region != "" {
		return region
	}
	return r.opts.Region
}

func (r *request) serviceKey(name string) string {
	return fmt.Sprintf("run/projects/%s/locations/%s/services/%s", r.opts.Project, r.region(), name)
}

func (r *request) revisionKey(name string) string {
	return fmt.Sprintf("run/projects/%s/locations/%s/revisions/%s", r.opts.Project, r.region(), name)
}

// isService tells the keys of services from those of revisions and policies.
func isService(key string) bool {
	_, ok := match("run/projects/{p}/locations/{l}/services/{s}", key)
	return ok && !strings.HasSuffix(key, policySuffix)
}

func listServices(r *request) (any, error) {
	found := []any{}
	region := r.regionOf(r)
	if l := r.vars["l"]; l != "" && l != "-" {
		region = l
	}
	for _, key := range r.state.keys("run/projects/" + r.opts.Project + "/locations/" + region) { // no region: all of them
		if isService(key) {
			found = append(found, r.state[key])
		}
	}
	return obj{"apiVersion": "serving.knative.dev/v1", "kind": "ServiceList", "metadata": obj{}, "items": found}, nil
}

func getService(r *request) (any, error) { return r.state.get(r.serviceKey(r.vars["s"])) }

func createService(r *request) (any, error) {
	name := text(r.body, "metadata", "name")
	if !serviceName.MatchString(name) {
		return nil, invalid("metadata.name: %q is not the name of a service", name)
	}
	key := r.serviceKey(name)
	if _, ok := r.state[key]; ok {
		return nil, exists(name)
	}
	return r.putService(key, r.body, nil)
}

func replaceService(r *request) (any, error) {
	key := r.serviceKey(r.vars["s"])
	before, err := r.state.get(key)
	if err != nil {
		return nil, err
	}
	if version := text(r.body, "metadata", "resourceVersion"); version != "" && version != text(before, "metadata", "resourceVersion") {
		return nil, aborted("Conflict for resource '%s': version '%s' was specified but current version is '%s'.", r.vars["s"], version, text(before, "metadata", "resourceVersion"))
	}
	return r.putService(key, r.body, before)
}

func deleteService(r *request) (any, error) {
	key := r.serviceKey(r.vars["s"])
	if err := r.state.remove(key); err != nil {
		return nil, err
	}
	for _, k := range r.state.keys(r.revisionKey("")) {
		if text(r.state[k], "metadata", "labels", "serving.knative.dev/service") == r.vars["s"] {
			delete(r.state, k)
		}
	}
	_ = r.state.remove(r.proxyKey(r.region(), r.vars["s"])) // nobody may have asked for it
	return obj{"kind": "Status", "apiVersion": "v1", "status": "Success"}, nil
}

func listRevisions(r *request) (any, error) {
	found := []any{}
	for _, key := range r.state.keys(r.revisionKey("")) {
		labels, _ := at(r.state[key], "metadata", "labels").(obj)
		matches := true
		for selector := range strings.SplitSeq(r.query.Get("labelSelector"), ",") {
			label, value, ok := strings.Cut(strings.ReplaceAll(selector, " ", ""), "=")
			if ok && text(labels, label) != strings.TrimPrefix(value, "=") {
				matches = false
			}
		}
		if matches {
			found = append([]any{r.state[key]}, found...) // newest first
		}
	}
	return obj{"apiVersion": "serving.knative.dev/v1", "kind": "RevisionList", "metadata": obj{}, "items": found}, nil
}

func getRevision(r *request) (any, error) { return r.state.get(r.revisionKey(r.vars["v"])) }

func deleteRevision(r *request) (any, error) {
	key := r.revisionKey(r.vars["v"])
	service := r.serviceKey(text(r.state[key], "metadata", "labels", "serving.knative.dev/service"))
	for _, target := range items(r.state[service], "status", "traffic") {
		if text(target, "revisionName") == r.vars["v"] {
			return nil, precondition("Revision %s is serving traffic or has a tag and cannot be deleted.", r.vars["v"])
		}
	}
	return obj{"kind": "Status", "apiVersion": "v1", "status": "Success"}, r.state.remove(key)
}

// waitService answers for the operation of a service that is not ready yet. Nothing here takes time: it has ended, well or not, and
// the service says which.
func waitService(r *request) (any, error) {
	for _, key := range r.state.keys("run/projects/" + r.opts.Project + "/locations/" + r.vars["l"]) {
		if isService(key) && text(r.state[key], "metadata", "annotations", "run.googleapis.com/operation-id") == r.vars["o"] {
			return obj{"name": r.name, "done": true, "response": with(r.state[key], obj{"@type": "type.googleapis.com/google.cloud.run.v1.Service"})}, nil
		}
	}
	return nil, notFound(r.name)
}

// submitBuild builds a service from its sources, as "gcloud run deploy --source" asks.
func submitBuild(r *request) (any, error) {
	source, _ := r.body["storageSource"].(obj)
	wanted := obj{"images": []any{r.body["imageUri"]}, "source": obj{"storageSource": source}}
	if account := text(r.body, "serviceAccount"); account != "" {
		wanted["serviceAccount"] = account
	}
	build, err := r.build(strings.TrimSuffix(r.name, "/builds")+"/builds", wanted)
	if err != nil {
		return nil, err
	}
	base := text(r.body, "buildpackBuild", "baseImageUri")
	if base == "" {
		base = r.region() + "-docker.pkg.dev/serverless-runtimes/google-22-full/runtimes/go126"
	}
	return obj{"baseImageUri": base, "buildOperation": r.buildOperation(build)}, nil
}
