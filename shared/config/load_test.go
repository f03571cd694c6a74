package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// environment is a set of variables.
type environment map[string]string

func (e environment) lookup(name string) (string, bool) {
	v, ok := e[name]
	return v, ok
}

func (e environment) with(pairs ...string) environment {
	c := maps.Clone(e)
	for i := 0; i < len(pairs); i += 2 {
		c[pairs[i]] = pairs[i+1]
	}
	return c
}

func (e environment) without(names ...string) environment {
	c := maps.Clone(e)
	for _, n := range names {
		delete(c, n)
	}
	return c
}

// onCloud gives every setting its example, on Google Cloud.
func onCloud() environment {
	return elsewhere().with("K_SERVICE", "x").without("INVOKER_SERVICE_ACCOUNTS")
}

// elsewhere gives every setting its example, outside Google Cloud.
func elsewhere() environment {
	e := environment{}
	for _, s := range config.Settings() {
		if s.Example != "" {
			e[s.Name] = s.Example
		}
	}
	return e
}

// onePlace is the least that works on one machine.
func onePlace() environment {
	e := environment{}
	for _, s := range config.Settings() {
		if s.Required {
			e[s.Name] = s.Example
		}
	}
	return e.with("STORE", "sqlite:.local/cases.db", "ALLOW_ANONYMOUS", "true",
		"PIPELINE_API_URL", "https://pipeline.example.com")
}

func faultNames(t *testing.T, err error) []string {
	t.Helper()
	var e *config.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v, want a *config.Error", err)
	}
	var names []string
	for _, f := range e.Faults {
		names = append(names, f.Name)
		if !strings.Contains(err.Error(), "\n  "+f.Name+" ") {
			t.Errorf("the text does not name %s on a line of its own:\n%v", f.Name, err)
		}
	}
	return names
}

func TestExamplesAreAcceptedOnGoogleCloud(t *testing.T) {
	for _, function := range append(config.Functions(), config.Local) {
		c, err := config.Load(function, onCloud().lookup)
		if err != nil {
			t.Errorf("%s: %v", function, err)
			continue
		}
		if !c.OnGoogleCloud || c.Function != function {
			t.Errorf("%s: OnGoogleCloud %v, Function %q", function, c.OnGoogleCloud, c.Function)
		}
	}
}

