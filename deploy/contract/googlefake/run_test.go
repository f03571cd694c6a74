package googlefake

import (
	"maps"
	"net/http"
	"strings"
	"testing"
)

const (
	registry        = "us-central1-docker.pkg.dev/demo-p/casewatch/functions"
	knativeServices = "apis/serving.knative.dev/v1/namespaces/demo-p/services"
)

// project makes what a service needs: an account, a repository and an image in it.
func project(t *testing.T) *Fake {
	t.Helper()
	f := Start(t, Options{AllServices: true})
	must(t, f, "POST", "iam", "v1/projects/demo-p/serviceAccounts", obj{"accountId": "starter"})
	must(t, f, "POST", "artifactregistry", "v1/projects/demo-p/locations/us-central1/repositories?repositoryId=casewatch", obj{"format": "DOCKER"})
	must(t, f, "POST", "cloudbuild", "v1/projects/demo-p/locations/global/builds", obj{"images": []any{registry + ":one"}})
	return f
}

// service is what gcloud sends to deploy a service, with the changes that a test makes to its container.
func service(name, image string, container obj) obj {
	c := obj{"image": image}
	maps.Copy(c, container)
	return obj{
		"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": obj{"name": name, "namespace": "demo-p"},
		"spec": obj{"template": obj{"spec": obj{"serviceAccountName": "starter@demo-p.iam.gserviceaccount.com", "containers": []any{c}}}},
	}
}

func TestRevisions(t *testing.T) {
	f := project(t)
	first := must(t, f, "POST", "run", knativeServices, service("start", registry+":one", nil))
	one := text(first, "status", "latestReadyRevisionName")
	if one != revisionName("start", 1) || text(items(first, "status", "traffic")[0], "revisionName") != one {
		t.Fatalf("the first revision is %q, and the traffic %v", one, items(first, "status", "traffic"))
	}
	if url := text(first, "status", "url"); url != "https://start-123456789012.us-central1.run.app" {
		t.Errorf("its URL is %s", url)
	}
	refused(t, f, "POST", "run", knativeServices, service("start", registry+":one", nil), http.StatusConflict, "ALREADY_EXISTS")

	// The same template makes no revision, another one does.
	pinned := clone(first)
	objAt(pinned, "spec")["traffic"] = []any{obj{"revisionName": one, "percent": 100}}
	again := must(t, f, "PUT", "run", knativeServices+"/start", pinned)
	if got := text(again, "status", "latestCreatedRevisionName"); got != one {
		t.Errorf("an unchanged template made %s", got)
	}
	refused(t, f, "PUT", "run", knativeServices+"/start", pinned, http.StatusConflict, "ABORTED") // it is of an older version
	changed := clone(again)
	template := objAt(objAt(objAt(changed, "spec"), "template"), "spec")
	template["containers"].([]any)[0].(obj)["env"] = []any{obj{"name": "A", "value": "1"}}
	objAt(changed, "spec")["traffic"] = []any{obj{"revisionName": one, "percent": 100}, obj{"latestRevision": true, "tag": "candidate"}}
	second := must(t, f, "PUT", "run", knativeServices+"/start", changed)
	two := text(second, "status", "latestReadyRevisionName")
	traffic := items(second, "status", "traffic")
	if two != revisionName("start", 2) || text(traffic[0], "revisionName") != one || text(traffic[1], "revisionName") != two {
		t.Errorf("after %s, %s: traffic %v", one, two, traffic)
	}
	if url := text(traffic[1], "url"); url != "https://candidate---start-123456789012.us-central1.run.app" {
		t.Errorf("the candidate's URL is %s", url)
	}
	revisions := items(must(t, f, "GET", "run", strings.Replace(knativeServices, "services", "revisions", 1)+"?labelSelector=serving.knative.dev/service%20=%20start", nil), "items")
	if len(revisions) != 2 || text(revisions[0], "metadata", "name") != two {
		t.Errorf("the revisions are %v, want two, the newest first", revisions)
	}

	f.SetURL("start", "http://127.0.0.1:1/start")
	moved := must(t, f, "GET", "run", knativeServices+"/start", nil)
	for _, url := range []string{text(moved, "status", "url"), text(items(moved, "status", "traffic")[1], "url")} {
		if url != "http://127.0.0.1:1/start" {
			t.Errorf("a URL is %s after SetURL", url)
		}
	}
	must(t, f, "DELETE", "run", knativeServices+"/start", nil)
	refused(t, f, "GET", "run", knativeServices+"/start", nil, http.StatusNotFound, "NOT_FOUND")
	if names := f.Names("run/"); len(names) != 0 {
		t.Errorf("the service left %v", names)
	}
}

