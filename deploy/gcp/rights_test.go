package gcp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/shared/config"
)

// TestRightsFollowSettings: rights.sh gives a function a right exactly where the function's settings name the resource.
func TestRightsFollowSettings(t *testing.T) {
	t.Parallel()
	p := newProject(t, "production")
	p.runs("deploy.sh")
	live := p.state().Live
	for setting, policy := range map[string]string{
		"TOKEN_SECRET": "secrets casewatch-token-secret", "API_KEYS": "secrets casewatch-api-keys", "PIPELINE_API_KEY": "secrets casewatch-pipeline-api-key",
		"ENDED_TOPIC": "pubsub topics casewatch-ended", "DEAD_LETTER_TOPIC": "pubsub topics casewatch-dead-letter",
		"CHECK_QUEUE": "tasks queues casewatch-check", "DISPATCH_QUEUE": "tasks queues casewatch-dispatch",
		"TASKS_SERVICE_ACCOUNT": "iam service-accounts casewatch-tasks@demo-p.iam.gserviceaccount.com", "STORE": "projects demo-p",
	} {
		text := fmt.Sprint(live["policy "+policy])
		for _, s := range config.Settings() {
			for _, function := range config.Functions() {
				granted := strings.Contains(text, "serviceAccount:casewatch-"+function+"@")
				if s.Name == setting && granted != s.UsedBy(function) {
					t.Errorf("%s uses %s: %v; it has a right to %s: %v", function, setting, s.UsedBy(function), policy, granted)
				}
			}
		}
	}
}
