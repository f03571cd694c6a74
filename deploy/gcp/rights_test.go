package gcp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/shared/config"
)

// TestRightsFollowSettings shows that rights.sh gives a function a right to a resource exactly if a
// setting of the function names that resource.
func TestRightsFollowSettings(t *testing.T) {
	t.Parallel()
	live := deployedProject(t).state().Live
	for setting, resource := range map[string]string{
		"TOKEN_SECRET":          "secrets casewatch-token-secret",
		"API_KEYS":              "secrets casewatch-api-keys",
		"PIPELINE_API_KEY":      "secrets casewatch-pipeline-api-key",
		"ENDED_TOPIC":           "pubsub topics casewatch-ended",
		"DEAD_LETTER_TOPIC":     "pubsub topics casewatch-dead-letter",
		"CHECK_QUEUE":           "tasks queues casewatch-check",
		"DISPATCH_QUEUE":        "tasks queues casewatch-dispatch",
		"TASKS_SERVICE_ACCOUNT": "iam service-accounts casewatch-tasks@demo-p.iam.gserviceaccount.com",
		"STORE":                 "projects demo-p",
	} {
		policy := fmt.Sprint(live["policy "+resource])
		for _, s := range config.Settings() {
			for _, function := range config.Functions() {
				got := strings.Contains(policy, "serviceAccount:casewatch-"+function+"@")
				if want := s.UsedBy(function); s.Name == setting && got != want {
					t.Errorf("%s has a right to %s: %v, want %v, as %s says", function, resource, got, want, setting)
				}
			}
		}
	}
}
