package main

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/queue/cloudtasks"
)

func TestEverySettingGoesToExactlyTheFunctionsThatUseIt(t *testing.T) {
	values := withConsole("PIPELINE_API_KEY", "secret", "STORE", "secret")
	for _, s := range config.Settings() {
		if s.Example != "" && !fixed(s.Name) && !slices.Contains(secretSettings, s.Name) {
			values[s.Name] = s.Example
		}
	}
	p := planFor(t, values, nil)
	for _, s := range config.Settings() {
		for _, service := range p.Services {
			_, plain := service.Env[s.Name]
			ref, secret := service.Secrets[s.Name]
			want := slices.Contains(s.Functions, service.Function) && !strings.HasSuffix(s.Name, "_EMULATOR_HOST") && s.Name != "INVOKER_ISSUER"
			if plain && secret || (plain || secret) != want {
				t.Errorf("%s of %s: plain %t, secret %t, used %t", s.Name, service.Function, plain, secret, want)
			}
			if isSecret := slices.Contains(secretSettings, s.Name); want && secret != isSecret {
				t.Errorf("%s of %s is a reference: %t", s.Name, service.Function, secret)
			}
			if secret && (ref.Name == "" || ref.Version == "") {
				t.Errorf("%s of %s refers to %+v", s.Name, service.Function, ref)
			}
		}
	}
	for _, service := range p.Services {
		if service.Env["FUNCTION_TARGET"] != service.Function {
			t.Errorf("%s has the target %s", service.Function, service.Env["FUNCTION_TARGET"])
		}
	}
}

// A function that checks its callers' tokens is one that has a caller: so says config, and so says the plan.
func TestPrivateFunctionsHaveOneCaller(t *testing.T) {
	p := planFor(t, good(), nil)
	for _, s := range p.Services {
		caller, private := callers[s.Function]
		if private != used("INVOKER_SERVICE_ACCOUNTS", s.Function) || private == s.Public && s.Function != console {
			t.Errorf("%s: caller %q, public %t", s.Function, caller, s.Public)
		}
		if !private {
			continue
		}
		if s.Env["INVOKER_SERVICE_ACCOUNTS"] != p.account(caller) || s.Env["INVOKER_AUDIENCES"] != s.URL {
			t.Errorf("%s: %v", s.Function, s.Env)
		}
	}
	for function := range callers {
		if !slices.Contains(config.Functions(), function) {
			t.Errorf("there is no function %s", function)
		}
	}
	p = planFor(t, withConsole(), nil)
	order := []string{}
	for _, s := range p.Services {
		order = append(order, s.Function)
	}
	if want := []string{"dispatch", "check", "complete", "sweep", "console", "start", "status", "cancel"}; !slices.Equal(order, want) {
		t.Errorf("the functions are promoted in the order %v, want %v: the console schedules what the private ones do, and the public ones come last", order, want)
	}
}

