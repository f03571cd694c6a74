package googlefake

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

func (f *Fake) projectKey() string { return "cloudresourcemanager/projects/" + f.opts.Project }

// foundProject makes what a new project has: its owner, and the APIs that Google enables in all of them
// (https://cloud.google.com/service-usage/docs/enabled-service#default).
func (f *Fake) foundProject() {
	f.state[f.projectKey()] = obj{
		"projectId": f.opts.Project, "projectNumber": f.opts.Number, "lifecycleState": "ACTIVE", "name": f.opts.Project, "createTime": f.now(),
	}
	f.state[f.projectKey()+policySuffix] = obj{"version": 1, "bindings": []any{
		obj{"role": "roles/owner", "members": []any{"user:owner@example.com"}},
	}}
	for _, service := range []string{
		"bigquery", "cloudapis", "cloudtrace", "datastore", "logging", "monitoring", "servicemanagement", "serviceusage", "sql-component", "storage-api", "storage-component", "storage",
	} {
		f.enable(service + ".googleapis.com")
	}
	if f.opts.AllServices {
		for _, service := range services {
			f.enable(service + ".googleapis.com")
		}
	}
}

// services are the services that a project may enable, besides those that it begins with. Google knows hundreds; these are what a set of functions
// may need, so that a misspelt one is found.
var services = []string{
	"artifactregistry", "cloudbuild", "cloudfunctions", "cloudresourcemanager", "cloudscheduler", "cloudtasks", "compute", "containeranalysis",
	"containerscanning", "eventarc", "firebase", "firestore", "iam", "iamcredentials", "iap", "identitytoolkit", "pubsub", "run", "secretmanager",
	"servicenetworking", "sqladmin", "sts", "vpcaccess", "workflows",
}

// known refuses a service that does not exist, with the words of Google's.
func (f *Fake) known(service string) error {
	_, enabled := f.state["serviceusage/projects/"+f.opts.Project+"/services/"+service]
	if id, ok := strings.CutSuffix(service, ".googleapis.com"); enabled || ok && slices.Contains(services, id) {
		return nil
	}
	return denied("Not found or permission denied for service(s): %s.", service)
}

func resourceManagerAPI() *api {
	describe := func(r *request) (any, error) {
		project, err := r.state.get(r.key())
		if err != nil || !strings.HasPrefix(r.path, "v3/") {
			return project, err
		}
		return obj{"name": "projects/" + r.opts.Number, "projectId": r.opts.Project, "state": "ACTIVE", "displayName": r.opts.Project}, nil
	}
	return &api{policies: true, routes: []route{{http.MethodGet, "projects/{p}", describe}}}
}

func serviceUsageAPI() *api {
	name := func(r *request, id string) string { return "projects/" + r.vars["p"] + "/services/" + id }
	enabled := func(r *request, id string) obj {
		if service, ok := r.state["serviceusage/"+name(r, id)]; ok {
			return service
		}
		return obj{"name": name(r, id), "state": "DISABLED", "config": obj{"name": id}, "parent": "projects/" + r.opts.Number}
	}
	enable := func(r *request) (any, error) {
		if err := r.known(r.vars["s"]); err != nil {
			return nil, err
		}
		return r.done("", obj{"service": r.enable(r.vars["s"])}, "google.api.serviceusage.v1.EnableServiceResponse"), nil
	}
	batchEnable := func(r *request) (any, error) {
		var made []any
		for _, id := range items(r.body, "serviceIds") { // all of them, or none
			service, _ := id.(string)
			if err := r.known(service); err != nil {
				return nil, err
			}
		}
		for _, id := range items(r.body, "serviceIds") {
			service, _ := id.(string)
			made = append(made, r.enable(service))
		}
		return r.done("", obj{"services": made}, "google.api.serviceusage.v1.BatchEnableServicesResponse"), nil
	}
	disable := func(r *request) (any, error) {
		delete(r.state, r.key())
		return r.done("", obj{}, "google.api.serviceusage.v1.DisableServiceResponse"), nil
	}
	list := func(r *request) (any, error) {
		return obj{"services": r.state.list("serviceusage/projects/" + r.vars["p"] + "/services")}, nil
	}
	batchGet := func(r *request) (any, error) {
		found := []any{}
		for _, full := range r.query["names"] {
			found = append(found, enabled(r, last(full)))
		}
		return obj{"services": found}, nil
	}
	// The account that a Google service acts as: https://cloud.google.com/iam/docs/service-agents.
	identity := func(r *request) (any, error) {
		id := strings.TrimSuffix(r.vars["s"], ".googleapis.com")
		email := r.agent(id)
		r.agents[email] = true
		return r.done("", obj{"email": email, "uniqueId": "1" + r.opts.Number + id}, "google.api.serviceusage.v1beta1.ServiceIdentity"), nil
	}
	return &api{routes: []route{
		{http.MethodPost, "projects/{p}/services/{s}:enable", enable},
		{http.MethodPost, "projects/{p}/services/{s}:disable", disable},
		{http.MethodPost, "projects/{p}/services:batchEnable", batchEnable},
		{http.MethodGet, "projects/{p}/services:batchGet", batchGet},
		{http.MethodGet, "projects/{p}/services/{s}", func(r *request) (any, error) { return enabled(r, r.vars["s"]), nil }},
		{http.MethodGet, "projects/{p}/services", list},
		{http.MethodPost, "projects/{p}/services/{s}:generateServiceIdentity", identity},
	}}
}

