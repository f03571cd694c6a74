package main

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"testing"
)

type object = map[string]any

// liveOf is what gcloud would print of a project that is as p says.
func liveOf(p *Plan) map[string]any {
	live := map[string]any{"project": object{"projectNumber": "123456789012"}}
	add := func(list string, resource object) {
		all, _ := live[list].([]any)
		live[list] = append(all, resource)
	}
	for _, name := range p.APIs {
		add("apis", object{"name": "projects/1/services/" + name, "state": "ENABLED"})
	}
	add("repositories", object{"name": p.full("locations", p.Region, "repositories", p.Prefix)})
	for _, a := range p.Accounts {
		add("accounts", object{"name": a.Email})
	}
	for _, s := range p.Secrets {
		add("secrets", object{"name": "projects/1/secrets/" + s.Name})
		add("versions-"+s.Name, object{"name": "projects/1/secrets/" + s.Name + "/versions/2", "state": "ENABLED"})
	}
	database := p.full("databases", "(default)")
	add("databases", object{"name": database, "type": "FIRESTORE_NATIVE", "locationId": p.Region, "deleteProtectionState": "DELETE_PROTECTION_ENABLED", "pointInTimeRecoveryEnablement": "POINT_IN_TIME_RECOVERY_ENABLED"})
	add("indexes", object{"name": database + "/collectionGroups/cases/indexes/a", "queryScope": "COLLECTION", "state": "READY",
		"fields": []any{object{"fieldPath": "shard", "order": "ASCENDING"}, object{"fieldPath": "due", "order": "DESCENDING"}, object{"fieldPath": "__name__", "order": "DESCENDING"}}})
	add("indexes", object{"name": database + "/collectionGroups/runs/indexes/b", "queryScope": "COLLECTION_GROUP", "state": "READY",
		"fields": []any{object{"fieldPath": "tags", "arrayConfig": "CONTAINS"}, object{"fieldPath": "at", "order": "ASCENDING"}, object{"fieldPath": "__name__", "order": "ASCENDING"}}})
	for _, ttl := range p.Firestore.TTLs {
		add("ttls", object{"name": database + "/collectionGroups/" + ttl.Group + "/fields/" + ttl.Path, "ttlConfig": object{"state": "ACTIVE"}})
	}
	add("fields", object{"name": database + "/collectionGroups/cases/fields/expire_at", "indexConfig": object{}})
	add("fields", object{"name": database + "/collectionGroups/cases/fields/at", "indexConfig": object{"indexes": []any{
		object{"queryScope": "COLLECTION", "fields": []any{object{"fieldPath": "at", "order": "ASCENDING"}}}}}})
	for _, name := range p.Topics {
		add("topics", object{"name": p.full("topics", name)})
	}
	for _, s := range p.Subscriptions {
		is := object{"name": p.full("subscriptions", s.Name), "topic": p.full("topics", s.Topic), "state": "ACTIVE", "ackDeadlineSeconds": s.AckDeadline,
			"messageRetentionDuration": s.Retention, "expirationPolicy": object{}, "retryPolicy": object{"minimumBackoff": s.MinBackoff, "maximumBackoff": s.MaxBackoff}}
		if s.Endpoint != "" {
			is["pushConfig"] = object{"pushEndpoint": s.Endpoint, "oidcToken": object{"serviceAccountEmail": s.Account, "audience": s.Audience}}
			is["deadLetterPolicy"] = object{"deadLetterTopic": p.full("topics", s.DeadLetter), "maxDeliveryAttempts": s.Attempts}
		}
		add("subscriptions", is)
	}
	for _, q := range p.Queues {
		add("queues", object{"name": p.full("locations", p.Region, "queues", q.Name), "state": "RUNNING",
			"rateLimits":  object{"maxDispatchesPerSecond": q.Rate, "maxConcurrentDispatches": q.Concurrency, "maxBurstSize": 100},
			"retryConfig": object{"maxAttempts": -1, "minBackoff": "1s", "maxBackoff": "60s", "maxDoublings": q.Doublings}, "stackdriverLoggingConfig": object{"samplingRatio": q.LogSampling}})
	}
	for _, s := range p.Services {
		add("services", liveServiceOf(s))
	}
	for _, policy := range p.Policies {
		var bindings []any
		for _, b := range policy.Bindings {
			bindings = append(bindings, object{"role": b.Role, "members": b.Members, "condition": b.Condition})
		}
		live["policy-"+policy.Kind+"-"+policy.Name] = object{"bindings": append(bindings, object{"role": "roles/other", "members": []any{"user:a@example.com"}}), "etag": "abc="}
	}
	add("jobs", object{"name": p.full("locations", p.Region, "jobs", p.Job.Name), "schedule": p.Job.Schedule, "timeZone": "Etc/UTC", "state": "ENABLED",
		"attemptDeadline": strconv.Itoa(p.Job.Deadline) + "s", "retryConfig": object{"retryCount": 3},
		"httpTarget": object{"uri": p.Job.URL + "/", "httpMethod": "POST", "oidcToken": object{"serviceAccountEmail": p.Job.Account, "audience": p.Job.URL}}})
	add("channels", object{"name": "projects/p/notificationChannels/7", "labels": object{"email_address": p.AlertEmail}, "userLabels": object{"casewatch": p.Prefix}, "enabled": true})
	add("metrics", object{"name": p.Metrics[0].Name, "description": "x " + p.Metrics[0].mark()})
	add("alerts", object{"name": "projects/p/alertPolicies/8", "enabled": true, "notificationChannels": p.Channels,
		"userLabels": object{"casewatch": p.Prefix, "casewatch-file": "leaked", "casewatch-spec": p.Alerts[0].Spec}})
	add("dashboards", object{"name": "projects/p/dashboards/9", "labels": object{"casewatch": p.Prefix, "casewatch-spec": p.Dashboards[0].Spec}})
	return live
}

func liveServiceOf(s Service) object {
	var env []any
	for name, value := range s.Env {
		env = append(env, object{"name": name, "value": value})
	}
	for name, ref := range s.Secrets {
		env = append(env, object{"name": name, "valueFrom": object{"secretKeyRef": object{"name": ref.Name, "key": ref.Version}}})
	}
	revision := s.Name + "-00001-abc"
	annotations := object{"run.googleapis.com/ingress": s.Ingress}
	if s.IAP {
		annotations["run.googleapis.com/iap-enabled"] = "true"
	}
	return object{
		"metadata": object{"name": s.Name, "labels": object{"casewatch-spec": s.Spec}, "annotations": annotations},
		"spec": object{"template": object{
			"metadata": object{"annotations": object{"autoscaling.knative.dev/minScale": strconv.Itoa(s.Min), "autoscaling.knative.dev/maxScale": strconv.Itoa(s.Max)}},
			"spec": object{"containerConcurrency": s.Concurrency, "timeoutSeconds": s.Timeout, "serviceAccountName": s.Account,
				"containers": []any{object{"image": s.Image, "env": env, "resources": object{"limits": object{"memory": s.Memory, "cpu": s.CPU}}}}}}},
		"status": object{"latestReadyRevisionName": revision, "latestCreatedRevisionName": revision,
			"traffic": []any{object{"revisionName": revision, "percent": 100}}, "conditions": []any{object{"type": "Ready", "status": "True"}}},
	}
}

// stateOf writes what is live into a folder.
func stateOf(t *testing.T, live map[string]any, image string) *state {
	t.Helper()
	dir := t.TempDir()
	for name, what := range live {
		data, err := json.Marshal(what)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name+".json"), string(data))
	}
	return &state{folder: dir, image: image}
}