func TestDefaults(t *testing.T) {
	c, err := config.Load(config.Local, onePlace().lookup)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Access.TokenSecrets) != 1 {
		t.Fatalf("%d token secrets", len(c.Access.TokenSecrets))
	}
	c.Access.TokenSecrets = nil
	type noSecrets struct {
		Function string
		Cloud    bool
		Pipeline [3]any
		Timeout  time.Duration
		Rules    config.Rules
		Hold     time.Duration
		Queue    config.Queue
		Store    string
	}
	got := noSecrets{
		c.Function,
		c.OnGoogleCloud,
		[3]any{c.Pipeline.URL, c.Pipeline.Auth, c.Pipeline.Idempotent},
		c.Pipeline.Timeout,
		c.Rules,
		c.Stream.Hold,
		c.Queue,
		fmt.Sprint(c.Store.Driver, " ", c.Store.Location.Reveal()),
	}
	want := noSecrets{
		"local",
		false,
		[3]any{"https://pipeline.example.com", config.AuthNone, false},
		29*time.Minute + 30*time.Second,
		config.Rules{
			CaseDeadline: time.Hour, MaxDeadline: 24 * time.Hour,
			CheckMinInterval: 2 * time.Second, CheckMaxInterval: 30 * time.Second, CheckTimeout: 10 * time.Second,
			StartGrace: 2 * time.Minute, CompletionGrace: 30 * time.Second, StallAfter: 5 * time.Minute,
			UnreachableAfter: 10 * time.Minute, Retention: 720 * time.Hour, FormRetention: 24 * time.Hour,
		},
		290 * time.Second,
		config.Queue{
			Location:    "europe-west1",
			Check:       "casewatch-check",
			Dispatch:    "casewatch-dispatch",
			Shards:      1,
			Rate:        500,
			Concurrency: 10,
		},
		"sqlite .local/cases.db",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	for _, function := range append(config.Functions(), config.Local) {
		missing := []string{"PIPELINE_API_URL"}
		var faulty []string
		senseless := environment{"K_SERVICE": "x"}
		for _, s := range config.Settings() {
			if s.UsedBy(function) {
				if s.Required {
					missing = append(missing, s.Name)
				}
				faulty = append(faulty, s.Name)
			}
			senseless[s.Name] = "# no value of anything #"
		}
		if function == "start" || function == config.Local {
			i := slices.Index(faulty, "API_KEYS")
			missing = append(missing, faulty[i])
		}
		if slices.Contains(faulty, "INVOKER_SERVICE_ACCOUNTS") && function != config.Local {
			missing = append(missing, "INVOKER_SERVICE_ACCOUNTS")
		}
		_, err := config.Load(function, environment{}.lookup)
		got := faultNames(t, err)
		slices.Sort(got)
		slices.Sort(missing)
		if diff := cmp.Diff(missing, got); diff != "" {
			t.Errorf("%s with nothing set (-want +got):\n%s", function, diff)
		}
		_, err = config.Load(function, senseless.lookup)
		if diff := cmp.Diff(faulty, faultNames(t, err)); diff != "" {
			t.Errorf("%s with nonsense everywhere, in the order of the table (-want +got):\n%s", function, diff)
		}
		if want := fmt.Sprintf("faulty settings of the function %s (%d):", function, len(faulty)); !strings.HasPrefix(
			err.Error(),
			want,
		) {
			t.Errorf("the text begins with %.60q, want %q", err.Error(), want)
		}
		var one config.Fault
		if !errors.As(err, &one) || one.Name != faulty[0] {
			t.Errorf("the faults are not errors of their own: %v", one)
		}
	}
}

func TestAFunctionAsksOnlyForWhatItUses(t *testing.T) {
	for _, function := range config.Functions() {
		asked := map[string]bool{}
		_, err := config.Load(function, func(name string) (string, bool) {
			asked[name] = true
			return onCloud().lookup(name)
		})
		if err != nil {
			t.Errorf("%s: %v", function, err)
		}
		for _, s := range config.Settings() {
			if asked[s.Name] != slices.Contains(s.Functions, function) {
				t.Errorf("%s asks for %s: %v, but its table says otherwise", function, s.Name, asked[s.Name])
			}
		}
	}
	if _, err := config.Load("console2", onCloud().lookup); err == nil ||
		!strings.Contains(err.Error(), `"console2"`) ||
		!strings.Contains(err.Error(), "sweep") {
		t.Errorf("a function that is not there: %v", err)
	}
}

func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range config.Settings() {
		if seen[s.Name] || s.Doc == "" || s.Expected == "" || s.Required && (s.Default != "" || s.Example == "") {
			t.Errorf("%+v: named twice, without a text, or required with a default or no example", s)
		}
		seen[s.Name] = true
		for _, f := range s.Functions {
			if !slices.Contains(config.Functions(), f) {
				t.Errorf("%s is said to be used by %q, which is no function", s.Name, f)
			}
		}
		s.Functions = append(s.Functions[:0], "changed")
	}
	for _, s := range config.Settings() {
		if slices.Contains(s.Functions, "changed") {
			t.Fatalf("what Settings returns can change the table: %s", s.Name)
		}
	}
}

