package googlefake

import (
	"net/http"
	"slices"
	"testing"
)

// TestABareProject follows what has to come before what.
func TestABareProject(t *testing.T) {
	f := Start(t, Options{})
	refused(t, f, "GET", "cloudtasks", queues, nil, http.StatusForbidden, "PERMISSION_DENIED")
	refused(t, f, "POST", "serviceusage", "v1/projects/demo-p/services:batchEnable", obj{"serviceIds": []any{"cloudtasks.googleapis.com", "cloudtask.googleapis.com"}}, http.StatusForbidden, "PERMISSION_DENIED")
	refused(t, f, "GET", "cloudtasks", queues, nil, http.StatusForbidden, "PERMISSION_DENIED")
	must(t, f, "POST", "serviceusage", "v1/projects/demo-p/services:batchEnable", obj{"serviceIds": []any{"cloudtasks.googleapis.com", "pubsub.googleapis.com", "iam.googleapis.com"}})
	must(t, f, "GET", "cloudtasks", queues, nil)

	bind := func(member string) obj {
		return obj{"policy": obj{"bindings": []any{obj{"role": "roles/pubsub.publisher", "members": []any{member}}}}}
	}
	const topic = "v1/projects/demo-p/topics/dead"
	refused(t, f, "GET", "pubsub", topic+":getIamPolicy", nil, http.StatusNotFound, "NOT_FOUND")
	must(t, f, "PUT", "pubsub", topic, obj{})
	agent := "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
	refused(t, f, "POST", "pubsub", topic+":setIamPolicy", bind(agent), http.StatusBadRequest, "INVALID_ARGUMENT")
	must(t, f, "POST", "serviceusage", "v1beta1/projects/demo-p/services/pubsub.googleapis.com:generateServiceIdentity", nil)
	must(t, f, "POST", "pubsub", topic+":setIamPolicy", bind(agent))
	must(t, f, "POST", "pubsub", topic+":setIamPolicy", bind("serviceAccount:service-123456789012@gcp-sa-cloudtasks.iam.gserviceaccount.com"))

	sweeper := "serviceAccount:sweeper@demo-p.iam.gserviceaccount.com"
	refused(t, f, "POST", "pubsub", topic+":setIamPolicy", bind(sweeper), http.StatusBadRequest, "INVALID_ARGUMENT")
	made := must(t, f, "POST", "iam", "v1/projects/demo-p/serviceAccounts", obj{"accountId": "sweeper"})
	must(t, f, "POST", "pubsub", topic+":setIamPolicy", bind(sweeper))
	must(t, f, "DELETE", "iam", "v1/projects/-/serviceAccounts/sweeper@demo-p.iam.gserviceaccount.com", nil)
	policy := must(t, f, "GET", "pubsub", topic+":getIamPolicy", nil)
	want := []any{"deleted:" + sweeper + "?uid=" + text(made, "uniqueId")}
	if got := items(items(policy, "bindings")[0], "members"); !slices.Equal(got, want) {
		t.Errorf("the binding of a deleted account is %v, want %v", got, want)
	}
}

