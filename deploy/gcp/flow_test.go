package gcp_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/deploy/gcp/env"
)

// trouble is the stub's.
type trouble struct {
	Match, Says string
	Times       int
	Late        bool
}

var changing = regexp.MustCompile(` (create|add|delete|rm|submit|remove-[a-z-]+) `)

// changes are the commands that are no update.
func changes(calls []string) []string {
	return slices.DeleteFunc(calls, func(call string) bool {
		return !strings.HasPrefix(call, "gcloud") || !changing.MatchString(call) || strings.Contains(call, "services identity create")
	})
}

// TestDeployment takes a project from nothing through releases, a refused candidate, a promotion that is taken back, a rollback, to its end.
func TestDeployment(t *testing.T) {
	t.Parallel()
	p := newProject(t, "production")
	out := p.runs("deploy.sh")
	p.says(out, "Done. start is at https://casewatch-start-123456789012.us-central1.run.app", "ended succeeded")
	if strings.Contains(out, "the-key-of-the-pipeline") || strings.Contains(strings.Join(p.calls(), "\n"), "the-key-of-the-pipeline") {
		t.Error("a secret is printed, or is an argument")
	}
	p.runs("verify.sh")
	first := p.serving()
	if len(first) != 8 {
		t.Fatalf("these serve: %v", first)
	}

	// Again: only updates, no new revision, no traffic moved.
	_ = p.calls()
	before := p.state()
	p.runs("deploy.sh")
	calls := p.calls()
	lintCalls(t, calls)
	if made := changes(calls); len(made) > 0 {
		t.Errorf("the second deployment makes %q", made)
	}
	if after := p.state(); !slices.Equal(before.Names, after.Names) {
		t.Errorf("the second deployment leaves other resources: %v, before %v", after.Names, before.Names)
	}
	for name, o := range p.state().Live {
		was := before.Live[name]
		if strings.HasPrefix(name, "run services ") { // the traffic of the first deployment is that of the latest revision, whichever that is
			path(o, "spec")["traffic"], path(was, "spec")["traffic"], path(o, "status")["traffic"], path(was, "status")["traffic"] = nil, nil, nil, nil
		}
		if fmt.Sprint(o) != fmt.Sprint(was) {
			t.Errorf("the second deployment changes %s: %v, was %v", name, o, was)
		}
	}
	if now := p.serving(); !maps.Equal(now, first) {
		t.Errorf("after the second deployment these serve: %v, before %v", now, first)
	}
	p.runs("verify.sh")

	// A candidate is refused: no traffic moves. A newer builder is a new image, without being asked for.
	p.file = env.Example(t, "production", "STALL_AFTER=6m")
	p.edit(func(live object) { live["builder"] = object{"digest": "sha256:" + strings.Repeat("c", 64)} })
	p.write("canaries.json", []string{"failed"})
	_ = p.calls()
	p.fails("deploy.sh", "nothing was promoted")
	if made := changes(p.calls()); len(made) != 1 || !strings.Contains(made[0], "gcloud builds submit") {
		t.Errorf("a newer builder makes %q", made)
	}
	if now := p.serving(); !maps.Equal(now, first) {
		t.Errorf("after a refused candidate these serve: %v, before %v", now, first)
	}
	p.fails("verify.sh", "has a candidate", "should be the newest")

	// The canary after the promotion fails: the traffic goes back.
	p.write("canaries.json", []string{"succeeded", "timed_out"})
	p.fails("deploy.sh", "Traffic goes back", "did not succeed after the promotion")
	if now := p.serving(); !maps.Equal(now, first) {
		t.Errorf("after a promotion that failed these serve: %v, before %v", now, first)
	}

	// The promotion breaks off in the middle: the traffic goes back too.
	p.write("plan.json", []trouble{{`update-traffic casewatch-sweep --to-revisions`, "the connection was lost", 1, false}})
	p.fails("deploy.sh", "the connection was lost", "Traffic goes back")
	if now := p.serving(); !maps.Equal(now, first) {
		t.Errorf("after a promotion that broke off these serve: %v, before %v", now, first)
	}

	// And then it goes through.
	_ = p.calls()
	p.runs("deploy.sh")
	for _, call := range changes(p.calls()) {
		t.Errorf("what was made is made again: %s", call)
	}
	second := p.serving()
	for function, revision := range second {
		if revision == first[function] {
			t.Errorf("%s serves %s still", function, revision)
		}
	}
	p.runs("verify.sh")

	p.runs("rollback.sh")
	if now := p.serving(); !maps.Equal(now, first) {
		t.Errorf("after the rollback these serve: %v, want %v", now, first)
	}
	p.fails("rollback.sh", "nothing was changed")
	p.runs("deploy.sh")
	if now := p.serving(); !maps.Equal(now, second) {
		t.Errorf("deployed again these serve: %v, want %v", now, second)
	}

	p.runs("destroy.sh", "--yes")
	left := p.state()
	for _, name := range left.Names {
		if regexp.MustCompile(`^(run services|tasks queues|scheduler|iam service|logging|monitoring|storage)`).MatchString(name) {
			t.Errorf("%s is left", name)
		}
	}
	for _, name := range []string{"firestore databases casewatch-cases", "secrets casewatch-token-secret", "pubsub topics casewatch-ended", "pubsub subscriptions casewatch-dead-letter"} {
		if left.Live[name] == nil {
			t.Errorf("%s is deleted without --data", name)
		}
	}
	p.runs("destroy.sh", "--yes", "--data")
	if left := p.state(); left.Live["firestore databases casewatch-cases"] != nil || left.Live["secrets casewatch-token-secret"] != nil {
		t.Errorf("with --data this is left: %v", left.Names)
	}
	_ = p.calls()
}