// agentDomains are the accounts of services that are not named service-NUMBER@gcp-sa-SERVICE.
var agentDomains = map[string]string{
	"run": "serverless-robot-prod", "artifactregistry": "gcp-sa-artifactregistry", "cloudfunctions": "gcf-admin-robot", "sqladmin": "gcp-sa-cloud-sql",
	"firestore": "gcp-sa-firestore", "monitoring": "gcp-sa-monitoring-notification",
}

func (f *Fake) agent(service string) string {
	domain := agentDomains[service]
	if domain == "" {
		domain = "gcp-sa-" + service
	}
	return fmt.Sprintf("service-%s@%s.iam.gserviceaccount.com", f.opts.Number, domain)
}

// lazy are the services whose agent is made on its first use only, not when they are enabled: until then it cannot be given anything.
var lazy = []string{"iap", "pubsub", "secretmanager", "sqladmin"}

// enable enables a service, with its agent. Those that run code bring the default account of Compute Engine.
func (f *Fake) enable(service string) obj {
	key := "serviceusage/projects/" + f.opts.Project + "/services/" + service
	if have, ok := f.state[key]; ok {
		return have
	}
	f.state[key] = obj{"name": nameOf(key), "state": "ENABLED", "config": obj{"name": service, "title": service}, "parent": "projects/" + f.opts.Number}
	id := strings.TrimSuffix(service, ".googleapis.com")
	if !slices.Contains(lazy, id) {
		email := f.agent(id)
		f.agents[email] = true
	}
	if slices.Contains([]string{"run", "cloudbuild", "compute", "cloudfunctions"}, id) {
		email := f.opts.Number + "-compute@developer.gserviceaccount.com"
		account := "iam/projects/" + f.opts.Project + "/serviceAccounts/" + email
		f.state[account] = obj{"name": nameOf(account), "email": email, "projectId": f.opts.Project, "uniqueId": "1" + f.opts.Number, "displayName": "Default compute service account"}
	}
	return f.state[key]
}

// enabled refuses calls of an API that the project has not enabled, as Google does.
func (f *Fake) enabled(a *api) error {
	if a.service == "" {
		return nil
	}
	if _, ok := f.state["serviceusage/projects/"+f.opts.Project+"/services/"+a.service]; ok {
		return nil
	}
	return &apiError{
		code: http.StatusForbidden, status: "PERMISSION_DENIED",
		message: fmt.Sprintf("%s API has not been used in project %s before or it is disabled.", a.service, f.opts.Project),
		details: []any{obj{
			"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED", "domain": "googleapis.com",
			"metadata": obj{"service": a.service, "consumer": "projects/" + f.opts.Number},
		}},
	}
}

// ours refuses calls about any other project, and has its number stand for its id.
func (f *Fake) ours(r *request) error {
	parts := strings.SplitN(r.name, "/", 3)
	if len(parts) < 2 || parts[0] != "projects" {
		return nil
	}
	switch parts[1] {
	case f.opts.Project, "-", "_":
		return nil
	case f.opts.Number:
		parts[1] = f.opts.Project
		r.name = strings.Join(parts, "/")
		return nil
	}
	return denied("Permission denied on resource project %s (or it may not exist).", parts[1])
}
