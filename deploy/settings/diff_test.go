package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const testImage = "us-central1-docker.pkg.dev/demo-project/casewatch/casewatch@sha256:1"

// tested is an env file with everything that can be deployed on Firestore.
func tested() map[string]string { return withConsole("CONSOLE_IAP", "true") }

// settled is a project that is as its env file says.
func settled(t *testing.T) map[string]any {
	t.Helper()
	// The first round tells the number, the versions and the channel, by which the plan is made.
	live := liveOf(planFor(t, tested(), &state{image: testImage}))
	return liveOf(planFor(t, tested(), stateOf(t, live, testImage)))
}

// resource returns the resource of a list whose name ends so.
func resource(t *testing.T, live map[string]any, list, name string) object {
	t.Helper()
	for _, one := range live[list].([]any) {
		r := one.(object)
		have, _ := r["name"].(string)
		if metadata, ok := r["metadata"].(object); ok {
			have, _ = metadata["name"].(string)
		}
		if strings.HasSuffix(have, name) {
			return r
		}
	}
	t.Fatalf("there is no %s in %s", name, list)
	return nil
}

// in follows keys into a resource; a key of a list is followed into its first element.
func in(r object, keys ...string) object {
	for _, key := range keys {
		next := r[key]
		if list, ok := next.([]any); ok {
			next = list[0]
		}
		r = next.(object)
	}
	return r
}

func setEnv(service object, name, value string) {
	container := in(service, "spec", "template", "spec", "containers")
	list := slices.DeleteFunc(container["env"].([]any), func(e any) bool { return e.(object)["name"] == name })
	container["env"] = append(list, object{"name": name, "value": value})
}