func TestRelations(t *testing.T) {
	for _, test := range []struct {
		name, function string
		env            environment
		want           []string
	}{
		{"min above max", "check", onCloud().with("CHECK_MIN_INTERVAL", "61s"), []string{"CHECK_MIN_INTERVAL"}},
		{"min is max", "check", onCloud().with("CHECK_MIN_INTERVAL", "60s"), nil},
		{
			"max faulty: min is not compared", "check",
			onCloud().with("CHECK_MIN_INTERVAL", "61s", "CHECK_MAX_INTERVAL", "x"),
			[]string{"CHECK_MAX_INTERVAL"},
		},
		{"case above max", "start", onCloud().with("CASE_DEADLINE", "49h"), []string{"CASE_DEADLINE"}},
		{"case is max", "start", onCloud().with("CASE_DEADLINE", "48h"), nil},
		{
			"pipeline not below the request", "dispatch", onCloud().with("PIPELINE_TIMEOUT", "30m"),
			[]string{"PIPELINE_TIMEOUT"},
		},
		{"pipeline below the request", "dispatch", onCloud().with("PIPELINE_TIMEOUT", "29m59s"), nil},
		{
			"pipeline's default, request too short", "dispatch",
			onCloud().with("CLOUD_RUN_TIMEOUT_SECONDS", "60").without("PIPELINE_TIMEOUT"),
			[]string{"PIPELINE_TIMEOUT"},
		},
		{
			"pipeline, request not said", "dispatch",
			onCloud().with("PIPELINE_TIMEOUT", "30m").without("CLOUD_RUN_TIMEOUT_SECONDS"), nil,
		},
		{
			"pipeline, request faulty", "dispatch", onCloud().with("CLOUD_RUN_TIMEOUT_SECONDS", "1m"),
			[]string{"CLOUD_RUN_TIMEOUT_SECONDS"},
		},
		{"another function's request is shorter", "check", onCloud().with("CLOUD_RUN_TIMEOUT_SECONDS", "60"), nil},
		{"stream below the request", "status", onCloud().with("CLOUD_RUN_TIMEOUT_SECONDS", "281"), nil},
		{
			"stream not below the request", "status", onCloud().with("CLOUD_RUN_TIMEOUT_SECONDS", "280"),
			[]string{"STREAM_HOLD"},
		},
		{
			"stream's default, request too short", "status",
			onCloud().with("CLOUD_RUN_TIMEOUT_SECONDS", "60").without("STREAM_HOLD"), []string{"STREAM_HOLD"},
		},
		{"stream, request not said", "status", onCloud().without("CLOUD_RUN_TIMEOUT_SECONDS"), nil},
		{
			"both in one process", config.Local, onCloud().with("CLOUD_RUN_TIMEOUT_SECONDS", "280"),
			[]string{"PIPELINE_TIMEOUT", "STREAM_HOLD"},
		},
		{"one queue for both", "start", onCloud().with("CHECK_QUEUE", "casewatch-dispatch"), []string{"CHECK_QUEUE"}},
		{
			"own events read again", config.Local, onCloud().with("ENDED_TOPIC", "casewatch-pipeline-events"),
			[]string{"ENDED_TOPIC"},
		},
		{
			"dead letters read again", config.Local,
			onCloud().with("DEAD_LETTER_TOPIC", "casewatch-pipeline-events"), []string{"DEAD_LETTER_TOPIC"},
		},
		{
			"dead letters among the ends", "complete", onCloud().with("DEAD_LETTER_TOPIC", "casewatch-ended"),
			[]string{"DEAD_LETTER_TOPIC"},
		},
		{
			"no account for tasks", "sweep", onCloud().without("TASKS_SERVICE_ACCOUNT"),
			[]string{"TASKS_SERVICE_ACCOUNT"},
		},
		{"no account for tasks, elsewhere", "sweep", elsewhere().without("TASKS_SERVICE_ACCOUNT"), nil},
		{
			"no account for the checks that status brings forward", "status",
			onCloud().without("TASKS_SERVICE_ACCOUNT"), []string{"TASKS_SERVICE_ACCOUNT"},
		},
		{"status dispatches nothing", "status", onCloud().without("DISPATCH_QUEUE", "DISPATCH_URL"), nil},
		{
			"nobody may start", "start",
			onCloud().without("API_KEYS", "ALLOW_ANONYMOUS", "OIDC_ISSUER", "OIDC_AUDIENCE"),
			[]string{"API_KEYS"},
		},
		{
			"nobody may start, explicitly", "start",
			onCloud().without("API_KEYS", "OIDC_ISSUER", "OIDC_AUDIENCE").with("ALLOW_ANONYMOUS", "false"),
			[]string{"API_KEYS"},
		},
		{"anyone may start", "start", onCloud().without("API_KEYS", "OIDC_ISSUER", "OIDC_AUDIENCE"), nil},
		{"keys only", "start", onCloud().without("ALLOW_ANONYMOUS", "OIDC_ISSUER", "OIDC_AUDIENCE"), nil},
		{"ID tokens only", "start", onCloud().without("ALLOW_ANONYMOUS", "API_KEYS"), nil},
		{"an issuer without audience", "status", onCloud().without("OIDC_AUDIENCE"), []string{"OIDC_AUDIENCE"}},
		{"an audience without issuer", "cancel", onCloud().without("OIDC_ISSUER"), []string{"OIDC_ISSUER"}},
		{
			"an audience without issuer, and nobody may start", "start",
			onCloud().without("OIDC_ISSUER", "API_KEYS", "ALLOW_ANONYMOUS"),
			[]string{"API_KEYS", "OIDC_ISSUER"},
		},
		{
			"a faulty issuer is not compared", "start",
			onCloud().with("OIDC_ISSUER", "x").without("OIDC_AUDIENCE", "API_KEYS", "ALLOW_ANONYMOUS"),
			[]string{"OIDC_ISSUER"},
		},
		{"private functions know nothing of it", "check", onCloud().without("OIDC_AUDIENCE"), nil},
		{"accounts without audience", "check", elsewhere().without("INVOKER_AUDIENCES"), []string{"INVOKER_AUDIENCES"}},
		{
			"accounts with an empty audience", "sweep", elsewhere().with("INVOKER_AUDIENCES", ""),
			[]string{"INVOKER_AUDIENCES"},
		},
		{"accounts", "complete", elsewhere(), nil},
		{
			"accounts on Google Cloud", "complete", onCloud().with("INVOKER_SERVICE_ACCOUNTS", "a@b.c"),
			[]string{"INVOKER_SERVICE_ACCOUNTS"},
		},
		{
			"faulty accounts on Google Cloud", "complete", onCloud().with("INVOKER_SERVICE_ACCOUNTS", "a"),
			[]string{"INVOKER_SERVICE_ACCOUNTS"},
		},
		{
			"no accounts on Google Cloud", "dispatch",
			onCloud().with("INVOKER_SERVICE_ACCOUNTS", "").without("INVOKER_AUDIENCES"), nil,
		},
		{
			"no accounts", "dispatch", elsewhere().without("INVOKER_SERVICE_ACCOUNTS"),
			[]string{"INVOKER_SERVICE_ACCOUNTS"},
		},
		{
			"no accounts, explicitly", "sweep", elsewhere().with("INVOKER_SERVICE_ACCOUNTS", ""),
			[]string{"INVOKER_SERVICE_ACCOUNTS"},
		},
		{"no accounts in one process", config.Local, elsewhere().without("INVOKER_SERVICE_ACCOUNTS"), nil},
		{"public functions know nothing of accounts", "status", elsewhere().without("INVOKER_SERVICE_ACCOUNTS"), nil},
		{"nobody may use the console", "console", onCloud().without("CONSOLE_USERS"), []string{"CONSOLE_USERS"}},
		{
			"nobody may use the console, explicitly", "console",
			onCloud().with("CONSOLE_USERS", "").without("CONSOLE_AUDIENCES"), []string{"CONSOLE_USERS"},
		},
		{"nobody is named, on this machine", "console", elsewhere().without("CONSOLE_USERS", "CONSOLE_AUDIENCES"), nil},
		{
			"faulty users are not missing too", "console", onCloud().with("CONSOLE_USERS", "somebody"),
			[]string{"CONSOLE_USERS"},
		},
		{"users without audience", "console", onCloud().without("CONSOLE_AUDIENCES"), []string{"CONSOLE_AUDIENCES"}},
		{
			"users with an empty audience, on this machine", "console",
			elsewhere().with("CONSOLE_AUDIENCES", ""), []string{"CONSOLE_AUDIENCES"},
		},
		{
			"other functions know nothing of its users", "sweep",
			onCloud().without("CONSOLE_USERS", "CONSOLE_AUDIENCES"), nil,
		},
		{"status without keys", "status", onCloud().without("API_KEYS", "ALLOW_ANONYMOUS"), nil},
		{"sqlite on Google Cloud", "sweep", onCloud().with("STORE", "sqlite:x.db"), []string{"STORE"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := config.Load(test.function, test.env.lookup)
			if test.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if diff := cmp.Diff(test.want, faultNames(t, err)); diff != "" {
				t.Errorf("faults (-want +got):\n%s\n%v", diff, err)
			}
		})
	}
}