func TestWhatIsRefused(t *testing.T) {
	f := Start(t, Options{AllServices: true})
	queue := func(id string, rate, wide any) obj {
		return obj{"name": "projects/demo-p/locations/us-central1/queues/" + id, "rateLimits": obj{"maxDispatchesPerSecond": rate, "maxConcurrentDispatches": wide}}
	}
	must(t, f, "PUT", "pubsub", "v1/projects/demo-p/topics/events", obj{})
	must(t, f, "POST", "cloudtasks", queues, queue("check", 5, 5))
	must(t, f, "POST", "cloudtasks", queues, queue("gone", 5, 5))
	must(t, f, "DELETE", "cloudtasks", queues+"/gone", nil)
	must(t, f, "POST", "monitoring", "v1/projects/demo-p/dashboards", obj{"displayName": "Casewatch"})
	dashboard := "v1/" + nameOf(f.Names("monitoring/projects/demo-p/dashboards/")[0])
	subscription := func(fields obj) obj { return with(obj{"topic": "projects/demo-p/topics/events"}, fields) }
	const subscriptions = "v1/projects/demo-p/subscriptions/"
	for _, test := range []struct {
		name, method, api, path string
		body                    obj
		status                  int
		reason                  string
	}{
		{"queue that exists", "POST", "cloudtasks", queues, queue("check", 5, 5), 409, "ALREADY_EXISTS"},
		{"queue of a name just deleted", "POST", "cloudtasks", queues, queue("gone", 5, 5), 400, "FAILED_PRECONDITION"},
		{"queue with an underscore", "POST", "cloudtasks", queues, queue("a_b", 5, 5), 400, "INVALID_ARGUMENT"},
		{"queue too fast", "PATCH", "cloudtasks", queues + "/check", queue("check", 501, 5), 400, "INVALID_ARGUMENT"},
		{"queue too wide", "PATCH", "cloudtasks", queues + "/check", queue("check", 5, 5001), 400, "INVALID_ARGUMENT"},
		{"queue that is not there", "PATCH", "cloudtasks", queues + "/other", queue("other", 5, 5), 404, "NOT_FOUND"},
		{"subscription of no topic", "PUT", "pubsub", subscriptions + "abc", obj{"topic": "projects/demo-p/topics/none"}, 404, "NOT_FOUND"},
		{"subscription without dead-letter topic", "PUT", "pubsub", subscriptions + "abc", subscription(obj{"deadLetterPolicy": obj{"deadLetterTopic": "projects/demo-p/topics/none"}}), 404, "NOT_FOUND"},
		{"subscription that gives up too soon", "PUT", "pubsub", subscriptions + "abc", subscription(obj{"deadLetterPolicy": obj{"maxDeliveryAttempts": 4}}), 400, "INVALID_ARGUMENT"},
		{"subscription that waits too long", "PUT", "pubsub", subscriptions + "abc", subscription(obj{"ackDeadlineSeconds": 601}), 400, "INVALID_ARGUMENT"},
		{"subscription to plain HTTP", "PUT", "pubsub", subscriptions + "abc", subscription(obj{"pushConfig": obj{"pushEndpoint": "http://example.com/"}}), 400, "INVALID_ARGUMENT"},
		{"subscription as nobody", "PUT", "pubsub", subscriptions + "abc", subscription(obj{"pushConfig": obj{"oidcToken": obj{"serviceAccountEmail": "no@demo-p.iam.gserviceaccount.com"}}}), 403, "PERMISSION_DENIED"},
		{"subscription with a short name", "PUT", "pubsub", subscriptions + "ab", subscription(nil), 400, "INVALID_ARGUMENT"},
		{"account with a short name", "POST", "iam", "v1/projects/demo-p/serviceAccounts", obj{"accountId": "cw"}, 400, "INVALID_ARGUMENT"},
		{"policy of an older version", "POST", "pubsub", "v1/projects/demo-p/topics/events:setIamPolicy", obj{"policy": obj{"etag": "BwXyz="}}, 409, "ABORTED"},
		{"member of no kind", "POST", "pubsub", "v1/projects/demo-p/topics/events:setIamPolicy", obj{"policy": obj{"bindings": []any{obj{"role": "r", "members": []any{"somebody"}}}}}, 400, "INVALID_ARGUMENT"},
		{"index without a database", "POST", "firestore", "v1/projects/demo-p/databases/(default)/collectionGroups/runs/indexes", obj{}, 404, "NOT_FOUND"},
		{"metric of nothing", "POST", "logging", "v2/projects/demo-p/metrics", obj{"name": "m"}, 400, "INVALID_ARGUMENT"},
		{"metric without its label", "POST", "logging", "v2/projects/demo-p/metrics", obj{"name": "m", "filter": "x", "metricDescriptor": obj{"labels": []any{obj{"key": "k"}}}}, 400, "INVALID_ARGUMENT"},
		{"alert on no metric", "POST", "monitoring", "v3/projects/demo-p/alertPolicies", obj{"displayName": "a", "combiner": "OR", "conditions": []any{obj{"conditionThreshold": obj{"filter": `metric.type="logging.googleapis.com/user/m"`}}}}, 404, "NOT_FOUND"},
		{"alert without a condition", "POST", "monitoring", "v3/projects/demo-p/alertPolicies", obj{"displayName": "a", "combiner": "OR"}, 400, "INVALID_ARGUMENT"},
		{"dashboard without its version", "PATCH", "monitoring", dashboard, obj{"displayName": "Casewatch"}, 400, "INVALID_ARGUMENT"},
		{"dashboard of an older version", "PATCH", "monitoring", dashboard, obj{"displayName": "Casewatch", "etag": "0"}, 409, "ABORTED"},
		{"user of no instance", "POST", "sql", "sql/v1beta4/projects/demo-p/instances/db/users", obj{"name": "u"}, 404, "NOT_FOUND"},
		{"version of no secret", "POST", "secretmanager", "v1/projects/demo-p/secrets/s:addVersion", obj{"payload": obj{"data": ""}}, 404, "NOT_FOUND"},
		{"job as nobody", "POST", "cloudscheduler", "v1/projects/demo-p/locations/us-central1/jobs", obj{"name": "projects/demo-p/locations/us-central1/jobs/j", "httpTarget": obj{"oidcToken": obj{"serviceAccountEmail": "no@demo-p.iam.gserviceaccount.com"}}}, 403, "PERMISSION_DENIED"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := f.Names("")
			refused(t, f, test.method, test.api, test.path, test.body, test.status, test.reason)
			if after := f.Names(""); !slices.Equal(before, after) {
				t.Errorf("what was refused left %v, before there was %v", after, before)
			}
		})
	}
}