func TestRevisionsThatCannotStart(t *testing.T) {
	f := project(t)
	secret := obj{"env": []any{obj{"name": "TOKEN", "valueFrom": obj{"secretKeyRef": obj{"name": "token", "key": "latest"}}}}}
	ready := func(answer obj) (string, string) {
		condition := items(answer, "status", "conditions")[0]
		return text(condition, "status"), text(condition, "message")
	}
	made := must(t, f, "POST", "run", knativeServices, service("noimage", registry+":two", nil))
	if status, message := ready(made); status != "False" || !strings.Contains(message, "Image '"+registry+":two' not found") {
		t.Errorf("without its image the service is ready: %s, %s", status, message)
	}
	must(t, f, "POST", "secretmanager", "v1/projects/demo-p/secrets?secretId=token", obj{})
	must(t, f, "POST", "secretmanager", "v1/projects/demo-p/secrets/token:addVersion", obj{"payload": obj{"data": "aHVzaA=="}})
	made = must(t, f, "POST", "run", knativeServices, service("start", registry+":one", secret))
	if status, message := ready(made); status != "False" || !strings.Contains(message, "Permission denied on secret") {
		t.Errorf("without the right to read its secret the service is ready: %s, %s", status, message)
	}
	must(t, f, "POST", "secretmanager", "v1/projects/demo-p/secrets/token:setIamPolicy", obj{"policy": obj{"bindings": []any{obj{
		"role": "roles/secretmanager.secretAccessor", "members": []any{"serviceAccount:starter@demo-p.iam.gserviceaccount.com"},
	}}}})
	retry := clone(made)
	objAt(objAt(objAt(retry, "spec"), "template"), "metadata")["labels"] = obj{"client.knative.dev/nonce": "another"}
	made = must(t, f, "PUT", "run", knativeServices+"/start", retry)
	if status, message := ready(made); status != "True" {
		t.Errorf("with the right to read its secret the service is not ready: %s", message)
	}
}

func TestServicesThatAreRefused(t *testing.T) {
	f := project(t)
	for name, test := range map[string]struct {
		change func(service obj)
		status int
		reason string
	}{
		"no image":    {func(s obj) { template(s)["containers"] = []any{obj{}} }, 400, "INVALID_ARGUMENT"},
		"timeout":     {func(s obj) { template(s)["timeoutSeconds"] = 3601 }, 400, "INVALID_ARGUMENT"},
		"concurrency": {func(s obj) { template(s)["containerConcurrency"] = 1001 }, 400, "INVALID_ARGUMENT"},
		"no account":  {func(s obj) { template(s)["serviceAccountName"] = "nobody@demo-p.iam.gserviceaccount.com" }, 403, "PERMISSION_DENIED"},
		"reserved": {func(s obj) {
			template(s)["containers"] = []any{obj{"image": registry + ":one", "env": []any{obj{"name": "PORT", "value": "1"}}}}
		}, 400, "INVALID_ARGUMENT"},
		"cpu": {func(s obj) {
			template(s)["containerConcurrency"] = 80
			template(s)["containers"] = []any{obj{"image": registry + ":one", "resources": obj{"limits": obj{"cpu": "500m"}}}}
		}, 400, "INVALID_ARGUMENT"},
		"traffic":  {func(s obj) { objAt(s, "spec")["traffic"] = []any{obj{"latestRevision": true, "percent": 90}} }, 400, "INVALID_ARGUMENT"},
		"revision": {func(s obj) { objAt(s, "spec")["traffic"] = []any{obj{"revisionName": "x", "percent": 100}} }, 400, "INVALID_ARGUMENT"},
		"ingress": {func(s obj) {
			objAt(objAt(s, "metadata"), "annotations")["run.googleapis.com/ingress"] = "some"
		}, 400, "INVALID_ARGUMENT"},
		"name": {func(s obj) { objAt(s, "metadata")["name"] = "Start" }, 400, "INVALID_ARGUMENT"},
	} {
		t.Run(name, func(t *testing.T) {
			s := service("start", registry+":one", nil)
			test.change(s)
			refused(t, f, "POST", "run", knativeServices, s, test.status, test.reason)
			if f.Has("locations/us-central1/services/start") {
				t.Error("what was refused was made")
			}
		})
	}
}

func template(s obj) obj { return objAt(objAt(objAt(s, "spec"), "template"), "spec") }

func TestImages(t *testing.T) {
	f := project(t)
	build := func(image string) (status, digest string) {
		op := must(t, f, "POST", "cloudbuild", "v1/projects/demo-p/locations/us-central1/builds", obj{"images": []any{image}})
		results := items(op, "metadata", "build", "results", "images")
		if len(results) > 0 {
			digest = text(results[0], "digest")
		}
		return text(op, "metadata", "build", "status"), digest
	}
	status, first := build(registry + "/nested:x")
	if status != "SUCCESS" || !strings.HasPrefix(first, "sha256:") {
		t.Fatalf("the build: %s %s", status, first)
	}
	_, second := build(registry + "/nested:x")
	if second == first {
		t.Error("two builds have one digest")
	}
	tag := must(t, f, "GET", "artifactregistry", "v1/projects/demo-p/locations/us-central1/repositories/casewatch/packages/functions%2Fnested/tags/x", nil)
	if last(text(tag, "version")) != second {
		t.Errorf("the tag is at %s, want the last build's", text(tag, "version"))
	}
	if status, _ := build("us-central1-docker.pkg.dev/demo-p/missing/functions:x"); status != "FAILURE" {
		t.Errorf("a build for a repository that is not there: %s", status)
	}
	refused(t, f, "POST", "cloudbuild", "v1/projects/demo-p/builds", obj{"source": obj{"storageSource": obj{"bucket": "b", "object": "o"}}}, http.StatusNotFound, "NOT_FOUND")
}
