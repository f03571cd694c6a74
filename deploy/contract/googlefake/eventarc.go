package googlefake

import "net/http"

func eventarcAPI() *api {
	create := func(r *request) (any, error) {
		key := r.key() + "/" + r.query.Get("triggerId")
		if err := r.actAs(last(text(r.body, "serviceAccount"))); err != nil {
			return nil, err
		}
		trigger, err := r.state.create(key, defaults(clone(with(r.body, obj{"name": nameOf(key), "createTime": r.now()})), obj{"transport": obj{"pubsub": obj{
			"topic":        "projects/" + r.opts.Project + "/topics/eventarc-" + last(key),
			"subscription": "projects/" + r.opts.Project + "/subscriptions/eventarc-" + r.vars["l"] + "-" + last(key) + "-sub-000",
		}}}))
		if err != nil {
			return nil, err
		}
		return r.done(location(r.name), trigger, "google.cloud.eventarc.v1.Trigger"), nil
	}
	remove := func(r *request) (any, error) {
		trigger, err := r.state.get(r.key())
		if err != nil {
			return nil, err
		}
		return r.done(location(r.name), trigger, "google.cloud.eventarc.v1.Trigger"), r.state.remove(r.key())
	}
	const triggers = "projects/{p}/locations/{l}/triggers"
	return &api{service: "eventarc.googleapis.com", routes: []route{
		{http.MethodGet, triggers, func(r *request) (any, error) { return obj{"triggers": r.state.list(r.key())}, nil }},
		{http.MethodPost, triggers, create},
		{http.MethodGet, triggers + "/{t}", func(r *request) (any, error) { return r.state.get(r.key()) }},
		{http.MethodDelete, triggers + "/{t}", remove},
	}}
}
