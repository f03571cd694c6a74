package machine

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/casewatch/casewatch/shared/config"
)

// The accounts that call the private functions, as in a deployment.
const (
	tasksAccount     = "tasks@local.iam.gserviceaccount.com"
	eventsAccount    = "events@local.iam.gserviceaccount.com"
	schedulerAccount = "scheduler@local.iam.gserviceaccount.com"
)

// issuerPath is the path of the issuer that signs the ID tokens of these accounts.
const issuerPath = "/issuer"

// settings look up settings in the environment, and replace missing ones with local values.
type settings struct {
	environment func(string) (string, bool)

	mu    sync.Mutex
	local map[string]string // for settings that the environment does not have
	fixed map[string]string // override the environment
}

func newSettings(o Options, tokenSecret string) *settings {
	tasks := tasksAccount
	if account, _ := o.Lookup("TASKS_SERVICE_ACCOUNT"); strings.TrimSpace(account) != "" {
		tasks = account
	}
	s := &settings{environment: o.Lookup, local: map[string]string{
		"PIPELINE_API_URL":      o.BaseURL + "/pipeline",
		"STORE":                 "sqlite:" + filepath.Join(o.DataDir, "cases.db"),
		"GOOGLE_CLOUD_PROJECT":  "casewatch-local",
		"TASKS_LOCATION":        "us-central1",
		"CHECK_QUEUE":           "casewatch-check",
		"DISPATCH_QUEUE":        "casewatch-dispatch",
		"DISPATCH_CONCURRENCY":  "1000",
		"PIPELINE_EVENTS_TOPIC": "casewatch-pipeline-events",
		"ENDED_TOPIC":           "casewatch-ended",
		"DEAD_LETTER_TOPIC":     "casewatch-dead-letter",
		"ALLOW_ANONYMOUS":       "true",
		"TOKEN_SECRET":          tokenSecret,
		// As in a deployment, only these accounts may call the private functions.
		"TASKS_SERVICE_ACCOUNT":    tasksAccount,
		"INVOKER_SERVICE_ACCOUNTS": strings.Join([]string{tasks, eventsAccount, schedulerAccount}, ","),
		"INVOKER_AUDIENCES":        o.BaseURL,
		"INVOKER_ISSUER":           o.BaseURL + issuerPath,
	}, fixed: map[string]string{}}
	for _, name := range []string{"PIPELINES", "PIPELINES_FILE"} {
		if value, _ := o.Lookup(name); value != "" { // the sample pipeline is then one of several, or none of them
			delete(s.local, "PIPELINE_API_URL")
		}
	}
	for function, name := range config.URLSettings() {
		s.local[name] = o.BaseURL + "/" + function
	}
	return s
}

// checkInvokers returns an error if the private functions would reject the machine's own calls. It
// names all settings that must change.
func checkInvokers(o Options, cfg *config.Config) error {
	if len(cfg.Access.Invokers) == 0 {
		return nil // they accept every call
	}
	e := &config.Error{Function: config.Local}
	invalid := func(name, detail string) {
		e.Faults = append(e.Faults, config.Fault{Name: name, Detail: detail})
	}
	for _, account := range []string{cfg.Queue.ServiceAccount, eventsAccount, schedulerAccount} {
		if !slices.Contains(cfg.Access.Invokers, account) {
			invalid("INVOKER_SERVICE_ACCOUNTS", "must contain "+account+", which calls on this machine, or be empty")
			break
		}
	}
	if !slices.Contains(cfg.Access.InvokerTokens.Audiences, o.BaseURL) {
		invalid("INVOKER_AUDIENCES", "must contain "+o.BaseURL+", the audience of the tokens on this machine")
	}
	if issuer := o.BaseURL + issuerPath; cfg.Access.InvokerTokens.Issuer != issuer {
		invalid("INVOKER_ISSUER", "must be "+issuer+", which signs the tokens on this machine")
	}
	if len(e.Faults) == 0 {
		return nil
	}
	return e
}

// openDataDir creates the directory of all state and returns its token secret. It creates the
// secret the first time, so that status and cancel URLs remain valid after a restart.
func openDataDir(dir string) (tokenSecret string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "token-secret")
	data, err := os.ReadFile(file)
	if err == nil && len(data) > 0 {
		return string(data), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	text := make([]byte, 32)
	_, _ = rand.Read(text) // never fails
	tokenSecret = hex.EncodeToString(text)
	temporary := file + ".new" // renamed when it is complete, in case the process is killed
	if err := os.WriteFile(temporary, []byte(tokenSecret), 0o600); err != nil {
		return "", err
	}
	return tokenSecret, os.Rename(temporary, file)
}

// set fixes the value of a setting. It overrides the environment.
func (s *settings) set(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fixed := maps.Clone(s.fixed)
	fixed[name] = value
	s.fixed = fixed
}

// lookup returns the value of a setting, and whether it has one.
func (s *settings) lookup(name string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if value, ok := s.fixed[name]; ok {
		return value, true
	}
	if value, ok := s.environment(name); ok {
		return value, true
	}
	value, ok := s.local[name]
	return value, ok
}
