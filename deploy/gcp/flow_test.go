package gcp_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/deploy/gcp/env"
)

// fault is a command that the stub lets fail. The stub describes its fields.
type fault struct {
	Match, Message string
	Times          int
	AfterEffect    bool
	Signal         syscall.Signal
}

var creating = regexp.MustCompile(` (create|add|delete|rm|submit|remove-[a-z-]+) `)

// creations returns the calls that create or delete something. Updates, and "services identity
// create", which does nothing the second time, are left out.
func creations(calls []string) []string {
	return slices.DeleteFunc(calls, func(call string) bool {
		return !strings.HasPrefix(call, "gcloud") || !creating.MatchString(call) ||
			strings.Contains(call, "services identity create")
	})
}

// TestFirstDeployment shows that a deployment continues after a command failed, creates nothing
// twice, repeats a command that fails for a right that is not known yet, and shows no secret.
func TestFirstDeployment(t *testing.T) {
	t.Parallel()
	p := deployedProject(t)
	p.mustContain(first.outputs[2],
		"Done. start is at https://casewatch-start-123456789012.us-central1.run.app", "ended succeeded")
	if got, want := strings.Count(strings.Join(first.outputs, ""), "for at most 8 minutes"), 6; got != want {
		t.Errorf("the outputs mention %d repetitions, want %d:\n%s", got, want, strings.Join(first.outputs, ""))
	}
	if strings.Contains(strings.Join(slices.Concat(first.outputs, first.calls), "\n"), pipelineKey) {
		t.Error("a secret is printed, or is an argument")
	}
	called := map[string]int{}
	for _, call := range creations(slices.Clone(first.calls)) {
		called[call]++
	}
	for call, got := range called {
		want := 1
		switch {
		case strings.Contains(call, "add-iam-policy-binding"):
			continue // it has no describe command; a second call changes nothing
		case strings.Contains(call, "builds submit"):
			want = 3 // it failed twice
		}
		if got != want {
			t.Errorf("%d calls, want %d: %s", got, want, call)
		}
	}
	if n := len(p.serving()); n != 9 {
		t.Errorf("%d functions serve, want 9", n)
	}
}

