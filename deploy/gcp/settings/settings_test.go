package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/deploy/gcp/env"
	"github.com/casewatch/casewatch/shared/config"
)

func TestExamples(t *testing.T) {
	for _, example := range []string{"production", "staging"} {
		if _, err := newPlan(filepath.Join("../env", example+".env"), "..", false, true); err != nil {
			t.Error(err)
		}
		if _, err := newPlan(filepath.Join("../env", example+".env"), "..", false, false); err == nil || !strings.Contains(err.Error(), "placeholder of the example") {
			t.Errorf("%s as it is: %v", example, err)
		}
		p, err := newPlan(env.Example(t, example), "..", false, false)
		if err != nil {
			t.Fatal(err)
		}
		names := strings.Fields(p.values["FUNCTIONS"])
		slices.Sort(names)
		if want := slices.Sorted(slices.Values(config.Functions())); !slices.Equal(names, want) {
			t.Errorf("functions.txt has %v, want %v", names, want)
		}
		for _, f := range p.functions {
			for _, s := range config.Settings() {
				_, secret := f.secrets[s.Name]
				if s.Required && s.UsedBy(f.name) && f.settings[s.Name] == "" && !secret {
					t.Errorf("%s is not given %s", f.name, s.Name)
				}
				if strings.HasPrefix(s.Name, "INVOKER_") && s.Name != "INVOKER_ISSUER" && f.settings[s.Name] != "" {
					t.Errorf("%s is given %s", f.name, s.Name)
				}
			}
		}
	}
}

// TestProblems: each is named, with its line, and no secret is printed.
func TestProblems(t *testing.T) {
	for _, test := range []struct {
		name         string
		organization bool
		lines        []string
		says         []string
	}{
		{"several at once", false, []string{"PIPELINE_API_URL=http://localhost:8000", "REGION=nowhere!", "NO_SUCH=1", "QUEUE_SHARDS=0", "PIPELINE_TIMEOUT=2h"},
			[]string{"PIPELINE_API_URL", "REGION is", "NO_SUCH is no setting", "QUEUE_SHARDS", "PIPELINE_TIMEOUT"}},
		{"missing", false, []string{"PROJECT=", "REGION=", "STORE=", "PIPELINE_API_URL=", "ALERT_EMAIL="}, []string{"PROJECT is missing", "REGION is missing", "STORE is missing", "PIPELINE_API_URL", "an alert has to reach"}},
		{"a secret", false, []string{"TOKEN_SECRET=hunter2-hunter2-hunter2-hunter2"}, []string{"TOKEN_SECRET is a secret"}},
		{"a secret's place", false, []string{"PIPELINE_API_KEY=hunter2"}, []string{"write PIPELINE_API_KEY=secret"}},
		{"a secret URL", false, []string{"STORE=postgres://u:hunter2@example.com/d"}, []string{`STORE is "[redacted]"`}},
		{"what follows", false, []string{"CHECK_URL=https://check.example.com"}, []string{"CHECK_URL follows from PROJECT"}},
		{"a dispatch that is cut", false, []string{"TIMEOUT_DISPATCH=300"}, []string{"PIPELINE_TIMEOUT"}},
		{"the first generation", false, []string{"CPU=0.5", "MEMORY=256Mi"}, []string{"CPU is", "needs at least 512Mi"}},
		{"forms that do not fit", false, []string{"MEMORY_START=512Mi", "CONCURRENCY_START=500"}, []string{"so many forms of 900 KiB need about 1853Mi"}},
		{"invokers", false, []string{"INVOKER_SERVICE_ACCOUNTS=a@demo-p.iam.gserviceaccount.com"}, []string{"IAM alone guards"}},
		{"a closed address", false, []string{"INGRESS=internal-and-cloud-load-balancing"}, []string{"set START_URL", "set STATUS_URL", "set CANCEL_URL"}},
		{"a network without a subnet", false, []string{"NETWORK=vpc"}, []string{"NETWORK and SUBNET go together"}},
		{"another store's", false, []string{"CLOUD_SQL_TIER=db-custom-1-3840"}, []string{"CLOUD_SQL_TIER is without effect"}},
		{"a proxy before nothing", false, []string{"CONSOLE_USERS=", "CONSOLE_IAP=true"}, []string{"CONSOLE_IAP is without effect"}},
		{"instances", false, []string{"MIN_INSTANCES_CHECK=20", "DISPATCH_CONCURRENCY=2000", "TIMEOUT_CHECK=30"}, []string{"MIN_INSTANCES of check", "DISPATCH_CONCURRENCY is 2000", "TIMEOUT of check"}},
		{"what is no line", false, []string{"A B=c", "QUEUE_SHARDS= 1", "PREFIX=\"x\""}, []string{"is not KEY=VALUE", "white space around", "is in quotes"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := newPlan(env.Example(t, "production", test.lines...), "..", test.organization, false)
			if err == nil {
				t.Fatal("it is accepted")
			}
			for _, text := range test.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q is not said: %v", text, err)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the secret is printed: %v", err)
			}
		})
	}
}