// holder has the config and a secret in fields that fmt may call no method of.
type holder struct {
	c      *config.Config
	v      config.Config
	secret config.Secret
	keys   config.APIKeys
}

func TestNothingPrintsASecret(t *testing.T) {
	secrets := []string{
		"pipeline-key-7731",
		"caller-key-7732-7732",
		strings.Repeat("token-secret-7733", 3),
		"password-7734",
	}
	env := onCloud().with(
		"PIPELINE_API_KEY", secrets[0], "API_KEYS", secrets[1], "TOKEN_SECRET", secrets[2]+","+secrets[2]+"x",
		"STORE", "postgres://casewatch:"+secrets[3]+"@db.internal/casewatch")
	c, err := config.Load(config.Local, env.lookup)
	if err != nil {
		t.Fatal(err)
	}
	if c.Pipeline.APIKey.Reveal() != secrets[0] || !c.Access.APIKeys.Match(secrets[1]) ||
		c.Access.TokenSecrets[0].Reveal() != secrets[2] ||
		!strings.Contains(c.Store.Location.Reveal(), secrets[3]) {
		t.Fatal("a secret is not what was given")
	}
	var out bytes.Buffer
	h := holder{c, *c, c.Pipeline.APIKey, c.Access.APIKeys}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{
			c, *c, h, &h, c.Pipeline, c.Access, c.Access.APIKeys, &c.Store, c.Store.Location, &c.Store.Location,
			c.Access.TokenSecrets,
		} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	for _, v := range []any{c, c.Store.Location, map[string]config.Secret{"k": c.Pipeline.APIKey}, c.Access} {
		b, err := json.MarshalIndent(v, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).
			Info("x", "config", c, "value", *c, "secret", c.Store.Location, "keys", c.Access.APIKeys,
				"list", c.Access.TokenSecrets)
	}
	text, _ := c.Store.Location.MarshalText()
	out.Write(text)
	for _, s := range secrets {
		for _, form := range []string{s, fmt.Sprintf("%x", s), fmt.Sprintf("%d", []byte(s))} {
			if strings.Contains(out.String(), form) {
				t.Errorf("%.20s was printed", form)
			}
		}
	}
	if !strings.Contains(out.String(), "[redacted]") {
		t.Error("nothing was redacted")
	}
}