// TestDeployment deploys to a deployed project: the same again, a release whose candidate fails,
// two whose promotion fails, and one that succeeds. Then it rolls that release back, deploys it
// again, and deletes everything.
func TestDeployment(t *testing.T) {
	t.Parallel()
	p := deployedProject(t)
	serves := func(after string, want map[string]string) {
		t.Helper()
		if diff := cmp.Diff(want, p.serving()); diff != "" {
			t.Errorf("the serving revisions after %s (-want +got):\n%s", after, diff)
		}
	}
	noTag := func(after, tag string) {
		t.Helper()
		for function, revision := range p.tagged(tag) {
			t.Errorf("after %s the revision %s of %s has the tag %s", after, revision, function, tag)
		}
	}

	// The same deployment again only updates. It makes no revision and moves no traffic.
	old, before := p.serving(), p.state()
	p.mustRun("deploy.sh")
	calls := p.takeCalls()
	lintUpdates(t, calls)
	if got := creations(calls); len(got) > 0 {
		t.Errorf("the second deployment creates or deletes: %q", got)
	}
	if diff := cmp.Diff(before, p.state(), ignoreTraffic); diff != "" {
		t.Errorf("the second deployment changes (-before +after):\n%s", diff)
	}
	serves("the second deployment", old)
	noTag("the second deployment", "candidate")

	// The canary fails at the candidates, so no traffic moves. A newer builder makes a new image
	// without --rebuild.
	p.envFile = env.Example(t, "production", "STALL_AFTER=6m")
	p.edit(func(live object) { live["builder"] = object{"digest": "sha256:" + strings.Repeat("c", 64)} })
	p.write("canaries.json", []string{"failed"})
	_ = p.takeCalls()
	p.mustFail("deploy.sh", "nothing was promoted")
	if got := creations(p.takeCalls()); len(got) != 1 || !strings.Contains(got[0], "gcloud builds submit") {
		t.Errorf("a newer builder leads to %q, want one build", got)
	}
	serves("a failed candidate", old)
	if n := len(p.tagged("candidate")); n != 9 {
		t.Errorf("%d candidates are left, want 9", n)
	}

	// The canary fails after the promotion.
	p.write("canaries.json", []string{"succeeded", "timed_out"})
	p.mustFail("deploy.sh", "Traffic goes back", "did not succeed after the promotion")
	serves("a canary that timed out", old)

	_ = p.takeCalls()
	p.mustRun("deploy.sh")
	if got := creations(p.takeCalls()); len(got) > 0 {
		t.Errorf("the deployment that succeeds creates again: %q", got)
	}
	released := p.serving()
	for function, revision := range released {
		if revision == old[function] {
			t.Errorf("%s still serves %s", function, revision)
		}
	}
	p.mustRun("verify.sh")

	p.mustRun("rollback.sh")
	serves("the rollback", old)
	p.mustFail("rollback.sh", "nothing was changed")
	p.mustRun("deploy.sh")
	serves("the deployment after the rollback", released)

	// A promotion breaks off, is ended by a signal, or is killed.
	p.envFile = env.Example(t, "production", "STALL_AFTER=7m")
	promotion := fault{
		Match: `update-traffic casewatch-sweep --to-revisions`, Message: "the connection was lost", Times: 1,
	}
	p.write("faults.json", []fault{promotion})
	p.mustFail("deploy.sh", "the connection was lost", "Traffic goes back")
	serves("a promotion that broke off", released)
	promotion.Signal = syscall.SIGTERM
	p.write("faults.json", []fault{promotion})
	if out, status := p.run("deploy.sh"); status != 143 || !strings.Contains(out, "Traffic goes back") {
		t.Errorf("a script that was ended by SIGTERM exits with %d:\n%s", status, lastPart(out))
	}
	serves("a promotion that was ended", released)
	if diff := cmp.Diff(old, p.tagged("previous")); diff != "" {
		t.Errorf("what a rollback would go to (-want +got):\n%s", diff)
	}
	promotion.Signal = syscall.SIGKILL
	p.write("faults.json", []fault{promotion})
	if _, status := p.run("deploy.sh"); status != -1 {
		t.Errorf("a killed script exits with %d", status)
	}
	p.write("canaries.json", []string{"succeeded", "timed_out"})
	p.mustFail("deploy.sh", "Traffic goes back")
	serves("a promotion that was killed, and whose next run failed", released)

	p.mustRun("destroy.sh --yes")
	left := p.state()
	deleted := regexp.MustCompile(`^(run services|tasks queues|scheduler|iam service|logging|monitoring|storage)`)
	for _, name := range left.Names {
		if deleted.MatchString(name) {
			t.Errorf("%s is left", name)
		}
	}
	for _, name := range []string{
		"firestore databases casewatch-cases", "secrets casewatch-token-secret", "pubsub topics casewatch-ended",
		"pubsub subscriptions casewatch-dead-letter",
	} {
		if left.Live[name] == nil {
			t.Errorf("%s is deleted without --data", name)
		}
	}
	p.mustRun("destroy.sh --yes --data")
	for _, name := range []string{"firestore databases casewatch-cases", "secrets casewatch-token-secret"} {
		if p.state().Live[name] != nil {
			t.Errorf("%s is left with --data", name)
		}
	}
}

// ignoreTraffic leaves out how traffic is described: for a new service as all of it to the newest
// revision, later by the name of a revision.
var ignoreTraffic = cmp.FilterPath(func(p cmp.Path) bool {
	key, ok := p.Last().(cmp.MapIndex)
	return ok && key.Key().String() == "traffic"
}, cmp.Ignore())

// TestStopBeforeAnyChange shows that a missing secret, or a store that is not this environment's,
// stops the deployment before it creates anything.
func TestStopBeforeAnyChange(t *testing.T) {
	t.Parallel()
	database := object{"name": "casewatch-cases", "type": "FIRESTORE_NATIVE", "locationId": "us-central1"}
	for name, test := range map[string]struct {
		live  object
		lines []string
		want  string
	}{
		"no secret of the operator": {
			live: object{"versions casewatch-pipeline-api-key 1": nil},
			want: "gcloud secrets versions add casewatch-pipeline-api-key",
		},
		"another mode": {
			live: object{
				"firestore databases casewatch-cases": object{"type": "DATASTORE_MODE", "locationId": "us-central1"},
			},
			want: "is DATASTORE_MODE in us-central1",
		},
		"another location": {
			live:  object{"firestore databases casewatch-cases": database},
			lines: []string{"FIRESTORE_LOCATION=nam5"},
			want:  "not FIRESTORE_NATIVE in nam5",
		},
		"another environment's database": {
			live: object{
				"firestore databases casewatch-cases": database,
				"owner casewatch-cases":               object{"prefix": "other"},
			},
			want: "belongs to the environment other",
		},
		"data without an owner": {
			live: object{
				"firestore databases casewatch-cases": database,
				"collections casewatch-cases":         object{"there": true},
			},
			want: "is not empty and has no owner",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t, "production", test.lines...)
			p.edit(func(live object) { maps.Copy(live, test.live) })
			p.mustFail("deploy.sh", test.want)
			if got := creations(p.takeCalls()); len(got) > 0 {
				t.Errorf("deploy.sh created %q", got)
			}
			if test.live["owner casewatch-cases"] == nil {
				return
			}
			p.mustFail("destroy.sh --data --yes", "nothing was deleted")
			if got := creations(p.takeCalls()); len(got) > 0 {
				t.Errorf("destroy.sh deleted %q", got)
			}
		})
	}
}

