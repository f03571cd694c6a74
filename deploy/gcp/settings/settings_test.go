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

// TestExamples shows that the examples are valid once their placeholders are replaced, that they
// deploy every function, and that each function gets its required settings.
func TestExamples(t *testing.T) {
	for _, example := range []string{"production", "staging"} {
		t.Run(example, func(t *testing.T) {
			file := filepath.Join("../env", example+".env")
			if _, err := newPlan(file, "..", false, true); err != nil {
				t.Error(err)
			}
			_, err := newPlan(file, "..", false, false)
			if err == nil || !strings.Contains(err.Error(), "placeholder of the example") {
				t.Errorf("with placeholders: %v, want a problem for each", err)
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
						t.Errorf("%s does not get %s", f.name, s.Name)
					}
					invoker := strings.HasPrefix(s.Name, "INVOKER_") && s.Name != "INVOKER_ISSUER"
					if invoker && f.settings[s.Name] != "" {
						t.Errorf("%s gets %s", f.name, s.Name)
					}
				}
			}
		})
	}
}

// TestProblems shows that each problem of an env file is reported, and that no secret is printed.
func TestProblems(t *testing.T) {
	for _, test := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{
			"several together",
			[]string{
				"PIPELINE_API_URL=http://localhost:8000", "REGION=nowhere!", "NO_SUCH=1", "QUEUE_SHARDS=0",
				"PIPELINE_TIMEOUT=2h",
			},
			[]string{"PIPELINE_API_URL", "REGION is", "NO_SUCH is not a setting", "QUEUE_SHARDS", "PIPELINE_TIMEOUT"},
		},
		{
			"missing keys",
			[]string{"PROJECT=", "REGION=", "STORE=", "PIPELINE_API_URL=", "ALERT_EMAIL="},
			[]string{
				"PROJECT is missing", "REGION is missing", "STORE is missing", "PIPELINE_API_URL",
				"alerts need a receiver",
			},
		},
		{
			"a secret",
			[]string{"TOKEN_SECRET=hunter2-hunter2-hunter2-hunter2"},
			[]string{"TOKEN_SECRET is a secret"},
		},
		{
			"a secret instead of its source",
			[]string{"PIPELINE_API_KEY=hunter2"},
			[]string{"write PIPELINE_API_KEY=secret"},
		},
		{
			"a URL with a password",
			[]string{"STORE=postgres://u:hunter2@example.com/d"},
			[]string{`STORE is "[redacted]"`},
		},
		{
			"a derived setting",
			[]string{"CHECK_URL=https://check.example.com"},
			[]string{"CHECK_URL follows from PROJECT"},
		},
		{
			"a dispatch that is cut off",
			[]string{"TIMEOUT_DISPATCH=300"},
			[]string{"PIPELINE_TIMEOUT"},
		},
		{
			"the first generation",
			[]string{"CPU=0.5", "MEMORY=256Mi"},
			[]string{"CPU is", "needs at least 512Mi"},
		},
		{
			"too little memory for the forms",
			[]string{"MEMORY_START=512Mi", "CONCURRENCY_START=500"},
			[]string{"so many forms of 900 KiB need about 1853Mi"},
		},
		{
			"invokers",
			[]string{"INVOKER_SERVICE_ACCOUNTS=a@demo-p.iam.gserviceaccount.com"},
			[]string{"IAM alone guards"},
		},
		{
			"closed addresses",
			[]string{"INGRESS=internal-and-cloud-load-balancing"},
			[]string{"set START_URL", "set STATUS_URL", "set CANCEL_URL"},
		},
		{
			"a network without a subnet",
			[]string{"NETWORK=vpc"},
			[]string{"NETWORK and SUBNET go together"},
		},
		{
			"a key of another store",
			[]string{"CLOUD_SQL_TIER=db-custom-1-3840"},
			[]string{"CLOUD_SQL_TIER has no effect"},
		},
		{
			"a proxy without a console",
			[]string{"CONSOLE_USERS=", "CONSOLE_IAP=true"},
			[]string{"CONSOLE_IAP has no effect"},
		},
		{
			"limits that contradict each other",
			[]string{"MIN_INSTANCES_CHECK=20", "DISPATCH_CONCURRENCY=2000", "TIMEOUT_CHECK=30"},
			[]string{"MIN_INSTANCES of check", "DISPATCH_CONCURRENCY is 2000", "TIMEOUT of check"},
		},
		{
			"lines that are not KEY=VALUE",
			[]string{"A B=c", "QUEUE_SHARDS= 1", "PREFIX=\"x\""},
			[]string{"is not KEY=VALUE", "white space around", "is in quotes"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := newPlan(env.Example(t, "production", test.lines...), "..", false, false)
			if err == nil {
				t.Fatal("the file is accepted")
			}
			for _, text := range test.want {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("the error does not contain %q: %v", text, err)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error contains the secret: %v", err)
			}
		})
	}
}

