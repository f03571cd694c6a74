package gcp_test

import (
	"maps"
	"strings"
	"testing"
)

// path returns what is at a path of names; a number is an entry of a list.
func path(o any, names ...any) object {
	for _, name := range names {
		switch name := name.(type) {
		case string:
			o = o.(object)[name]
		case int:
			o = o.([]any)[name]
		}
	}
	return o.(object)
}

// TestVerifyFindsPlantedDifferences plants differences, each by itself, and all together.
func TestVerifyFindsPlantedDifferences(t *testing.T) {
	t.Parallel()
	p := newProject(t, "production")
	p.runs("deploy.sh")
	template := func(live object, function string) object {
		return path(live["run services casewatch-"+function], "spec", "template")
	}
	container := func(live object, function string) object {
		return path(template(live, function), "spec", "containers", 0)
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
		says  string
		plant func(live object)
	}{
		{"service casewatch-check: spec.template.spec.containers[0].env.CHECK_URL.value is http://localhost:8000, should be https://casewatch-check-",
			func(live object) { variable(live, "check", "CHECK_URL")["value"] = "http://localhost:8000" }},
		{"service casewatch-check: CHECK_URL is http://localhost:8000, a loopback address", nil},
		{"service casewatch-start: spec.template.spec.containers[0].env.DEBUG is there, should not be", func(live object) {
			c := container(live, "start")
			c["env"] = append(c["env"].([]any), object{"name": "DEBUG", "value": "1"})
		}},
		{"service casewatch-status: spec.template.spec.containerConcurrency is 1, should be 500", func(live object) { path(template(live, "status"), "spec")["containerConcurrency"] = 1.0 }},
		{"service casewatch-cancel: spec.template.spec.serviceAccountName is 1-compute@developer.gserviceaccount.com", func(live object) {
			path(template(live, "cancel"), "spec")["serviceAccountName"] = "1-compute@developer.gserviceaccount.com"
		}},
		{"service casewatch-dispatch: metadata.annotations.run.googleapis.com/invoker-iam-disabled is true, should be not set", func(live object) {
			path(live["run services casewatch-dispatch"], "metadata", "annotations")["run.googleapis.com/invoker-iam-disabled"] = "True"
		}},
		{"policy of service casewatch-sweep: roles/run.invoker allUsers is granted, should not be", func(live object) {
			binding := path(live["policy run services casewatch-sweep"], "bindings", 0)
			binding["members"] = append(binding["members"].([]any), "allUsers")
		}},
		{"policy of queue casewatch-check: roles/cloudtasks.viewer serviceAccount:casewatch-sweep@demo-p.iam.gserviceaccount.com is not granted", func(live object) {
			live["policy tasks queues casewatch-check"] = object{"bindings": []any{}}
		}},
		{"queue casewatch-dispatch: rateLimits.maxConcurrentDispatches is 1000, should be 20", func(live object) {
			path(live["tasks queues casewatch-dispatch"], "rateLimits")["maxConcurrentDispatches"] = 1000.0
		}},
		{"queue casewatch-check: state is PAUSED, should be RUNNING", func(live object) { live["tasks queues casewatch-check"].(object)["state"] = "PAUSED" }},
		{"field runs.expire_at: should be --enable-ttl", func(live object) { delete(find(live, "/runs/fields/expire_at"), "ttlConfig") }},
		{"field runs.state: should be --index=order=ascending", func(live object) { delete(find(live, "/runs/fields/state"), "indexConfig") }},
		{"index runs(case_key ASCENDING, run ASCENDING): is not there", func(live object) {
			maps.DeleteFunc(live, func(name string, o any) bool {
				return strings.Contains(name, "indexes composite") && len(o.(object)["fields"].([]any)) == 3
			})
		}},
		{"database casewatch-cases: pointInTimeRecoveryEnablement is POINT_IN_TIME_RECOVERY_DISABLED", func(live object) {
			live["firestore databases casewatch-cases"].(object)["pointInTimeRecoveryEnablement"] = "POINT_IN_TIME_RECOVERY_DISABLED"
		}},
		{"subscription casewatch-complete: pushConfig.oidcToken.audience is https://other.example.com", func(live object) {
			path(live["pubsub subscriptions casewatch-complete"], "pushConfig", "oidcToken")["audience"] = "https://other.example.com"
		}},
		{"subscription casewatch-complete: deadLetterPolicy.deadLetterTopic is not set", func(live object) {
			delete(live["pubsub subscriptions casewatch-complete"].(object), "deadLetterPolicy")
		}},
		{"job casewatch-sweep: schedule is 0 0 * * *, should be */2 * * * *", func(live object) { live["scheduler jobs casewatch-sweep"].(object)["schedule"] = "0 0 * * *" }},
		{"metric casewatch-sweep-leaked: filter is severity>=ERROR", func(live object) {
			live["logging metrics casewatch-sweep-leaked"].(object)["filter"] = "severity>=ERROR"
		}},
		{"alert leaked: is disabled", func(live object) { alert(live, "leaked")["enabled"] = false }},
		{"alert sweep-absent: is not there", func(live object) {
			maps.DeleteFunc(live, func(_ string, o any) bool { return o != nil && same(o, alert(live, "sweep-absent")) })
		}},
		{"policy of project demo-p: roles/datastore.user serviceAccount:casewatch-check@demo-p.iam.gserviceaccount.com is not granted", func(live object) {
			o := live["policy projects demo-p"].(object)
			var kept []any
			for _, b := range o["bindings"].([]any) {
				if !strings.Contains(b.(object)["members"].([]any)[0].(string), "casewatch-check@") {
					kept = append(kept, b)
				}
			}
			o["bindings"] = kept
		}},
		{"secretKeyRef.key is 1, should be 2", func(live object) {
			live["versions casewatch-token-secret 2"] = object{"name": "projects/demo-p/secrets/casewatch-token-secret/versions/2", "state": "enabled"}
		}},
	}
	p.edit(func(live object) {
		for _, one := range planted {
			if one.plant != nil {
				one.plant(live)
			}
		}
	})
	out := p.fails("verify.sh")
	for _, one := range planted {
		p.says(out, one.says)
	}
	p.runs("deploy.sh")
	out = p.fails("verify.sh")
	// What somebody may have stopped for a reason stays so, and is shown.
	if !strings.Contains(out, "\n2 differences") || !strings.Contains(out, "PAUSED") {
		t.Errorf("after a deployment verify.sh says\n%s", out)
	}
	p.calls()
}

func find(live object, suffix string) object {
	for name, o := range live {
		if o, ok := o.(object); ok && strings.HasSuffix(name, suffix) {
			return o
		}
	}
	return object{}
}

func alert(live object, name string) object {
	for key, o := range live {
		if o, ok := o.(object); ok && strings.HasPrefix(key, "monitoring policies") && path(o, "userLabels")["alert"] == name {
			return o
		}
	}
	return nil
}

func same(o any, other object) bool {
	m, ok := o.(object)
	return ok && other != nil && m["name"] == other["name"]
}
