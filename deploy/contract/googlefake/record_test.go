package googlefake

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestCallsAreTheSameInEveryRun(t *testing.T) {
	f := Start(t, Options{AllServices: true})
	must(t, f, "POST", "secretmanager", "v1/projects/demo-p/secrets?secretId=token&alt=json", obj{"replication": obj{"automatic": obj{}}})
	must(t, f, "POST", "secretmanager", "v1/projects/demo-p/secrets/token:addVersion", obj{"payload": obj{
		"data": base64.StdEncoding.EncodeToString([]byte("hush")), "dataCrc32c": "3474842845",
	}})
	must(t, f, "POST", "sql", "sql/v1beta4/projects/demo-p/instances", obj{"name": "db", "rootPassword": "hush"})
	must(t, f, "POST", "logging", "v2/entries:list", obj{"filter": `timestamp>="2026-11-23T08:00:00.123Z"`})
	ask(t, f, "POST", "cloudresourcemanager", "v1/projects/demo-p:setIamPolicy", obj{"policy": obj{"etag": "BwXyz", "bindings": []any{}}})
	ask(t, f, "POST", "cloudbuild", "v1/projects/demo-p/builds", obj{"source": obj{"storageSource": obj{
		"bucket": "b", "object": "source/1795441739.702658-9f6bc6b7d74342049e71b4cb774e10bf.tgz", "generation": "12",
	}}})
	ask(t, f, "POST", "cloudtasks", "v2/projects/demo-p/locations/us-central1/queues", obj{"name": f.URL() + "/x"})

	want := []string{
		`POST secretmanager v1/projects/demo-p/secrets?secretId=token {"replication":{"automatic":{}}}`,
		`POST secretmanager v1/projects/demo-p/secrets/token:addVersion {"payload":{"data":"sha256:dc8331bcb228","dataCrc32c":"CRC32C"}}`,
		`POST sql sql/v1beta4/projects/demo-p/instances {"name":"db","rootPassword":"sha256:dc8331bcb228"}`,
		`POST logging v2/entries:list {"filter":"timestamp>=\"TIME\""}`,
		`POST cloudresourcemanager v1/projects/demo-p:setIamPolicy {"policy":{"bindings":[],"etag":"ETAG"}}`,
		`POST cloudbuild v1/projects/demo-p/builds {"source":{"storageSource":{"bucket":"b","generation":"GENERATION","object":"source/UPLOAD.tgz"}}}`,
		`POST cloudtasks v2/projects/demo-p/locations/us-central1/queues {"name":"http://FAKE/x"}`,
	}
	var got []string
	for _, call := range f.Calls() {
		got = append(got, call.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("calls\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if calls := f.Mutations(); len(calls) != 6 || slices.ContainsFunc(calls, func(c Call) bool { return c.Read || c.API == "logging" }) {
		t.Errorf("mutations are %v, want all but the reading of the log", calls)
	}
	if c := f.Calls()[4]; c.Status != http.StatusConflict || !strings.HasPrefix(c.Error, "ABORTED: ") {
		t.Errorf("%s was answered %d %q, want 409 ABORTED", c, c.Status, c.Error)
	}
	f.ResetCalls()
	if calls := f.Calls(); len(calls) != 0 {
		t.Errorf("after ResetCalls there are %v", calls)
	}
}

func TestUnknownCallsAreBadRequests(t *testing.T) {
	f := Start(t, Options{AllServices: true})
	refused(t, f, "GET", "spanner", "v1/projects/demo-p/instances", nil, http.StatusBadRequest, "INVALID_ARGUMENT")
	refused(t, f, "POST", "cloudtasks", "v2/projects/demo-p/locations/us-central1/queues/q/tasks", obj{}, http.StatusBadRequest, "INVALID_ARGUMENT")
	refused(t, f, "GET", "pubsub", "v1/projects/demo-p/topics/missing", nil, http.StatusNotFound, "NOT_FOUND")
	// gcloud opens a tunnel through its proxy to whatever has no override.
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(f.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "CONNECT compute.googleapis.com:443 HTTP/1.1\r\nHost: compute.googleapis.com:443\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "HTTP/1.1 400 Bad Request\r\n" {
		t.Errorf("a tunnel is answered %q, %v, want 400", line, err)
	}
	var got []string
	for _, call := range f.Unknown() {
		got = append(got, call.String()+" "+call.Error)
	}
	want := []string{
		"GET spanner v1/projects/demo-p/instances INVALID_ARGUMENT: the fake knows no GET spanner v1/projects/demo-p/instances",
		"POST cloudtasks v2/projects/demo-p/locations/us-central1/queues/q/tasks INVALID_ARGUMENT: the fake knows no POST cloudtasks v2/projects/demo-p/locations/us-central1/queues/q/tasks",
		"CONNECT https compute.googleapis.com:443 INVALID_ARGUMENT: the fake knows no CONNECT https compute.googleapis.com:443",
	}
	if !slices.Equal(got, want) {
		t.Errorf("unknown calls are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSplit(t *testing.T) {
	for path, want := range map[string][2]string{
		"v2/projects/p/queues/q:pause":                                {"projects/p/queues/q", "pause"},
		"v1/projects/p/secrets/s/versions/1:access":                   {"projects/p/secrets/s/versions/1", "access"},
		"sql/v1beta4/projects/p/instances":                            {"projects/p/instances", ""},
		"v1/projects/p/locations/l/repositories/r/packages/a%2Fb":     {"projects/p/locations/l/repositories/r/packages/a%2Fb", ""},
		"v1/projects/p/versions/sha256:abc":                           {"projects/p/versions/sha256:abc", ""},
		"v1/projects/p/serviceAccounts/a@p.iam.gserviceaccount.com":   {"projects/p/serviceAccounts/a@p.iam.gserviceaccount.com", ""},
		"apis/serving.knative.dev/v1/namespaces/p/services/s":         {"apis/serving.knative.dev/v1/namespaces/p/services/s", ""},
		"v1/projects/p/databases/(default)/collectionGroups/-/fields": {"projects/p/databases/(default)/collectionGroups/-/fields", ""},
	} {
		if name, verb := split(path); name != want[0] || verb != want[1] {
			t.Errorf("split(%q) = %q, %q, want %q", path, name, verb, want)
		}
	}
}

func TestPatch(t *testing.T) {
	for _, test := range []struct {
		name, mask       string
		have, from, want obj
	}{
		{"no mask", "", obj{"a": 1, "b": 2}, obj{"b": 3}, obj{"a": 1, "b": 3}},
		{"one field", "b", obj{"a": 1, "b": 2}, obj{"a": 9, "b": 3}, obj{"a": 1, "b": 3}},
		{"cleared", "b", obj{"a": 1, "b": 2}, obj{}, obj{"a": 1}},
		{"below", "rate_limits.max_rate", obj{"rateLimits": obj{"maxRate": 1, "burst": 2}}, obj{"rateLimits": obj{"maxRate": 5}}, obj{"rateLimits": obj{"maxRate": 5, "burst": 2}}},
		{"below nothing", "a.b", obj{}, obj{"a": obj{"b": 1}}, obj{"a": obj{"b": 1}}},
		{"two", "a,b", obj{"a": 1, "b": 2}, obj{"a": 3}, obj{"a": 3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			patch(test.have, test.from, test.mask)
			if got, want := fmt.Sprint(test.have), fmt.Sprint(test.want); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}