func TestFaultsOfSecretsDoNotQuoteThem(t *testing.T) {
	const mark = "hunter2"
	values := []string{
		" " + mark,
		mark + "\x00",
		mark + "\n",
		mark + "\xff",
		mark + " x",
		mark + "ö",
		mark + ",,",
		",",
		"sha256:" + mark,
		"postgres://u:" + mark + "@[/db",
		"postgres://u:" + mark + "@/db",
		"postgres://u:" + mark + "@h%zz/db",
		"https://u:" + mark + "@h/",
		"firestore :" + mark,
		"http://u:" + mark + "@h:x/",
		"https://h/?key=" + mark,
		"https://h/#" + mark,
		"postgres://u:" + mark + "#@h/d",
	}
	faulty := 0
	for _, s := range config.Settings() {
		if !s.Secret && !strings.HasSuffix(s.Name, "_URL") {
			continue
		}
		for _, v := range values {
			_, err := config.Load(config.Local, onCloud().with(s.Name, v).lookup)
			if err == nil {
				continue // a secret may look so
			}
			faulty++
			if strings.Contains(err.Error(), mark) {
				t.Errorf("%s=%q: the error quotes it: %v", s.Name, v, err)
			}
		}
	}
	if faulty < 50 {
		t.Errorf("only %d of the values were faults: the test has lost its object", faulty)
	}
}