func TestDiff(t *testing.T) {
	for name, test := range map[string]struct {
		plant func(t *testing.T, live map[string]any)
		want  []string
	}{
		"nothing": {func(*testing.T, map[string]any) {}, nil},
		"a localhost": {func(t *testing.T, live map[string]any) {
			setEnv(resource(t, live, "services", "casewatch-check"), "PIPELINE_API_URL", "http://127.0.0.1:8000")
		}, []string{"look service casewatch-check PIPELINE_API_URL an address of this machine one that others reach",
			`update service casewatch-check PIPELINE_API_URL "http://127.0.0.1:8000" "https://pipeline.example.com"`}},
		"a variable too many": {func(t *testing.T, live map[string]any) {
			setEnv(resource(t, live, "services", "casewatch-status"), "DEBUG", "1")
		}, []string{`update service casewatch-status DEBUG "1" not set`}},
		"a secret in the environment": {func(t *testing.T, live map[string]any) {
			setEnv(resource(t, live, "services", "casewatch-start"), "TOKEN_SECRET", "hunter2")
		}, []string{"update service casewatch-start TOKEN_SECRET a value of its own secret casewatch-token-secret:2"}},
		"a rotated secret": {func(_ *testing.T, live map[string]any) {
			live["versions-casewatch-api-keys"] = []any{object{"name": "projects/1/secrets/x/versions/3", "state": "ENABLED"}, object{"name": "projects/1/secrets/x/versions/4", "state": "DISABLED"}}
		}, []string{"update service casewatch-cancel API_KEYS secret casewatch-api-keys:2 secret casewatch-api-keys:3",
			"update service casewatch-start API_KEYS secret casewatch-api-keys:2 secret casewatch-api-keys:3",
			"update service casewatch-status API_KEYS secret casewatch-api-keys:2 secret casewatch-api-keys:3"}},
		"resources": {func(t *testing.T, live map[string]any) {
			s := resource(t, live, "services", "casewatch-status")
			in(s, "spec", "template", "spec")["containerConcurrency"] = 1
			in(s, "spec", "template", "spec")["timeoutSeconds"] = 60
			in(s, "spec", "template", "spec")["serviceAccountName"] = "default@x"
			in(s, "spec", "template", "spec", "containers", "resources", "limits")["memory"] = "256Mi"
			in(s, "spec", "template", "spec", "containers", "resources", "limits")["cpu"] = "2000m"
			delete(in(s, "spec", "template", "metadata", "annotations"), "autoscaling.knative.dev/minScale")
			in(s, "spec", "template", "metadata", "annotations")["autoscaling.knative.dev/maxScale"] = "100"
			in(s, "metadata", "annotations")["run.googleapis.com/ingress"] = "internal"
		}, []string{"update service casewatch-status account default@x casewatch-status@demo-project.iam.gserviceaccount.com", "update service casewatch-status concurrency 1 80",
			"update service casewatch-status cpu 2 1", "update service casewatch-status ingress internal all", "update service casewatch-status max instances 100 10",
			"update service casewatch-status memory 256Mi 1Gi", "update service casewatch-status min instances 0 1", "update service casewatch-status timeout 60s 300s"}},
		"another image": {func(t *testing.T, live map[string]any) {
			in(resource(t, live, "services", "casewatch-sweep"), "spec", "template", "spec", "containers")["image"] = "other"
		}, []string{"update service casewatch-sweep image other " + testImage}},
		"traffic elsewhere": {func(t *testing.T, live map[string]any) {
			in(resource(t, live, "services", "casewatch-start"), "status")["traffic"] = []any{object{"revisionName": "old", "percent": 30}, object{"revisionName": "casewatch-start-00001-abc", "percent": 70}}
		}, []string{"look service casewatch-start traffic 70 % to casewatch-start-00001-abc, 30 % to old 100 % to casewatch-start-00001-abc"}},
		"a revision that never got ready": {func(t *testing.T, live map[string]any) {
			in(resource(t, live, "services", "casewatch-start"), "status")["latestCreatedRevisionName"] = "broken"
		}, []string{"update service casewatch-start newest revision that is ready casewatch-start-00001-abc broken"}},
		"a public private function": {func(_ *testing.T, live map[string]any) {
			p := live["policy-service-casewatch-check"].(object)
			p["bindings"] = append(p["bindings"].([]any), object{"role": "roles/run.invoker", "members": []any{"allUsers"}})
		}, []string{"update policy service/casewatch-check roles/run.invoker granted to allUsers not granted"}},
		"a private function without the check of who calls": {func(t *testing.T, live map[string]any) {
			for _, name := range []string{"casewatch-check", "casewatch-status"} { // of the public one, it is another way to be public
				in(resource(t, live, "services", name), "metadata", "annotations")["run.googleapis.com/invoker-iam-disabled"] = "true"
			}
		}, []string{"update service casewatch-check check of who calls off on"}},
		"a public console": {func(_ *testing.T, live map[string]any) {
			p := live["policy-service-casewatch-console"].(object)
			p["bindings"] = append(p["bindings"].([]any), object{"role": "roles/run.invoker", "members": []any{"allUsers"}})
		}, []string{"update policy service/casewatch-console roles/run.invoker granted to allUsers not granted"}},
		"a console without IAP": {func(t *testing.T, live map[string]any) {
			delete(in(resource(t, live, "services", "casewatch-console"), "metadata", "annotations"), "run.googleapis.com/iap-enabled")
		}, []string{"update service casewatch-console IAP off on"}},
		"a public function behind IAP": {func(t *testing.T, live map[string]any) {
			in(resource(t, live, "services", "casewatch-start"), "metadata", "annotations")["run.googleapis.com/iap-enabled"] = "true"
		}, []string{"update service casewatch-start IAP on off"}},
		"a stranger whom IAP lets pass": {func(_ *testing.T, live map[string]any) {
			in(live["policy-iap-casewatch-console"].(object), "bindings")["members"] = []any{"user:operator@example.com", "domain:example.com"}
		}, []string{"update policy iap/casewatch-console roles/iap.httpsResourceAccessor granted to domain:example.com not granted",
			"update policy iap/casewatch-console roles/iap.httpsResourceAccessor not granted to serviceAccount:robot@other.iam.gserviceaccount.com granted"}},
		"a caller more": {func(_ *testing.T, live map[string]any) {
			in(live["policy-service-casewatch-sweep"].(object), "bindings")["members"] = []any{"serviceAccount:casewatch-scheduler@demo-project.iam.gserviceaccount.com", "user:x@example.com"}
		}, []string{"update policy service/casewatch-sweep roles/run.invoker granted to user:x@example.com not granted"}},
		"a public secret": {func(_ *testing.T, live map[string]any) {
			p := live["policy-secret-casewatch-token-secret"].(object)
			p["bindings"] = append(p["bindings"].([]any), object{"role": "roles/secretmanager.viewer", "members": []any{"allAuthenticatedUsers"}})
		}, []string{"update policy secret/casewatch-token-secret roles/secretmanager.viewer granted to allAuthenticatedUsers not granted"}},
		"an agent without its right": {func(_ *testing.T, live map[string]any) {
			delete(live, "policy-subscription-casewatch-complete")
		}, []string{"update policy subscription/casewatch-complete roles/pubsub.subscriber not granted to serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com granted"}},
		"a grant on every database": {func(_ *testing.T, live map[string]any) {
			p := live["policy-project-demo-project"].(object)
			var all []any
			for _, function := range []string{"status", "cancel", "dispatch", "check", "complete", "sweep", "console"} {
				all = append(all, object{"role": "roles/datastore.user", "members": []any{"serviceAccount:casewatch-" + function + "@demo-project.iam.gserviceaccount.com"},
					"condition": object{"title": "another", "expression": `resource.name=="projects/demo-project/databases/(default)"`}})
			}
			all = append(all, object{"role": "roles/cloudbuild.builds.builder", "members": []any{"serviceAccount:casewatch-build@demo-project.iam.gserviceaccount.com"}})
			p["bindings"] = append(all, object{"role": "roles/datastore.user", "members": []any{"serviceAccount:casewatch-start@demo-project.iam.gserviceaccount.com"}})
		}, []string{"update policy project/demo-project roles/datastore.user not granted to serviceAccount:casewatch-start@demo-project.iam.gserviceaccount.com granted"}},
		"queue limits": {func(t *testing.T, live map[string]any) {
			q := resource(t, live, "queues", "casewatch-check")
			in(q, "rateLimits")["maxConcurrentDispatches"] = 10
			in(q, "retryConfig")["maxAttempts"] = 100
			in(q, "retryConfig")["maxRetryDuration"] = "3600s"
			in(q, "retryConfig")["minBackoff"] = "0.100s"
			q["state"] = "PAUSED"
		}, []string{"look queue casewatch-check state PAUSED RUNNING", "update queue casewatch-check attempts 100 -1", "update queue casewatch-check dispatches at once 10 800",
			"update queue casewatch-check least backoff 0.1s 1s", "update queue casewatch-check retry duration 3600s -"}},
		"the subscription": {func(t *testing.T, live map[string]any) {
			s := resource(t, live, "subscriptions", "casewatch-complete")
			in(s, "pushConfig", "oidcToken")["audience"] = "x"
			s["ackDeadlineSeconds"] = 10
			s["expirationPolicy"] = object{"ttl": "2678400s"}
			delete(s, "deadLetterPolicy")
		}, []string{"update subscription casewatch-complete ack deadline 10 600", "update subscription casewatch-complete dead-letter topic - projects/demo-project/topics/casewatch-dead-letter",
			"update subscription casewatch-complete delivery attempts 0 100", "update subscription casewatch-complete expires after 2678400s -",
			"update subscription casewatch-complete push audience x https://casewatch-complete-123456789012.us-central1.run.app"}},
		"Firestore": {func(t *testing.T, live map[string]any) {
			resource(t, live, "indexes", "indexes/a")["state"] = "CREATING"
			resource(t, live, "databases", "(default)")["deleteProtectionState"] = "DELETE_PROTECTION_DISABLED"
			in(resource(t, live, "ttls", "fields/expire_at"), "ttlConfig")["state"] = "CREATING"
			live["fields"] = live["fields"].([]any)[1:]
		}, []string{"create exemption cases.expire_at - missing there", "look index cases(shard ascending, due descending) state CREATING READY", "look ttl cases.expire_at state CREATING ACTIVE",
			"update database (default) delete protection DELETE_PROTECTION_DISABLED DELETE_PROTECTION_ENABLED"}},
		"the job": {func(t *testing.T, live map[string]any) {
			j := resource(t, live, "jobs", "casewatch-sweep")
			j["state"], j["schedule"] = "PAUSED", "0 0 * * *"
			in(j, "httpTarget")["uri"] = "https://elsewhere.example.com"
		}, []string{"look job casewatch-sweep state PAUSED ENABLED", "update job casewatch-sweep schedule 0 0 * * * */2 * * * *",
			"update job casewatch-sweep target https://elsewhere.example.com https://casewatch-sweep-123456789012.us-central1.run.app"}},
		"monitoring": {func(t *testing.T, live map[string]any) {
			resource(t, live, "metrics", "casewatch-ended")["description"] = "x [0]"
			resource(t, live, "alerts", "alertPolicies/8")["enabled"] = false
			in(resource(t, live, "dashboards", "dashboards/9"), "labels")["casewatch-spec"] = "0"
		}, []string{"look alert leaked enabled false true", "update dashboard casewatch definition another dashboards/dashboard.json", "update metric casewatch-ended definition another metrics/ended.yaml"}},
		"what is missing": {func(_ *testing.T, live map[string]any) {
			for _, list := range []string{"topics", "jobs", "alerts", "metrics", "dashboards"} {
				live[list] = []any{}
			}
		}, []string{"create alert leaked - missing there", "create dashboard casewatch - missing there", "create job casewatch-sweep - missing there", "create metric casewatch-ended - missing there",
			"create topic casewatch-dead-letter - missing there", "create topic casewatch-ended - missing there", "create topic casewatch-pipeline-events - missing there"}},
	} {
		live := settled(t)
		test.plant(t, live)
		s := stateOf(t, live, testImage)
		p := planFor(t, tested(), s)
		var got []string
		for _, d := range diff(p, s) {
			if d.Field != "spec" { // which changes with whatever it is made of
				got = append(got, strings.ReplaceAll(d.line(), "\t", " "))
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAnyImageIsRightIfAllHaveIt(t *testing.T) {
	live := settled(t)
	s := stateOf(t, live, "")
	if got := diff(planFor(t, tested(), s), s); len(got) > 0 {
		t.Errorf("%v", got)
	}
	in(resource(t, live, "services", "casewatch-cancel"), "spec", "template", "spec", "containers")["image"] = "other"
	s = stateOf(t, live, "")
	if got := diff(planFor(t, tested(), s), s); len(got) != 1 || got[0].Field != "image" || got[0].Name != "casewatch-cancel" {
		t.Errorf("%v", got)
	}
}

// A console that is there although the env file has nobody who may use it is found, and left for a person to delete.
func TestOmittedConsoleIsFound(t *testing.T) {
	s := stateOf(t, settled(t), testImage)
	var got []string
	for _, d := range diff(planFor(t, good(), s), s) {
		if d.Name == "casewatch-console" {
			got = append(got, strings.ReplaceAll(d.line(), "\t", " "))
		}
	}
	if diff := cmp.Diff([]string{"look service casewatch-console deployed there not there: CONSOLE_USERS is not set"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCloudSQL(t *testing.T) {
	values := with("STORE", "cloudsql", "CLOUD_SQL_INSTANCE", "main", "CLOUD_SQL_TIER", "db-f1-micro", "CLOUD_SQL_VERSION", "POSTGRES_17", "CLOUD_SQL_AVAILABILITY", "zonal")
	s := stateOf(t, map[string]any{
		"sql-instances": []any{object{"name": "main", "databaseVersion": "POSTGRES_17", "state": "RUNNABLE", "settings": object{"tier": "db-custom-1-3840", "availabilityType": "ZONAL"}}},
		"sql-databases": []any{object{"name": "casewatch"}},
	}, "")
	var got []string
	for _, d := range diff(planFor(t, values, s), s) {
		if strings.HasPrefix(d.Kind, "sql-") {
			got = append(got, strings.ReplaceAll(d.line(), "\t", " "))
		}
	}
	if diff := cmp.Diff([]string{"update sql-instance main tier db-custom-1-3840 db-f1-micro", "create sql-user casewatch - missing there"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMergeKeepsWhatIsOthers(t *testing.T) {
	wanted := Policy{Kind: "service", Name: "s", Bindings: []Binding{{Role: "roles/run.invoker", Members: []string{"serviceAccount:a", "serviceAccount:b"}, exact: true}, {Role: "roles/new", Members: []string{"serviceAccount:a"}}}}
	live := &livePolicy{Etag: "e", Version: 3, Bindings: []liveBinding{
		{Role: "roles/run.invoker", Members: []string{"allUsers", "serviceAccount:a", "user:stray@example.com"}},
		{Role: "roles/other", Members: []string{"user:x@example.com", "allAuthenticatedUsers"}},
		{Role: "roles/anyone", Members: []string{"allUsers"}},
		{Role: "roles/new", Members: []string{"user:y@example.com"}, Condition: &Condition{Title: "t", Expression: "false"}},
	}}
	want := livePolicy{Etag: "e", Version: 3, Bindings: []liveBinding{
		{Role: "roles/run.invoker", Members: []string{"serviceAccount:a", "serviceAccount:b"}},
		{Role: "roles/other", Members: []string{"user:x@example.com"}},
		{Role: "roles/new", Members: []string{"user:y@example.com"}, Condition: &Condition{Title: "t", Expression: "false"}},
		{Role: "roles/new", Members: []string{"serviceAccount:a"}},
	}}
	got := live.merge(wanted)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	(&got).compare(wanted, func(field, is, want string) { t.Errorf("after the merge: %s %s, %s", field, is, want) })
}