// TestDeploymentThatBreaksOff: whatever command fails, the next run goes on, and makes nothing twice.
func TestDeploymentThatBreaksOff(t *testing.T) {
	t.Parallel()
	p := newProject(t, "production")
	for _, at := range []string{`pubsub topics create casewatch-ended`, `run services replace \S+casewatch-start`} {
		p.write("plan.json", []trouble{{at, "INTERNAL: broken off", 1, true}})
		p.fails("deploy.sh", "This command failed", "INTERNAL: broken off")
	}
	p.runs("deploy.sh")
	made := map[string]int{}
	for _, call := range changes(p.calls()) {
		made[call]++
		if made[call] > 1 && !strings.Contains(call, "add-iam-policy-binding") {
			t.Errorf("made twice: %s", call)
		}
	}
	p.runs("verify.sh")
}

// TestRightsThatAreNotKnownYet: commands that fail for one are repeated, and say so.
func TestRightsThatAreNotKnownYet(t *testing.T) {
	t.Parallel()
	p := newProject(t, "production")
	p.write("plan.json", []trouble{
		{`services enable`, "SERVICE_DISABLED: Service Usage API has not been used in project 1 before", 1, false},
		{`iam-policy casewatch-token-secret`, "INVALID_ARGUMENT: Service account casewatch-start@demo-p.iam.gserviceaccount.com does not exist.", 2, false},
		{`builds submit`, "INVALID_ARGUMENT: could not resolve source: googleapi: Error 403: casewatch-build@demo-p.iam.gserviceaccount.com does not have storage.objects.get access to the Google Cloud Storage object. Permission 'storage.objects.get' denied on resource (or it may not exist).", 2, false},
		{`run services replace`, "Google Cloud Run Service Agent must have permission to read the image, us-central1-docker.pkg.dev/demo-p/casewatch/casewatch@sha256:0.", 1, false},
	})
	if out := p.runs("deploy.sh"); strings.Count(out, "for at most 8 minutes") != 6 {
		t.Errorf("6 repetitions are not said:\n%s", out)
	}
	p.calls()
}

