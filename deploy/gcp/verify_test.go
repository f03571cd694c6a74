package gcp_test

import (
	"maps"
	"strings"
	"testing"
)

// TestVerifyFindsDifferences plants differences between what is live and the files. verify.sh has
// to report each of them. A deployment corrects them, except for those that an operator may have
// made on purpose.
func TestVerifyFindsDifferences(t *testing.T) {
	t.Parallel()
	p := deployedProject(t)
	template := func(live object, function string) object {
		return at(live["run services casewatch-"+function], "spec", "template")
	}
	container := func(live object, function string) object {
		return at(template(live, function), "spec", "containers", 0)
	}
	variable := func(live object, function, name string) object {
		for _, v := range container(live, function)["env"].([]any) {
			if v := v.(object); v["name"] == name {
				return v
			}
		}
		t.Fatalf("%s has no %s", function, name)
		return nil
	}
	planted := []struct {
		want  string
		plant func(live object) // nil: an earlier one leads to this line too
	}{
		{
			"service casewatch-check: spec.template.spec.containers[0].env.CHECK_URL.value is http://localhost:8000, " +
				"should be https://casewatch-check-",
			func(live object) { variable(live, "check", "CHECK_URL")["value"] = "http://localhost:8000" },
		},
		{"service casewatch-check: CHECK_URL is http://localhost:8000, a loopback address", nil},
		{
			"service casewatch-start: spec.template.spec.containers[0].env.DEBUG is there, should not be",
			func(live object) {
				c := container(live, "start")
				c["env"] = append(c["env"].([]any), object{"name": "DEBUG", "value": "1"})
			},
		},
		{
			"service casewatch-status: spec.template.spec.containerConcurrency is 1, should be 500",
			func(live object) { at(template(live, "status"), "spec")["containerConcurrency"] = 1.0 },
		},
		{
			"service casewatch-cancel: spec.template.spec.serviceAccountName is other@example.com",
			func(live object) { at(template(live, "cancel"), "spec")["serviceAccountName"] = "other@example.com" },
		},
		{
			"service casewatch-dispatch: metadata.annotations.run.googleapis.com/invoker-iam-disabled is true, " +
				"should be not set",
			func(live object) {
				annotations := at(live["run services casewatch-dispatch"], "metadata", "annotations")
				annotations["run.googleapis.com/invoker-iam-disabled"] = "True"
			},
		},
		{
			"service casewatch-console: casewatch-console-00000 has all of the traffic, should be the newest, " +
				"casewatch-console-",
			func(live object) {
				traffic := at(live["run services casewatch-console"], "status")["traffic"].([]any)
				traffic[0].(object)["revisionName"] = "casewatch-console-00000"
			},
		},
		{
			"service casewatch-complete: has a candidate, casewatch-complete-99999, that was not promoted",
			func(live object) {
				status := at(live["run services casewatch-complete"], "status")
				candidate := object{"tag": "candidate", "revisionName": "casewatch-complete-99999"}
				status["traffic"] = append(status["traffic"].([]any), candidate)
			},
		},
		{
			"policy of service casewatch-sweep: roles/run.invoker allUsers is granted, should not be",
			func(live object) {
				binding := at(live["policy run services casewatch-sweep"], "bindings", 0)
				binding["members"] = append(binding["members"].([]any), "allUsers")
			},
		},
		{
			"policy of queue casewatch-check: roles/cloudtasks.viewer " +
				"serviceAccount:casewatch-sweep@demo-p.iam.gserviceaccount.com is not granted",
			func(live object) { live["policy tasks queues casewatch-check"] = object{"bindings": []any{}} },
		},
		{
			"queue casewatch-dispatch: rateLimits.maxConcurrentDispatches is 1000, should be 20",
			func(live object) {
				at(live["tasks queues casewatch-dispatch"], "rateLimits")["maxConcurrentDispatches"] = 1000.0
			},
		},
		{
			"queue casewatch-check: state is PAUSED, should be RUNNING",
			func(live object) { live["tasks queues casewatch-check"].(object)["state"] = "PAUSED" },
		},
		{
			"field runs.expire_at: should be --enable-ttl",
			func(live object) { delete(find(live, "/runs/fields/expire_at"), "ttlConfig") },
		},
		{
			"field runs.state: should be --index=order=ascending",
			func(live object) { delete(find(live, "/runs/fields/state"), "indexConfig") },
		},
		{
			"index runs(case_key ASCENDING, run ASCENDING): is not there",
			func(live object) {
				maps.DeleteFunc(live, func(name string, o any) bool {
					return strings.Contains(name, "indexes composite") && len(o.(object)["fields"].([]any)) == 3
				})
			},
		},
		{
			"database casewatch-cases: pointInTimeRecoveryEnablement is POINT_IN_TIME_RECOVERY_DISABLED",
			func(live object) {
				database := live["firestore databases casewatch-cases"].(object)
				database["pointInTimeRecoveryEnablement"] = "POINT_IN_TIME_RECOVERY_DISABLED"
			},
		},
		{
			"subscription casewatch-complete: pushConfig.oidcToken.audience is https://other.example.com",
			func(live object) {
				token := at(live["pubsub subscriptions casewatch-complete"], "pushConfig", "oidcToken")
				token["audience"] = "https://other.example.com"
			},
		},
		{
			"subscription casewatch-complete: deadLetterPolicy.deadLetterTopic is not set",
			func(live object) {
				delete(live["pubsub subscriptions casewatch-complete"].(object), "deadLetterPolicy")
			},
		},
		{
			"job casewatch-sweep: schedule is 0 0 * * *, should be */2 * * * *",
			func(live object) { live["scheduler jobs casewatch-sweep"].(object)["schedule"] = "0 0 * * *" },
		},
		{
			"metric casewatch-sweep-leaked: filter is severity>=ERROR",
			func(live object) {
				live["logging metrics casewatch-sweep-leaked"].(object)["filter"] = "severity>=ERROR"
			},
		},
		{"alert leaked: is disabled", func(live object) { alert(live, "leaked")["enabled"] = false }},
		{
			"alert sweep-absent: is not there",
			func(live object) {
				name := alert(live, "sweep-absent")["name"]
				maps.DeleteFunc(live, func(_ string, o any) bool { return o != nil && o.(object)["name"] == name })
			},
		},
		{
			"policy of project demo-p: roles/datastore.user " +
				"serviceAccount:casewatch-check@demo-p.iam.gserviceaccount.com is not granted",
			func(live object) {
				policy := live["policy projects demo-p"].(object)
				var kept []any
				for _, b := range policy["bindings"].([]any) {
					if !strings.Contains(b.(object)["members"].([]any)[0].(string), "casewatch-check@") {
						kept = append(kept, b)
					}
				}
				policy["bindings"] = kept
			},
		},
		{
			"secretKeyRef.key is 1, should be 2",
			func(live object) {
				live["versions casewatch-token-secret 2"] = object{
					"name": "projects/demo-p/secrets/casewatch-token-secret/versions/2", "state": "enabled",
				}
			},
		},
	}
	p.edit(func(live object) {
		for _, one := range planted {
			if one.plant != nil {
				one.plant(live)
			}
		}
	})
	out := p.mustFail("verify.sh")
	for _, one := range planted {
		p.mustContain(out, one.want)
	}
	p.mustRun("deploy.sh")
	// A queue that somebody paused and an alert that somebody disabled stay so, and are reported.
	p.mustFail("verify.sh", "\n2 differences", "PAUSED", "alert leaked: is disabled")
}

// at returns the object at a path. A string is the name of a member, a number the index of an
// entry.
func at(o any, path ...any) object {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			o = o.(object)[step]
		case int:
			o = o.([]any)[step]
		}
	}
	return o.(object)
}

// find returns the resource whose key ends with a suffix, or an empty one.
func find(live object, suffix string) object {
	for key, o := range live {
		if o, ok := o.(object); ok && strings.HasSuffix(key, suffix) {
			return o
		}
	}
	return object{}
}

// alert returns the alert policy that was made from a file of monitoring/alerts, or nil.
func alert(live object, name string) object {
	for key, o := range live {
		o, ok := o.(object)
		if ok && strings.HasPrefix(key, "monitoring policies") && at(o, "userLabels")["alert"] == name {
			return o
		}
	}
	return nil
}
