package googlefake

import (
	"net/http"
	"strconv"
	"strings"
)

// pubsubAPI has topics and subscriptions, not messages:
// https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.subscriptions.
func pubsubAPI() *api {
	get := func(r *request) (any, error) { return r.state.get(r.key()) }
	list := func(field string) func(*request) (any, error) {
		return func(r *request) (any, error) { return obj{field: r.state.list(r.key())}, nil }
	}
	createTopic := func(r *request) (any, error) {
		return r.state.create(r.key(), with(r.body, obj{"name": r.name}))
	}
	updateTopic := func(r *request) (any, error) {
		topic, err := r.state.get(r.key())
		if err == nil {
			wanted, _ := r.body["topic"].(obj)
			patch(topic, wanted, text(r.body, "updateMask"))
		}
		return topic, err
	}
	deleteTopic := func(r *request) (any, error) {
		for _, key := range r.state.keys("pubsub/projects/" + r.vars["p"] + "/subscriptions/") {
			if text(r.state[key], "topic") == r.name {
				r.state[key]["topic"] = "_deleted-topic_"
			}
		}
		return obj{}, r.state.remove(r.key())
	}
	createSubscription := func(r *request) (any, error) {
		subscription := clone(with(r.body, obj{"name": r.name}))
		if len(last(r.name)) < 3 {
			return nil, invalid("Invalid [subscriptions] name: %s", r.name)
		}
		if err := r.checkSubscription(subscription); err != nil {
			return nil, err
		}
		defaults(subscription, obj{"ackDeadlineSeconds": 10, "messageRetentionDuration": "604800s", "pushConfig": obj{}, "state": "ACTIVE"})
		if _, ok := subscription["expirationPolicy"]; !ok {
			subscription["expirationPolicy"] = obj{"ttl": "2678400s"}
		}
		return r.state.create(r.key(), subscription)
	}
	updateSubscription := func(r *request) (any, error) {
		subscription, err := r.state.get(r.key())
		if err != nil {
			return nil, err
		}
		wanted, _ := r.body["subscription"].(obj)
		changed := clone(subscription)
		patch(changed, wanted, text(r.body, "updateMask"))
		if err := r.checkSubscription(changed); err != nil {
			return nil, err
		}
		r.state[r.key()] = changed
		return changed, nil
	}
	modifyPush := func(r *request) (any, error) {
		subscription, err := r.state.get(r.key())
		if err == nil {
			subscription["pushConfig"] = r.body["pushConfig"]
		}
		return obj{}, err
	}
	publish := func(r *request) (any, error) {
		if _, err := r.state.get(r.key()); err != nil {
			return nil, err
		}
		ids := []any{}
		for range items(r.body, "messages") {
			ids = append(ids, strconv.Itoa(r.next("message")))
		}
		return obj{"messageIds": ids}, nil
	}
	const topic, subscription = "projects/{p}/topics/{t}", "projects/{p}/subscriptions/{s}"
	return &api{service: "pubsub.googleapis.com", policies: true, routes: []route{
		{http.MethodGet, "projects/{p}/topics", list("topics")},
		{http.MethodPut, topic, createTopic},
		{http.MethodGet, topic, get},
		{http.MethodPatch, topic, updateTopic},
		{http.MethodDelete, topic, deleteTopic},
		{http.MethodPost, topic + ":publish", publish},
		{http.MethodGet, "projects/{p}/subscriptions", list("subscriptions")},
		{http.MethodPut, subscription, createSubscription},
		{http.MethodGet, subscription, get},
		{http.MethodPatch, subscription, updateSubscription},
		{http.MethodDelete, subscription, func(r *request) (any, error) { return obj{}, r.state.remove(r.key()) }},
		{http.MethodPost, subscription + ":modifyPushConfig", modifyPush},
	}}
}

// checkSubscription refuses topics and accounts that do not exist, and what is out of bounds.
func (r *request) checkSubscription(s obj) error {
	for _, topic := range []string{text(s, "topic"), text(s, "deadLetterPolicy", "deadLetterTopic")} {
		if _, ok := r.state["pubsub/"+topic]; topic != "" && topic != "_deleted-topic_" && !ok {
			return &apiError{code: http.StatusNotFound, status: "NOT_FOUND", message: "Resource not found (resource=" + last(topic) + ")."}
		}
	}
	if err := r.actAs(text(s, "pushConfig", "oidcToken", "serviceAccountEmail")); err != nil {
		return err
	}
	if endpoint := text(s, "pushConfig", "pushEndpoint"); endpoint != "" && !strings.HasPrefix(endpoint, "https://") && !strings.HasPrefix(endpoint, "http://127.0.0.1") {
		return invalid("Invalid push endpoint given (endpoint=%s). The push endpoint must use HTTPS.", endpoint)
	}
	if n, ok := s["ackDeadlineSeconds"].(float64); ok && n != 0 && (n < 10 || n > 600) {
		return invalid("Invalid ack deadline given (ack_deadline_secs=%v). The value must be between 10 and 600.", n)
	}
	if n, ok := at(s, "deadLetterPolicy", "maxDeliveryAttempts").(float64); ok && (n < 5 || n > 100) {
		return invalid("Invalid maximum delivery attempts (max_delivery_attempts=%v). The value must be between 5 and 100.", n)
	}
	return nil
}
