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

// The accounts that call the private functions here, as they do when deployed.
const (
	tasksAccount     = "tasks@local.iam.gserviceaccount.com"
	eventsAccount    = "events@local.iam.gserviceaccount.com"
	schedulerAccount = "scheduler@local.iam.gserviceaccount.com"
)

// issuerPath is where the issuer of their tokens is served.
const issuerPath = "/issuer"

// settings are the environment, with local values for what it does not say.
type settings struct {
	outer func(string) (string, bool)

	mu    sync.Mutex
	local map[string]string // where the environment says nothing
	fixed map[string]string // whatever the environment says
}

func newSettings(o Options, tokenSecret string) *settings {
	tasks := tasksAccount
	if account, _ := o.Lookup("TASKS_SERVICE_ACCOUNT"); strings.TrimSpace(account) != "" {
		tasks = account
	}
	s := &settings{outer: o.Lookup, local: map[string]string{
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
		// As deployed: the private functions are called by these only, each with its token.
		"TASKS_SERVICE_ACCOUNT":    tasksAccount,
		"INVOKER_SERVICE_ACCOUNTS": strings.Join([]string{tasks, eventsAccount, schedulerAccount}, ","),
		"INVOKER_AUDIENCES":        o.BaseURL,
		"INVOKER_ISSUER":           o.BaseURL + issuerPath,
	}, fixed: map[string]string{}}
	for function, name := range config.URLSettings() {
		s.local[name] = o.BaseURL + "/" + function
	}
	return s
}

// letIn returns an error that names every setting by which the private functions would turn away
// who calls them here.
func letIn(o Options, cfg *config.Config) error {
	if len(cfg.Access.Invokers) == 0 {
		return nil
	}
	e := &config.Error{Function: config.Local}
	for _, account := range []string{cfg.Queue.ServiceAccount, eventsAccount, schedulerAccount} {
		if !slices.Contains(cfg.Access.Invokers, account) {
			e.Faults = append(e.Faults, config.Fault{Name: "INVOKER_SERVICE_ACCOUNTS", Detail: "lacks " + account + ", which calls on this machine; expected it among them, or nothing"})
			break
		}
	}
	if !slices.Contains(cfg.Access.InvokerTokens.Audiences, o.BaseURL) {
		e.Faults = append(e.Faults, config.Fault{Name: "INVOKER_AUDIENCES", Detail: "lacks " + o.BaseURL + ", for which the tokens on this machine are; expected it among them"})
	}
	if issuer := o.BaseURL + issuerPath; cfg.Access.InvokerTokens.Issuer != issuer {
		e.Faults = append(e.Faults, config.Fault{Name: "INVOKER_ISSUER", Detail: "is another than " + issuer + ", which signs on this machine; expected that"})
	}
	if len(e.Faults) == 0 {
		return nil
	}
	return e
}

// prepare makes the folder of all state, and in it at the first time a secret, so that tokens hold
// across restarts.
func prepare(dir string) (tokenSecret string, err error) {
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
	made := file + ".new" // put in place whole, whenever this is killed
	if err := os.WriteFile(made, []byte(tokenSecret), 0o600); err != nil {
		return "", err
	}
	return tokenSecret, os.Rename(made, file)
}

// set gives a variable its value, whatever the environment says: an address of our own servers.
func (s *settings) set(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fixed := maps.Clone(s.fixed)
	fixed[name] = value
	s.fixed = fixed
}

func (s *settings) lookup(name string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if value, ok := s.fixed[name]; ok {
		return value, true
	}
	if value, ok := s.outer(name); ok {
		return value, true
	}
	value, ok := s.local[name]
	return value, ok
}
