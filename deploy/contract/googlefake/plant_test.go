package googlefake

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const queues = "v2/projects/demo-p/locations/us-central1/queues"

func TestFail(t *testing.T) {
	f := Start(t, Options{AllServices: true})
	f.Fail(`^POST cloudtasks .*/queues `, 2, http.StatusForbidden)
	queue := func(id string) obj { return obj{"name": "projects/demo-p/locations/us-central1/queues/" + id} }
	must(t, f, "POST", "cloudtasks", queues, queue("one"))
	must(t, f, "GET", "cloudtasks", queues, nil)
	refused(t, f, "POST", "cloudtasks", queues, queue("two"), http.StatusForbidden, "PERMISSION_DENIED")
	if f.Has("queues/two") {
		t.Error("the call that failed made its queue")
	}
	must(t, f, "POST", "cloudtasks", queues, queue("two"))
	must(t, f, "POST", "cloudtasks", queues, queue("three"))
}

func TestEditing(t *testing.T) {
	var log bytes.Buffer
	f := Start(t, Options{AllServices: true, Log: &log})
	must(t, f, "POST", "cloudtasks", queues, obj{"name": "projects/demo-p/locations/us-central1/queues/check"})
	f.Edit("queues/check", func(queue map[string]any) { queue["rateLimits"].(obj)["maxConcurrentDispatches"] = 7 })
	f.Edit("cloudtasks/projects/demo-p/locations/us-central1/queues/check:iamPolicy", func(policy map[string]any) {
		policy["bindings"] = []any{obj{"role": "roles/cloudtasks.enqueuer", "members": []string{"allUsers"}}}
	})
	if n := at(must(t, f, "GET", "cloudtasks", queues+"/check", nil), "rateLimits", "maxConcurrentDispatches"); n != 7.0 {
		t.Errorf("the queue has a concurrency of %v, want the 7 it was given", n)
	}
	policy := must(t, f, "POST", "cloudtasks", queues+"/check:getIamPolicy", nil)
	if members := items(items(policy, "bindings")[0], "members"); !slices.Equal(members, []any{"allUsers"}) {
		t.Errorf("the queue is open to %v, want allUsers", members)
	}
	f.Put("pubsub/projects/demo-p/topics/stray", obj{"name": "projects/demo-p/topics/stray"})
	if topics := items(must(t, f, "GET", "pubsub", "v1/projects/demo-p/topics", nil), "topics"); len(topics) != 1 {
		t.Errorf("there are %v, want the topic that was put there", topics)
	}
	if got := f.Get("topics/stray"); got["name"] != "projects/demo-p/topics/stray" {
		t.Errorf("Get returns %v", got)
	}
	f.Delete("topics/stray")
	f.Delete("queues/check")
	refused(t, f, "GET", "pubsub", "v1/projects/demo-p/topics/stray", nil, http.StatusNotFound, "NOT_FOUND")
	refused(t, f, "POST", "cloudtasks", queues+"/check:getIamPolicy", nil, http.StatusNotFound, "NOT_FOUND")
	if names := f.Names("cloudtasks/"); len(names) != 0 {
		t.Errorf("what was deleted left %v", names)
	}
	if first, _, _ := strings.Cut(log.String(), "\n"); first != `200 POST cloudtasks `+queues+` {"name":"projects/demo-p/locations/us-central1/queues/check"}` {
		t.Errorf("the log begins with %s", first)
	}
}

func TestNamesThatAreNotUnique(t *testing.T) {
	f := Start(t, Options{})
	f.Put("pubsub/projects/demo-p/topics/x", obj{})
	f.Put("secretmanager/projects/demo-p/topics/x", obj{})
	for name, want := range map[string]string{
		"topics/x":                        "topics/x may be pubsub/projects/demo-p/topics/x or secretmanager/projects/demo-p/topics/x",
		"topics/y":                        "there is no topics/y",
		"pubsub/projects/demo-p/topics/x": "",
	} {
		if _, problem := f.find(name); problem != want {
			t.Errorf("find(%q): %q, want %q", name, problem, want)
		}
	}
}

func TestAddressesOffLoopbackAreRefused(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "192.0.2.1:80", "localhost", ":80"} {
		if f, err := New(Options{Addr: addr}, t.TempDir()); err == nil {
			t.Errorf("a fake listens on %s", addr)
			_ = f.Close()
		}
	}
}

func TestEnv(t *testing.T) {
	t.Setenv("CLOUDSDK_CORE_PROJECT", "somebody-elses")
	t.Setenv("CLOUDSDK_PYTHON", "/usr/bin/python3")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/etc/key.json")
	f := Start(t, Options{Project: "other-p", Number: "42"})
	env := f.Env()
	for _, want := range []string{"CLOUDSDK_CORE_PROJECT=other-p", "CLOUDSDK_PYTHON=/usr/bin/python3", "CLOUDSDK_API_ENDPOINT_OVERRIDES_SQL=" + f.URL() + "/sql/"} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is not in the environment", want)
		}
	}
	for _, v := range env {
		if strings.HasPrefix(v, "GOOGLE_APPLICATION_CREDENTIALS=") || v == "CLOUDSDK_CORE_PROJECT=somebody-elses" {
			t.Errorf("%s is in the environment", v)
		}
	}
	if project := must(t, f, "GET", "cloudresourcemanager", "v1/projects/42", nil); project["projectId"] != "other-p" {
		t.Errorf("the project is %v", project)
	}
	refused(t, f, "GET", "cloudresourcemanager", "v1/projects/demo-p", nil, http.StatusForbidden, "PERMISSION_DENIED")
}