// TestBeforeAnythingIsChanged: what is wrong is found while nothing but APIs is there.
func TestBeforeAnythingIsChanged(t *testing.T) {
	t.Parallel()
	database := object{"name": "casewatch-cases", "type": "FIRESTORE_NATIVE", "locationId": "us-central1"}
	for name, test := range map[string]struct {
		live  object
		lines []string
		says  string
	}{
		"the operator's secret": {object{"versions casewatch-pipeline-api-key 1": nil}, nil, "gcloud secrets versions add casewatch-pipeline-api-key"},
		"mode":                  {object{"firestore databases casewatch-cases": object{"type": "DATASTORE_MODE", "locationId": "us-central1"}}, nil, "is DATASTORE_MODE in us-central1"},
		"place":                 {object{"firestore databases casewatch-cases": database}, []string{"FIRESTORE_LOCATION=nam5"}, "not FIRESTORE_NATIVE in nam5"},
		"another's database":    {object{"firestore databases casewatch-cases": database, "owner casewatch-cases": object{"prefix": "other"}}, nil, "belongs to the environment other"},
		"nobody's data":         {object{"firestore databases casewatch-cases": database, "collections casewatch-cases": object{"there": true}}, nil, "is not empty and has no owner"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t, "production", test.lines...)
			p.edit(func(live object) { maps.Copy(live, test.live) })
			p.fails("deploy.sh", test.says)
			if made := changes(p.calls()); len(made) > 0 {
				t.Errorf("it made %q", made)
			}
			if test.live["owner casewatch-cases"] != nil {
				if out, status := p.script("destroy.sh", "--data", "--yes"); status != 1 || !strings.Contains(out, "nothing was deleted") {
					t.Errorf("destroy.sh exits with %d:\n%s", status, out)
				}
				if made := changes(p.calls()); len(made) > 0 {
					t.Errorf("it deleted %q", made)
				}
			}
		})
	}
}

// TestTwoEnvironments: two in one project, on one Cloud SQL instance or on Firestore; what destroys the one leaves the other whole.
func TestTwoEnvironments(t *testing.T) {
	for _, example := range []string{"production", "staging"} {
		t.Run(example, func(t *testing.T) {
			t.Parallel()
			p := newProject(t, example, "PIPELINE_API_KEY=")
			one, two := p.file, env.Example(t, example, "PIPELINE_API_KEY=", "PREFIX=second")
			p.runs("deploy.sh")
			alone := p.state()
			p.file = two
			p.runs("deploy.sh")
			p.runs("destroy.sh", "--data", "--yes")
			left := p.state()
			for name, o := range alone.Live {
				if fmt.Sprint(o) != fmt.Sprint(left.Live[name]) {
					t.Errorf("%s was %v, is %v", name, o, left.Live[name])
				}
			}
			for _, name := range left.Names {
				if strings.Contains(name, "second") && !regexp.MustCompile(`^(policy|versions|owner|run revisions|artifacts docker|firestore (indexes|backups))`).MatchString(name) {
					t.Errorf("%s is left", name)
				}
			}
			p.file = one
			p.runs("verify.sh")
			if example == "staging" {
				p.runs("destroy.sh", "--data", "--yes")
				if p.state().Live["sql instances casewatch"] != nil {
					t.Error("the instance is left without a database")
				}
			}
			p.calls()
		})
	}
}

// TestVariants: a load balancer in front, a network, allUsers, no canary, Identity-Aware Proxy, several queues, a new build.
func TestVariants(t *testing.T) {
	t.Parallel()
	p := newProject(t, "production", "INGRESS=internal-and-cloud-load-balancing", "SKIP_CANARY=true", "CONSOLE_IAP=true", "PUBLIC_ACCESS=allUsers", "QUEUE_SHARDS=2",
		"NETWORK=vpc", "SUBNET=functions", "START_URL=https://casewatch-start-123456789012.us-central1.run.app", "STATUS_URL=https://casewatch-status-123456789012.us-central1.run.app/",
		"CANCEL_URL=https://cases.example.com/cancel")
	p.says(p.runs("deploy.sh"), "No canary case", "console: https://casewatch-console")
	p.says(p.runs("deploy.sh"), "The candidates cannot be reached from outside")
	p.runs("verify.sh")
	service := fmt.Sprint(p.state().Live["run services casewatch-check"])
	p.says(service, `run.googleapis.com/network-interfaces:[{"network":"vpc","subnetwork":"functions"}]`, "vpc-access-egress:private-ranges-only", "ingress:internal ")
	_ = p.calls()
	p.runs("deploy.sh", "--rebuild")
	if made := changes(p.calls()); len(made) != 1 || !strings.Contains(made[0], "gcloud builds submit") {
		t.Errorf("--rebuild makes %q", made)
	}
}
