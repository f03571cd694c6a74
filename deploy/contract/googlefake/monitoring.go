package googlefake

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"regexp"
)

// monitored is a kind of thing that Cloud Monitoring keeps.
type monitored struct {
	collection string
	// check refuses what the API refuses.
	check func(r *request, wanted obj) error
	// etag says that an update must name the version that it replaces.
	etag bool
}

// monitoringAPI has alert policies, notification channels and dashboards, not time series.
func monitoringAPI() *api {
	a := &api{service: "monitoring.googleapis.com"}
	for _, m := range []monitored{
		{collection: "alertPolicies", check: checkPolicy},
		{collection: "notificationChannels", check: checkChannel},
		{collection: "dashboards", check: checkDashboard, etag: true},
	} {
		all := "projects/{p}/" + m.collection
		a.routes = append(a.routes,
			route{http.MethodGet, all, func(r *request) (any, error) { return obj{m.collection: r.state.list(r.key())}, nil }},
			route{http.MethodPost, all, m.create},
			route{http.MethodGet, all + "/{id}", func(r *request) (any, error) { return r.state.get(r.key()) }},
			route{http.MethodPatch, all + "/{id}", m.update},
			route{http.MethodDelete, all + "/{id}", m.remove},
		)
	}
	return a
}

func (m monitored) create(r *request) (any, error) {
	if err := m.check(r, r.body); err != nil {
		return nil, err
	}
	// The number comes of the name, so that it is the same whatever was made before.
	sum := fnv.New32a()
	title := text(r.body, "displayName")
	_, _ = fmt.Fprint(sum, title, r.next(r.key()+title))
	key := fmt.Sprintf("%s/%d", r.key(), sum.Sum32())
	return m.keep(r, key, clone(r.body)), nil
}

func (m monitored) update(r *request) (any, error) {
	have, err := r.state.get(r.key())
	if err != nil {
		return nil, err
	}
	if sent := text(r.body, "etag"); m.etag && sent != text(have, "etag") {
		if sent == "" {
			return nil, invalid("Update Dashboard should specify a non empty etag.")
		}
		return nil, aborted("The etag of the dashboard is not the latest.")
	}
	changed := clone(r.body)
	if mask := r.query.Get("updateMask"); mask != "" {
		changed = clone(have)
		patch(changed, r.body, mask)
	}
	if err := m.check(r, changed); err != nil {
		return nil, err
	}
	return m.keep(r, r.key(), changed), nil
}

// keep stores what was made or changed, with the names and versions that the API gives.
func (m monitored) keep(r *request, key string, made obj) obj {
	made["name"] = nameOf(key)
	for i, c := range items(made, "conditions") {
		if condition, ok := c.(obj); ok && text(condition, "name") == "" {
			condition["name"] = fmt.Sprintf("%s/conditions/%d", nameOf(key), i+1)
		}
	}
	if m.etag {
		made["etag"] = fmt.Sprintf("%032x", r.next("etag"))
	}
	r.state[key] = made
	return made
}

// remove deletes a policy, channel or dashboard. A channel that a policy names is refused unless force is said.
func (m monitored) remove(r *request) (any, error) {
	for _, key := range r.state.keys("monitoring/projects/" + r.vars["p"] + "/alertPolicies/") {
		channels := items(r.state[key], "notificationChannels")
		left := []any{}
		for _, channel := range channels {
			if channel != r.name {
				left = append(left, channel)
			}
		}
		if len(left) == len(channels) {
			continue
		}
		if r.query.Get("force") != "True" && r.query.Get("force") != "true" {
			return nil, precondition("Notification channel %s is in use by %s.", r.name, nameOf(key))
		}
		r.state[key]["notificationChannels"] = left
	}
	return obj{}, r.state.remove(r.key())
}

// userMetric finds the log-based metrics that a filter is about.
var userMetric = regexp.MustCompile(`logging\.googleapis\.com/user/([^"'\s]+)`)

// checkPolicy refuses a policy without a condition, and one about a channel or a log-based metric that does not exist.
func checkPolicy(r *request, policy obj) error {
	if text(policy, "displayName") == "" || len(items(policy, "conditions")) == 0 || text(policy, "combiner") == "" {
		return invalid("Field alert_policy had an invalid value: display_name, combiner and conditions are required.")
	}
	for _, c := range items(policy, "notificationChannels") {
		name, _ := c.(string)
		if _, err := r.state.get("monitoring/" + name); err != nil {
			return err
		}
	}
	for _, condition := range items(policy, "conditions") {
		for _, kind := range []string{"conditionThreshold", "conditionAbsent"} {
			for _, m := range userMetric.FindAllStringSubmatch(text(condition, kind, "filter"), -1) {
				if _, ok := r.state["logging/projects/"+r.opts.Project+"/metrics/"+idOf(m[1])]; !ok {
					return &apiError{code: http.StatusNotFound, status: "NOT_FOUND", message: fmt.Sprintf(
						"Cannot find metric that matches type = %q. If a metric was created recently, it could take up to 10 minutes to become available. Please try again soon.", m[0])}
				}
			}
		}
	}
	return nil
}

func checkChannel(_ *request, channel obj) error {
	if text(channel, "type") == "" {
		return invalid("Field notification_channel.type had an invalid value: it is required.")
	}
	return nil
}

func checkDashboard(_ *request, dashboard obj) error {
	if text(dashboard, "displayName") == "" {
		return invalid("Field dashboard.display_name had an invalid value: it is required.")
	}
	return nil
}