// TestTwoEnvironments deploys a second environment to a project and destroys it. The first one
// stays as it was, on Firestore and on one shared Cloud SQL instance.
func TestTwoEnvironments(t *testing.T) {
	t.Parallel()
	t.Run("Firestore", func(t *testing.T) {
		t.Parallel()
		destroySecond(t, deployedProject(t), "production")
	})
	t.Run("Cloud SQL", func(t *testing.T) {
		t.Parallel()
		p := newProject(t, "staging")
		p.mustRun("deploy.sh")
		destroySecond(t, p, "staging")
		p.mustRun("destroy.sh --data --yes")
		if p.state().Live["sql instances casewatch"] != nil {
			t.Error("the instance is left without a database")
		}
	})
}

// destroySecond deploys a second environment to the project of p, destroys it, and compares the
// rest. Then it verifies the first environment.
func destroySecond(t *testing.T, p *project, example string) {
	t.Helper()
	firstFile, before := p.envFile, p.state()
	p.envFile = env.Example(t, example, "PIPELINE_API_KEY=", "PREFIX=second")
	p.mustRun("deploy.sh")
	p.mustRun("destroy.sh --data --yes")
	after := p.state()
	for name, o := range before.Live {
		if diff := cmp.Diff(o, after.Live[name]); diff != "" {
			t.Errorf("%s of the first environment changed (-before +after):\n%s", name, diff)
		}
	}
	// The stub keeps what Google Cloud deletes with its parent.
	parts := regexp.MustCompile(`^(policy|versions|owner|run revisions|artifacts docker|firestore (indexes|backups))`)
	for _, name := range after.Names {
		if strings.Contains(name, "second") && !parts.MatchString(name) {
			t.Errorf("%s is left", name)
		}
	}
	p.envFile = firstFile
	p.mustRun("verify.sh")
}

// TestVariants deploys with a load balancer in front, a network, allUsers, no canary,
// Identity-Aware Proxy and two check queues; then again with --rebuild.
func TestVariants(t *testing.T) {
	t.Parallel()
	p := newProject(t, "production",
		"INGRESS=internal-and-cloud-load-balancing", "PUBLIC_ACCESS=allUsers", "NETWORK=vpc", "SUBNET=functions",
		"SKIP_CANARY=true", "CONSOLE_IAP=true", "QUEUE_SHARDS=2",
		"START_URL=https://casewatch-start-123456789012.us-central1.run.app",
		"STATUS_URL=https://casewatch-status-123456789012.us-central1.run.app/",
		"CANCEL_URL=https://cases.example.com/cancel", "CALLBACK_URL=https://cases.example.com/callback")
	p.mustContain(p.mustRun("deploy.sh"), "No canary case", "console: https://casewatch-console")
	_ = p.takeCalls()
	p.mustContain(p.mustRun("deploy.sh --rebuild"), "The candidates cannot be reached from outside")
	if got := creations(p.takeCalls()); len(got) != 1 || !strings.Contains(got[0], "gcloud builds submit") {
		t.Errorf("--rebuild leads to %q, want one build", got)
	}
	p.mustRun("verify.sh")
	p.mustContain(fmt.Sprint(p.state().Live["run services casewatch-check"]),
		`run.googleapis.com/network-interfaces:[{"network":"vpc","subnetwork":"functions"}]`,
		"vpc-access-egress:private-ranges-only", "ingress:internal ")
}