// TestIdentityAwareProxy shows that the proxy is on by default exactly if the project belongs to an
// organization.
func TestIdentityAwareProxy(t *testing.T) {
	for _, test := range []struct {
		name         string
		organization bool
		line, want   string
	}{
		{"no organization", false, "CONSOLE_IAP=", "false"},
		{"organization", true, "CONSOLE_IAP=", "true"},
		{"organization, turned off", true, "CONSOLE_IAP=false", "false"},
		{"no organization, turned on", false, "CONSOLE_IAP=true", "true"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := newPlan(env.Example(t, "production", test.line), "..", test.organization, false)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.values["CONSOLE_IAP"]; got != test.want {
				t.Errorf("CONSOLE_IAP is %s, want %s", got, test.want)
			}
		})
	}
}

// TestNoConsoleWithoutUsers shows that without CONSOLE_USERS neither the console nor its settings
// are needed.
func TestNoConsoleWithoutUsers(t *testing.T) {
	p, err := newPlan(env.Example(t, "production", "CONSOLE_USERS="), "..", true, false)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(p.values["FUNCTIONS"], "console") || p.values["CONSOLE_IAP"] != "false" {
		t.Errorf("the functions are %s, CONSOLE_IAP is %s", p.values["FUNCTIONS"], p.values["CONSOLE_IAP"])
	}
}

func TestCompare(t *testing.T) {
	write := func(t *testing.T, text string) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, test := range []struct{ name, wanted, live, output string }{
		{"more members", "a: 1", `{"a": 1, "b": 2}`, ""},
		{"zero values", "a: 0s\nb: false\nc: '0'\nd: 'true'", `{"d": "True"}`, ""},
		{
			"spellings of a quantity",
			"limits: {cpu: '1', memory: 1Gi}",
			`{"limits": {"cpu": "1000m", "memory": "1024Mi"}}`,
			"",
		},
		{"a number as a string", "a: 300\nb: [1, 2]", `{"a": "300", "b": [1, 2]}`, ""},
		{"a missing member", "a: {b: x}", `{}`, "r: a.b is not set, should be x\n"},
		{"another value", "a: 1", `{"a": 2}`, "r: a is 2, should be 1\n"},
		{"a longer list", "a: [1]", `{"a": [1, 2]}`, "r: a has 2 entries, should have 1\n"},
		{
			"a list of named entries",
			"e: [{name: A, value: x}]",
			`{"e": [{"name": "A", "value": "y"}, {"name": "B", "value": "z"}]}`,
			"r: e.A.value is y, should be x\nr: e.B is there, should not be\n",
		},
		{"an empty file", "a: 1", ``, "r: a is not set, should be 1\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			err := run([]string{"compare", "r", write(t, test.wanted), write(t, test.live)}, &out)
			if out.String() != test.output || (err == nil) != (test.output == "") {
				t.Errorf("the output is %q with the error %v, want %q", &out, err, test.output)
			}
		})
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
