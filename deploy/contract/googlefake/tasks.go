package googlefake

import (
	"net/http"
	"regexp"
	"strings"
)

var queueID = regexp.MustCompile(`^[A-Za-z0-9-]{1,100}$`)

// tasksAPI has queues only: tasks are another server's matter. The bounds are those of
// https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.
func tasksAPI() *api {
	list := func(r *request) (any, error) { return obj{"queues": r.state.list(r.key())}, nil }
	get := func(r *request) (any, error) { return r.state.get(r.key()) }
	create := func(r *request) (any, error) {
		name := text(r.body, "name")
		if !strings.HasPrefix(name, r.name+"/") || !queueID.MatchString(last(name)) {
			return nil, invalid("Invalid queue name %q", name)
		}
		if r.retired[name] {
			return nil, precondition("The queue cannot be created because a queue with this name existed too recently.")
		}
		queue := r.queueDefaults(clone(r.body))
		if err := checkQueue(queue); err != nil {
			return nil, err
		}
		return r.state.create("cloudtasks/"+name, queue)
	}
	update := func(r *request) (any, error) {
		queue, err := r.state.get(r.key())
		if err != nil {
			return nil, err
		}
		changed := clone(queue)
		patch(changed, r.body, r.query.Get("updateMask"))
		r.queueDefaults(changed)
		changed["name"] = r.name
		if err := checkQueue(changed); err != nil {
			return nil, err
		}
		r.state[r.key()] = changed
		return changed, nil
	}
	remove := func(r *request) (any, error) {
		if err := r.state.remove(r.key()); err != nil {
			return nil, err
		}
		r.retired[r.name] = true // for three days, says the API's reference
		return obj{}, nil
	}
	set := func(state string) func(*request) (any, error) {
		return func(r *request) (any, error) {
			queue, err := r.state.get(r.key())
			if err == nil && state != "" {
				queue["state"] = state
			}
			return queue, err
		}
	}
	const queue = "projects/{p}/locations/{l}/queues/{q}"
	return &api{service: "cloudtasks.googleapis.com", policies: true, routes: []route{
		{http.MethodGet, "projects/{p}/locations/{l}/queues", list},
		{http.MethodPost, "projects/{p}/locations/{l}/queues", create},
		{http.MethodGet, queue, get},
		{http.MethodPatch, queue, update},
		{http.MethodDelete, queue, remove},
		{http.MethodPost, queue + ":pause", set("PAUSED")},
		{http.MethodPost, queue + ":resume", set("RUNNING")},
		{http.MethodPost, queue + ":purge", set("")},
		{http.MethodGet, queue + "/tasks", func(r *request) (any, error) { return obj{"tasks": r.state.list(r.key())}, nil }},
	}}
}

func (r *request) queueDefaults(queue obj) obj {
	return defaults(queue, obj{
		"state": "RUNNING", "rateLimits": obj{"maxDispatchesPerSecond": 500.0, "maxBurstSize": 100, "maxConcurrentDispatches": 1000},
		"retryConfig": obj{"maxAttempts": 100, "minBackoff": "0.100s", "maxBackoff": "3600s", "maxDoublings": 16},
	})
}

func checkQueue(queue obj) error {
	if rate, _ := at(queue, "rateLimits", "maxDispatchesPerSecond").(float64); rate <= 0 || rate > 500 {
		return invalid("Queue.rateLimits.maxDispatchesPerSecond must be above 0 and at most 500")
	}
	if n, ok := at(queue, "rateLimits", "maxConcurrentDispatches").(float64); ok && (n < 1 || n > 5000) {
		return invalid("Queue.rateLimits.maxConcurrentDispatches must be between 1 and 5000")
	}
	return nil
}