func TestConsole(t *testing.T) {
	operators := []string{"user:operator@example.com", "serviceAccount:robot@other.iam.gserviceaccount.com"}
	holders := func(p *Plan, kind, role string) []string {
		for _, policy := range p.Policies {
			if policy.Kind != kind || policy.Name != "casewatch-console" {
				continue
			}
			for _, b := range policy.Bindings {
				if b.Role == role && b.exact {
					return b.Members
				}
			}
		}
		return nil
	}
	p := planFor(t, withConsole("CONSOLE_IAP", "false"), nil)
	s := p.service("console")
	if s == nil || s.Public || s.IAP || len(p.Omitted) != 0 || slices.Contains(p.APIs, "iap.googleapis.com") {
		t.Fatalf("%+v, %+v", s, p.Omitted)
	}
	if got := s.Env["CONSOLE_AUDIENCES"]; got != s.URL+",32555940559.apps.googleusercontent.com" {
		t.Errorf("tokens have to be for %s", got)
	}
	if diff := cmp.Diff(operators, holders(p, "service", "roles/run.invoker")); diff != "" || holders(p, "iap", "roles/iap.httpsResourceAccessor") != nil {
		t.Errorf("who may call (-want +got):\n%s", diff)
	}

	p = planFor(t, withConsole("CONSOLE_IAP", "true"), stateOf(t, map[string]any{"project": object{"projectNumber": "42"}}, ""))
	s = p.service("console")
	if !s.IAP || !slices.Contains(p.APIs, "iap.googleapis.com") || s.Env["CONSOLE_AUDIENCES"] != "/projects/42/locations/us-central1/services/casewatch-console" {
		t.Errorf("behind IAP: %+v", s)
	}
	if diff := cmp.Diff([]string{"serviceAccount:service-42@gcp-sa-iap.iam.gserviceaccount.com"}, holders(p, "service", "roles/run.invoker")); diff != "" {
		t.Errorf("who may call, behind IAP (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(operators, holders(p, "iap", "roles/iap.httpsResourceAccessor")); diff != "" {
		t.Errorf("whom IAP lets pass (-want +got):\n%s", diff)
	}

	p = planFor(t, good(), nil)
	if want := []Omitted{{"console", "casewatch-console", p.account("console"), "CONSOLE_USERS is not set"}}; !slices.Equal(p.Omitted, want) || p.service("console") != nil || rightsOf(p, "serviceAccount:"+p.account("console")) != nil {
		t.Errorf("without users there is a console: %+v, %v", p.Omitted, rightsOf(p, "serviceAccount:"+p.account("console")))
	}
}

func TestQueuesAreThoseThatTheAdapterUses(t *testing.T) {
	for _, shards := range []string{"1", "4"} {
		p := planFor(t, with("QUEUE_SHARDS", shards, "DISPATCH_CONCURRENCY", "20", "DISPATCH_RATE", "2.5", "CONCURRENCY_CHECK", "100"), nil)
		adapter := cloudtasks.Config{Project: p.Project, Location: p.Region, CheckQueue: p.Prefix + "-check", DispatchQueue: p.Prefix + "-dispatch", Shards: number(shards)}
		var want, got []string
		for _, name := range adapter.Queues() {
			want = append(want, path.Base(name))
		}
		for _, q := range p.Queues {
			got = append(got, q.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s shards (-want +got):\n%s", shards, diff)
		}
		if q := p.Queues[0]; q.Rate != 500 || q.Concurrency != 1000/number(shards) {
			t.Errorf("%s shards: checks %+v", shards, q)
		}
		if q := p.Queues[len(p.Queues)-1]; q.Rate != 2.5 || q.Concurrency != 20 {
			t.Errorf("%s shards: dispatches %+v", shards, q)
		}
	}
}

// rightsOf lists what an account may do, as "role on kind/name".
func rightsOf(p *Plan, member string) []string {
	var rights []string
	for _, policy := range p.Policies {
		for _, b := range policy.Bindings {
			if slices.Contains(b.Members, member) {
				rights = append(rights, path.Base(b.Role)+" on "+policy.Kind+"/"+policy.Name)
			}
		}
	}
	slices.Sort(rights)
	return rights
}

func TestRights(t *testing.T) {
	p := planFor(t, withConsole("PIPELINE_API_KEY", "secret", "PIPELINE_PUBLISHERS", "pipeline@other.iam.gserviceaccount.com"), nil)
	settling := []string{
		"cloudtasks.enqueuer on queue/casewatch-check", "cloudtasks.enqueuer on queue/casewatch-dispatch",
		"cloudtasks.taskDeleter on queue/casewatch-check", "cloudtasks.taskDeleter on queue/casewatch-dispatch",
		"datastore.user on project/demo-project", "iam.serviceAccountUser on account/casewatch-tasks@demo-project.iam.gserviceaccount.com",
		"pubsub.publisher on topic/casewatch-ended",
	}
	callable := []string{"secretmanager.secretAccessor on secret/casewatch-api-keys", "secretmanager.secretAccessor on secret/casewatch-token-secret"}
	key := "secretmanager.secretAccessor on secret/casewatch-pipeline-api-key"
	agent := "service-" + numberPlaceholder + "@gcp-sa-pubsub.iam.gserviceaccount.com"
	for account, want := range map[string][]string{
		p.account("start"):  slices.Concat(settling, callable),
		p.account("cancel"): slices.Concat(settling, callable),
		p.account("status"): slices.Concat([]string{ // it brings checks forward, and dispatches nothing
			"cloudtasks.enqueuer on queue/casewatch-check", "cloudtasks.taskDeleter on queue/casewatch-check",
			"datastore.user on project/demo-project", "iam.serviceAccountUser on account/casewatch-tasks@demo-project.iam.gserviceaccount.com"}, callable),
		p.account("dispatch"): slices.Concat(settling, []string{key}),
		p.account("check"):    slices.Concat(settling, []string{key}),
		p.account("console"):  slices.Concat(settling, []string{"cloudtasks.viewer on queue/casewatch-check", "cloudtasks.viewer on queue/casewatch-dispatch"}),
		p.account("complete"): slices.Concat(settling, []string{"pubsub.publisher on topic/casewatch-dead-letter"}),
		p.account("sweep"):    slices.Concat(settling, []string{"cloudtasks.viewer on queue/casewatch-check", "cloudtasks.viewer on queue/casewatch-dispatch"}),
		p.account("tasks"):    {"run.invoker on service/casewatch-check", "run.invoker on service/casewatch-dispatch"},
		p.account("build"):    {"cloudbuild.builds.builder on project/demo-project"},
		p.account("push"):     {"run.invoker on service/casewatch-complete"},
		p.account("scheduler"): {
			"run.invoker on service/casewatch-sweep"},
		agent:                                    {"pubsub.publisher on topic/casewatch-dead-letter", "pubsub.subscriber on subscription/casewatch-complete"},
		"pipeline@other.iam.gserviceaccount.com": {"pubsub.publisher on topic/casewatch-pipeline-events"},
	} {
		slices.Sort(want)
		if diff := cmp.Diff(want, rightsOf(p, "serviceAccount:"+account)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", account, diff)
		}
	}
	anyone := []string{"run.invoker on service/casewatch-cancel", "run.invoker on service/casewatch-start", "run.invoker on service/casewatch-status"}
	if diff := cmp.Diff(anyone, rightsOf(p, "allUsers")); diff != "" {
		t.Errorf("anyone (-want +got):\n%s", diff)
	}
	for _, b := range p.Policies[0].Bindings {
		if b.Role == "roles/cloudbuild.builds.builder" {
			continue
		}
		if b.Condition == nil || b.Condition.Expression != `resource.name=="projects/demo-project/databases/(default)"` {
			t.Errorf("the store is granted with the condition %+v", b.Condition)
		}
	}
}

func TestStores(t *testing.T) {
	p := planFor(t, with("STORE", "firestore:cases"), nil)
	if p.Firestore == nil || p.Firestore.Database != "cases" || p.service("status").Env["STORE"] != "firestore:cases" || !slices.Contains(p.APIs, "firestore.googleapis.com") {
		t.Errorf("firestore: %+v", p.Firestore)
	}
	want := &Firestore{
		Database: "cases",
		Indexes: []Index{
			{"cases(shard ascending, due descending)", "cases", "COLLECTION", []string{"--field-config=field-path=shard,order=ascending", "--field-config=field-path=due,order=descending"}},
			{"runs collection-group(tags contains, at ascending)", "runs", "COLLECTION_GROUP", []string{"--field-config=field-path=tags,array-config=contains", "--field-config=field-path=at,order=ascending"}},
		},
		TTLs: []FieldRef{{"cases.expire_at", "cases", "expire_at"}, {"runs.gone_at", "runs", "gone_at"}},
		Exemptions: []FieldIndex{
			{FieldRef{"cases.expire_at", "cases", "expire_at"}, "no index", []string{"--disable-indexes"}},
			{FieldRef{"cases.at", "cases", "at"}, "ascending in collection", []string{"--index=order=ascending,query-scope=collection"}},
		},
	}
	if diff := cmp.Diff(want, p.Firestore); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	p = planFor(t, with("STORE", "cloudsql", "CLOUD_SQL_INSTANCE", "main", "CLOUD_SQL_TIER", "db-f1-micro", "CLOUD_SQL_VERSION", "POSTGRES_17", "CLOUD_SQL_AVAILABILITY", "zonal"), nil)
	if p.CloudSQL == nil || p.CloudSQL.Connection != "demo-project:us-central1:main" || p.service("status").Secrets["STORE"].Name != "casewatch-store" ||
		!slices.Contains(rightsOf(p, "serviceAccount:"+p.account("status")), "cloudsql.client on project/demo-project") {
		t.Errorf("Cloud SQL: %+v, %v", p.CloudSQL, rightsOf(p, "serviceAccount:"+p.account("status")))
	}
	p = planFor(t, with("STORE", "secret"), nil)
	if p.CloudSQL != nil || p.Firestore != nil || p.service("sweep").Secrets["STORE"].Name != "casewatch-store" {
		t.Errorf("a store of one's own: %+v", p.Secrets)
	}
}

func TestSpecChangesWithWhatIsDeployed(t *testing.T) {
	spec := func(values map[string]string, image, function string) string {
		return planFor(t, values, &state{image: image}).service(function).Spec
	}
	before := spec(good(), "i@sha256:1", "check")
	for name, after := range map[string]string{
		"a setting":             spec(with("CHECK_MAX_INTERVAL", "40s"), "i@sha256:1", "check"),
		"its memory":            spec(with("MEMORY_CHECK", "2Gi"), "i@sha256:1", "check"),
		"the image":             spec(good(), "i@sha256:2", "check"),
		"another one's timeout": spec(with("TIMEOUT_SWEEP", "600", "CONCURRENCY_STATUS", "500"), "i@sha256:1", "check"),
	} {
		if same := after == before; same != (name == "another one's timeout") {
			t.Errorf("%s: the same %t", name, same)
		}
	}
}

func TestMonitoringFiles(t *testing.T) {
	p := planFor(t, good(), nil)
	metric, alert, dashboard := p.Metrics[0], p.Alerts[0], p.Dashboards[0]
	if metric.Name != "casewatch-ended" || metric.text != "name: casewatch-ended\ndescription: \"Cases that ended. ["+metric.Spec+"]\"\nfilter: project=demo-project\n" {
		t.Errorf("metric %s:\n%s", metric.Name, metric.text)
	}
	for _, want := range []string{`"casewatch-spec": "` + alert.Spec, `"alert": "leaked"`, `"content": "https://example.com/runbooks/leaked.md"`, `{CHANNEL_OF_oncall@example.com}`} {
		if !strings.Contains(alert.text, want) {
			t.Errorf("%s is not in the alert:\n%s", want, alert.text)
		}
	}
	if dashboard.Name != "casewatch" || !strings.Contains(dashboard.text, `"a": "b"`) || !strings.Contains(dashboard.text, dashboard.Spec) {
		t.Errorf("dashboard:\n%s", dashboard.text)
	}
	for given, want := range map[string]string{
		"description: plain words\n":                `description: "plain words [%]"`,
		"description: \"in quotes\"\nfilter: x\n":   `description: "in quotes [%]"`,
		"description: >-\n  two\n  lines\nname: x":  `description: "two lines [%]"`,
		"filter: x\ndescription: first\n  second\n": `description: "first second [%]"`,
	} {
		f := File{Name: "f", text: given}
		if err := stampMetric(p, &f); err != nil || !strings.Contains(f.text, strings.ReplaceAll(want, "%", f.Spec)) || strings.Count(f.text, "description") != 1 {
			t.Errorf("%q becomes %q, %v", given, f.text, err)
		}
	}
	if err := stampMetric(p, &File{text: "name: x\n"}); err == nil {
		t.Error("a metric without a description is accepted")
	}
	if unfilled("${PREFX} ") == nil || unfilled("${metric.label.x}") != nil {
		t.Error("a placeholder that is nobody's is accepted, or one of Monitoring's own is not")
	}
}
