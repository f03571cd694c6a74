package googlefake

import "net/http"

func schedulerAPI() *api {
	list := func(r *request) (any, error) { return obj{"jobs": r.state.list(r.key())}, nil }
	get := func(r *request) (any, error) { return r.state.get(r.key()) }
	create := func(r *request) (any, error) {
		job := clone(with(r.body, obj{"state": "ENABLED", "userUpdateTime": r.now()}))
		if err := r.actAs(text(job, "httpTarget", "oidcToken", "serviceAccountEmail")); err != nil {
			return nil, err
		}
		defaults(job, obj{"timeZone": "Etc/UTC", "attemptDeadline": "180s"})
		return r.state.create("cloudscheduler/"+text(job, "name"), job)
	}
	update := func(r *request) (any, error) {
		job, err := r.state.get(r.key())
		if err != nil {
			return nil, err
		}
		if err := r.actAs(text(r.body, "httpTarget", "oidcToken", "serviceAccountEmail")); err != nil {
			return nil, err
		}
		patch(job, r.body, r.query.Get("updateMask"))
		job["name"], job["userUpdateTime"] = r.name, r.now()
		return job, nil
	}
	set := func(state string) func(*request) (any, error) {
		return func(r *request) (any, error) {
			job, err := r.state.get(r.key())
			if err == nil && state != "" {
				job["state"] = state
			}
			return job, err
		}
	}
	const job = "projects/{p}/locations/{l}/jobs/{j}"
	return &api{service: "cloudscheduler.googleapis.com", routes: []route{
		{http.MethodGet, "projects/{p}/locations/{l}/jobs", list},
		{http.MethodPost, "projects/{p}/locations/{l}/jobs", create},
		{http.MethodGet, job, get},
		{http.MethodPatch, job, update},
		{http.MethodDelete, job, func(r *request) (any, error) { return obj{}, r.state.remove(r.key()) }},
		{http.MethodPost, job + ":pause", set("PAUSED")},
		{http.MethodPost, job + ":resume", set("ENABLED")},
		{http.MethodPost, job + ":run", set("")},
	}}
}