func TestFirestoreFields(t *testing.T) {
	f := Start(t, Options{AllServices: true})
	must(t, f, "POST", "firestore", "v1/projects/demo-p/databases?databaseId=(default)", obj{"type": "FIRESTORE_NATIVE"})
	const group = "v1/projects/demo-p/databases/(default)/collectionGroups/"
	list := func(filter string) int {
		return len(items(must(t, f, "GET", "firestore", group+"-/fields?filter="+filter, nil), "fields"))
	}
	const ttls, exemptions = "ttlConfig:*", "indexConfig.usesAncestorConfig:false"
	must(t, f, "PATCH", "firestore", group+"runs/fields/expire_at?updateMask=ttlConfig", obj{"ttlConfig": obj{}})
	must(t, f, "PATCH", "firestore", group+"runs/fields/record?updateMask=indexConfig", obj{"indexConfig": obj{}})
	if list(ttls) != 1 || list(exemptions) != 1 {
		t.Errorf("there are %d TTL policies and %d exemptions, want one of each", list(ttls), list(exemptions))
	}
	must(t, f, "PATCH", "firestore", group+"runs/fields/expire_at?updateMask=indexConfig", obj{"indexConfig": obj{}})
	if list(ttls) != 1 || list(exemptions) != 2 {
		t.Errorf("there are %d TTL policies and %d exemptions, want one and two", list(ttls), list(exemptions))
	}
	for _, mask := range []string{"ttlConfig", "indexConfig"} {
		for _, field := range []string{"expire_at", "record"} {
			must(t, f, "PATCH", "firestore", group+"runs/fields/"+field+"?updateMask="+mask, obj{})
		}
	}
	if list(ttls) != 0 || list(exemptions) != 0 {
		t.Errorf("cleared, there are %d TTL policies and %d exemptions", list(ttls), list(exemptions))
	}
	if field := must(t, f, "GET", "firestore", group+"runs/fields/record", nil); len(items(field, "indexConfig", "indexes")) != 3 {
		t.Errorf("a field of which nothing was said is %v, want three indexes", field)
	}
}
