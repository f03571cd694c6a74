package googlefake

import "net/http"

// loggingAPI has metrics made of logs, and a log that holds what was put there as "entries/...".
func loggingAPI() *api {
	const metrics = "projects/{p}/metrics"
	get := func(r *request) (any, error) { return r.state.get(r.key()) }
	create := func(r *request) (any, error) {
		metric, err := r.checkMetric(r.body)
		if err != nil {
			return nil, err
		}
		return r.state.create(r.key()+"/"+idOf(text(metric, "name")), with(metric, obj{"createTime": r.now(), "updateTime": r.now()}))
	}
	update := func(r *request) (any, error) { // which makes it, too
		metric, err := r.checkMetric(r.body)
		if err != nil {
			return nil, err
		}
		created := text(r.state[r.key()], "createTime")
		if created == "" {
			created = r.now()
		}
		r.state[r.key()] = with(metric, obj{"name": unescape(last(r.name)), "createTime": created, "updateTime": r.now()})
		return r.state[r.key()], nil
	}
	entries := func(r *request) (any, error) {
		return obj{"entries": r.state.list("logging/projects/" + r.opts.Project + "/entries")}, nil
	}
	return &api{service: "logging.googleapis.com", routes: []route{
		{http.MethodGet, metrics, func(r *request) (any, error) { return obj{"metrics": r.state.list(r.key())}, nil }},
		{http.MethodPost, metrics, create},
		{http.MethodGet, metrics + "/{m}", get},
		{http.MethodPut, metrics + "/{m}", update},
		{http.MethodDelete, metrics + "/{m}", func(r *request) (any, error) { return obj{}, r.state.remove(r.key()) }},
		{http.MethodPost, "entries:list", entries},
	}}
}

// checkMetric fills in what the API does. A distribution needs a value, and a label its extractor.
func (r *request) checkMetric(wanted obj) (obj, error) {
	metric := clone(wanted)
	if text(metric, "filter") == "" {
		return nil, invalid("A metric needs a filter.")
	}
	if text(metric, "metricDescriptor", "valueType") == "DISTRIBUTION" && text(metric, "valueExtractor") == "" {
		return nil, invalid("A metric of distributions needs a value extractor.")
	}
	extractors, _ := metric["labelExtractors"].(obj)
	for _, label := range items(metric, "metricDescriptor", "labels") {
		if _, ok := extractors[text(label, "key")]; !ok {
			return nil, invalid("Label %s has no extractor.", text(label, "key"))
		}
	}
	return defaults(metric, obj{"metricDescriptor": obj{
		"metricKind": "DELTA", "valueType": "INT64", "unit": "1", "type": "logging.googleapis.com/user/" + text(metric, "name"),
		"name": "projects/" + r.opts.Project + "/metricDescriptors/logging.googleapis.com/user/" + text(metric, "name"),
	}}), nil
}
