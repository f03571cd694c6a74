package main

import (
	"strings"
	"testing"
)

func TestEveryFaultIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		content string
		want    []string
	}{
		"missing keys": {text(without("PROJECT", "PREFIX", "MEMORY", "SWEEP_SCHEDULE", "RUNBOOKS_URL", "PIPELINE_API_URL")),
			[]string{"PROJECT is missing", "PREFIX is missing", "MEMORY is missing", "SWEEP_SCHEDULE is missing", "RUNBOOKS_URL is missing", "PIPELINE_API_URL is missing"}},
		"no line of a file":    {text(good()) + "export A=b\n REGION=x\na=b\nB\n", []string{"line 17: is not KEY=VALUE", "line 18: is not", "line 19: is not", "line 20: is not"}},
		"set twice":            {"PROJECT=first-one\n" + text(good()), []string{"PROJECT is set already, in line 1"}},
		"white space":          {text(with("REGION", " us-central1 ")), []string{"REGION has white space"}},
		"quotes":               {text(with("REGION", `"us-central1"`)), []string{"REGION is in quotes"}},
		"comment":              {text(with("REGION", "us-central1 # here")), []string{"REGION is followed by a comment"}},
		"unknown":              {text(with("PIPELINE_URL", "https://x.example.com", "CONCURRENCY_NOBODY", "1")), []string{"PIPELINE_URL is no setting", "CONCURRENCY_NOBODY is no setting"}},
		"follows":              {text(with("CHECK_URL", "https://x.example.com", "INVOKER_AUDIENCES", "https://x.example.com")), []string{"CHECK_URL follows", "INVOKER_AUDIENCES follows"}},
		"emulator":             {text(with("PUBSUB_EMULATOR_HOST", "127.0.0.1:1")), []string{"PUBSUB_EMULATOR_HOST follows"}},
		"placeholder":          {text(with("PROJECT", "your-project", "ALERT_EMAIL", "a@your-domain.example")), []string{"PROJECT is still the placeholder", "ALERT_EMAIL is still"}},
		"this machine":         {text(with("PIPELINE_API_URL", "http://localhost:8000")), []string{"PIPELINE_API_URL names this machine"}},
		"values":               {text(with("CASE_DEADLINE", "never", "QUEUE_SHARDS", "0", "DISPATCH_RATE", "501")), []string{"CASE_DEADLINE is", "QUEUE_SHARDS is", "DISPATCH_RATE is"}},
		"resources":            {text(with("MEMORY", "1GB", "CPU", "3", "CONCURRENCY_STATUS", "1001", "TIMEOUT_SWEEP", "0", "INGRESS", "some")), []string{"MEMORY is", "CPU is", "CONCURRENCY_STATUS is", "TIMEOUT_SWEEP is", "INGRESS is"}},
		"names":                {text(with("PREFIX", "Casewatch", "REGION", "here", "PROJECT", "p")), []string{"PREFIX is", "REGION is", "PROJECT is"}},
		"prefix too long":      {text(with("PREFIX", strings.Repeat("p", 21))), []string{"PREFIX is"}},
		"nobody is told":       {text(without("ALERT_EMAIL")), []string{"ALERT_EMAIL or NOTIFICATION_CHANNELS is missing"}},
		"Cloud SQL by half":    {text(with("STORE", "cloudsql", "CLOUD_SQL_TIER", "db-f1-micro")), []string{"CLOUD_SQL_INSTANCE is missing", "CLOUD_SQL_VERSION is missing", "CLOUD_SQL_AVAILABILITY is missing"}},
		"Cloud SQL for nobody": {text(with("CLOUD_SQL_TIER", "db-f1-micro")), []string{"CLOUD_SQL_TIER is without effect"}},
		"dispatch cut":         {text(with("TIMEOUT_DISPATCH", "300")), []string{"PIPELINE_TIMEOUT is 29m30s; expected less than CLOUD_RUN_TIMEOUT_SECONDS"}},
		"dispatches too many":  {text(with("DISPATCH_CONCURRENCY", "801")), []string{"DISPATCH_CONCURRENCY is 801; the instances of dispatch hold 800"}},
		"stream cut":           {text(with("TIMEOUT_STATUS", "290")), []string{"STREAM_HOLD is 4m50s; expected less than CLOUD_RUN_TIMEOUT_SECONDS"}},
		"check cut":            {text(with("TIMEOUT_CHECK", "59")), []string{"TIMEOUT of check is 59s; expected at least 1m0s"}},
		"min above max":        {text(with("MIN_INSTANCES_START", "11")), []string{"MIN_INSTANCES of start is 11"}},
		"little CPU":           {text(with("CPU_CANCEL", "0.5")), []string{"CONCURRENCY of cancel is 80"}},
		"operators":            {text(with("CONSOLE_USERS", "operator@example.com,everyone")), []string{`CONSOLE_USERS has an entry, "everyone", that is no e-mail address`}},
		"IAP":                  {text(with("CONSOLE_USERS", "operator@example.com", "CONSOLE_IAP", "yes")), []string{"CONSOLE_IAP is \"yes\"; expected true or false"}},
		"IAP for nobody":       {text(with("CONSOLE_IAP", "true")), []string{"CONSOLE_IAP is without effect"}},
		"operators' audiences": {text(with("CONSOLE_USERS", "operator@example.com", "CONSOLE_AUDIENCES", "x")), []string{"CONSOLE_AUDIENCES follows"}},
		"same topics":          {text(with("ENDED_TOPIC", "one-topic", "DEAD_LETTER_TOPIC", "one-topic")), []string{"DEAD_LETTER_TOPIC is \"one-topic\", as ENDED_TOPIC is"}},
	} {
		got := faultsOf(t, test.content)
		for _, want := range test.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q is not in\n%s", name, want, got)
			}
		}
		if lines := strings.Count(got, "\n"); lines != len(test.want) {
			t.Errorf("%s: %d faults, want %d:\n%s", name, lines, len(test.want), got)
		}
	}
}

func TestNoSecretIsTakenFromAFileOrShown(t *testing.T) {
	const secret = "hunter2hunter2hunter2hunter2hunter2"
	for _, name := range []string{"TOKEN_SECRET", "API_KEYS", "PIPELINE_API_KEY", "STORE"} {
		value := secret
		if name == "STORE" {
			value = "postgres://u:" + secret + "@h.example.com/d"
		}
		got := faultsOf(t, text(with(name, value)))
		if !strings.Contains(got, name+" is") || strings.Contains(got, secret) {
			t.Errorf("%s:\n%s", name, got)
		}
	}
	if got := faultsOf(t, text(good())+"TOKEN_SECRET: "+secret+"\n"); strings.Contains(got, secret) || got == "" {
		t.Errorf("a line that cannot be read is shown:\n%s", got)
	}
}