func TestIdentityAwareProxy(t *testing.T) {
	for _, test := range []struct {
		organization bool
		line, want   string
	}{{false, "CONSOLE_IAP=", "false"}, {true, "CONSOLE_IAP=", "true"}, {true, "CONSOLE_IAP=false", "false"}, {false, "CONSOLE_IAP=true", "true"}} {
		p, err := newPlan(env.Example(t, "production", test.line), "..", test.organization, false)
		if err != nil || p.values["CONSOLE_IAP"] != test.want {
			t.Errorf("%+v: %v, %v", test, p.values["CONSOLE_IAP"], err)
		}
	}
}

// TestWithoutUsersThereIsNoConsole: nor what only it needs.
func TestWithoutUsersThereIsNoConsole(t *testing.T) {
	p, err := newPlan(env.Example(t, "production", "CONSOLE_USERS="), "..", true, false)
	if err != nil || strings.Contains(p.values["FUNCTIONS"], "console") || p.values["CONSOLE_IAP"] != "false" {
		t.Errorf("%v, %v", p.values, err)
	}
}

func TestSame(t *testing.T) {
	write := func(text string) string {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, test := range []struct{ wanted, live, says string }{
		{"a: 1", `{"a": 1, "b": 2}`, ""},
		{"a: 0s\nb: false\nc: '0'\nd: 'true'", `{"d": "True"}`, ""},
		{"limits: {cpu: '1', memory: 1Gi}", `{"limits": {"cpu": "1000m", "memory": "1024Mi"}}`, ""},
		{"a: 300\nb: [1, 2]", `{"a": "300", "b": [1, 2]}`, ""},
		{"a: {b: x}", `{}`, "r: a.b is not set, should be x\n"},
		{"a: 1", `{"a": 2}`, "r: a is 2, should be 1\n"},
		{"a: [1]", `{"a": [1, 2]}`, "r: a has 2 entries, should have 1\n"},
		{"e: [{name: A, value: x}]", `{"e": [{"name": "A", "value": "y"}, {"name": "B", "value": "z"}]}`, "r: e.A.value is y, should be x\nr: e.B is there, should not be\n"},
		{"a: 1", ``, "r: a is not set, should be 1\n"},
	} {
		var out bytes.Buffer
		err := run([]string{"same", "r", write(test.wanted), write(test.live)}, &out)
		if out.String() != test.says || (err == nil) != (test.says == "") {
			t.Errorf("%s and %s: %q, %v", test.wanted, test.live, &out, err)
		}
	}
}

func FuzzEnvFile(f *testing.F) {
	f.Add([]byte("A=b\n# c\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		bad := &problems{file: "f"}
		for key, line := range parseEnv(data, bad).lines {
			if line < 1 || !keyName.MatchString(key) {
				t.Errorf("%q in line %d", key, line)
			}
		}
		_ = bad.Error()
	})
}
