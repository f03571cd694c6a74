package main

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/config"
)

// callers are the service accounts that call the private functions, by function. A function that is not here is public, but for the console.
var callers = map[string]string{"dispatch": "tasks", "check": "tasks", "complete": "push", "sweep": "scheduler"}

// apis are what is used of Google Cloud, besides that of the store.
var apis = []string{"artifactregistry", "cloudbuild", "cloudscheduler", "cloudtasks", "iam", "logging", "monitoring", "pubsub", "run", "secretmanager"}

// What is not the operator's to choose.
const (
	// A Pub/Sub push waits at most so long for an answer
	// (https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.subscriptions#Subscription.FIELDS.ack_deadline_seconds).
	longestAck = 600
	// The largest attempt deadline of Cloud Scheduler (https://cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs).
	longestAttempt = 1800
	// checkOverhead is how much longer than its look the delivery of a check may take.
	checkOverhead = 50 * time.Second
	// One queue dispatches at most so much (https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues#RateLimits).
	fastestQueue, widestQueue = 500, 5000
)

// build returns the plan of f, with what live tells of the project. Everything that is wrong with f is added to bad; then the plan is of no use.
func build(f envFile, live *state, folder string, bad *faults) *Plan {
	checkKeys(f, bad)
	p := &Plan{
		Project: f.values["PROJECT"], Region: f.values["REGION"], Prefix: f.values["PREFIX"], Number: live.number(), Image: live.image,
		AlertEmail: f.values["ALERT_EMAIL"], Runbooks: strings.TrimSuffix(f.values["RUNBOOKS_URL"], "/"), Channels: []string{},
		Canary: Canary{Form: orElse(f.values["CANARY_FORM"], "canary.json"), Deadline: number(orElse(f.values["CANARY_DEADLINE"], "900"))},
	}
	for _, a := range apis {
		p.APIs = append(p.APIs, a+".googleapis.com")
	}
	p.consoleUsers(f, bad)
	for _, function := range p.functions() {
		p.Accounts = append(p.Accounts, Named{p.Prefix + "-" + function, p.account(function), "Casewatch " + function})
	}
	for _, caller := range []string{"tasks", "push", "scheduler"} {
		p.Accounts = append(p.Accounts, Named{p.Prefix + "-" + caller, p.account(caller), "Casewatch: whose token " + caller + " shows"})
	}
	p.Accounts = append(p.Accounts, Named{p.Prefix + "-build", p.account("build"), "Casewatch build"})
	p.secrets(f, live)
	p.store(f, folder, bad)
	p.topics(f)

	typed := p.services(f, bad)
	p.queues(typed)
	p.rights(f)
	p.triggers(f)
	p.limits(f, typed, bad)
	p.notify(f, live, bad)
	p.monitoring(folder, bad)
	return p
}

// topics derives the names that an env file may give otherwise.
func (p *Plan) topics(f envFile) {
	for _, t := range []string{"PIPELINE_EVENTS_TOPIC", "ENDED_TOPIC", "DEAD_LETTER_TOPIC"} {
		p.Topics = append(p.Topics, p.derived(f, t))
	}
}

// derived returns the value of a setting that follows from the place, or "".
func (p *Plan) derived(f envFile, name string) string {
	switch name {
	case "GOOGLE_CLOUD_PROJECT":
		return p.Project
	case "TASKS_LOCATION":
		return p.Region
	case "CHECK_QUEUE":
		return p.Prefix + "-check"
	case "DISPATCH_QUEUE":
		return p.Prefix + "-dispatch"
	case "TASKS_SERVICE_ACCOUNT":
		return p.account("tasks")
	case "CHECK_URL", "DISPATCH_URL", "SWEEP_URL":
		return p.url(strings.ToLower(strings.TrimSuffix(name, "_URL")))
	case "START_URL", "STATUS_URL", "CANCEL_URL": // or the address of a load balancer before them
		return orElse(f.values[name], p.url(strings.ToLower(strings.TrimSuffix(name, "_URL"))))
	case "PIPELINE_EVENTS_TOPIC":
		return orElse(f.values[name], p.Prefix+"-pipeline-events")
	case "ENDED_TOPIC":
		return orElse(f.values[name], p.Prefix+"-ended")
	case "DEAD_LETTER_TOPIC":
		return orElse(f.values[name], p.Prefix+"-dead-letter")
	case "STORE":
		if p.Firestore != nil {
			return f.values[name]
		}
		return "" // a secret
	}
	return f.values[name]
}

// services plans every function, and checks the environment of each as the function itself will. It returns the settings of all, typed, or nil.
func (p *Plan) services(f envFile, bad *faults) *config.Config {
	names := p.functions()
	slices.SortStableFunc(names, func(a, b string) int { return strings.Compare(publicity(a), publicity(b)) })
	all := map[string]string{}
	for _, function := range names {
		s := Service{
			Function: function, Name: p.Prefix + "-" + function, URL: p.url(function), Public: publicity(function) == "public",
			Account: p.account(function), IAP: function == console && p.iap(), Image: p.Image, Env: map[string]string{}, Secrets: map[string]SecretRef{},
			Memory: f.resource("MEMORY", function), CPU: f.resource("CPU", function), Ingress: f.resource("INGRESS", function),
			Concurrency: number(f.resource("CONCURRENCY", function)), Timeout: number(f.resource("TIMEOUT", function)),
			Min: number(f.resource("MIN_INSTANCES", function)), Max: number(f.resource("MAX_INSTANCES", function)),
		}
		for _, setting := range config.Settings() {
			if !slices.Contains(setting.Functions, function) {
				continue
			}
			if value := p.setting(f, &s, setting.Name); value != "" {
				s.Env[setting.Name] = value
			}
		}
		for _, secret := range p.Secrets {
			if used(secret.Setting, function) {
				s.Secrets[secret.Setting] = SecretRef{secret.Name, secret.Version}
			}
		}
		s.Env["FUNCTION_TARGET"] = function
		s.Spec = hash(s)
		p.Services = append(p.Services, s)
		check(f, function, s.Env, s.Secrets, bad)
		for name, value := range s.Env {
			all[name] = value
		}
	}
	if s := p.service("dispatch"); s != nil {
		all["CLOUD_RUN_TIMEOUT_SECONDS"] = strconv.Itoa(s.Timeout) // the one that is compared with PIPELINE_TIMEOUT
	}
	for _, setting := range config.Settings() { // those that no function uses too
		if value, given := f.values[setting.Name]; given && all[setting.Name] == "" && !slices.Contains(secretSettings, setting.Name) {
			all[setting.Name] = value
		}
	}
	refs := map[string]SecretRef{}
	for _, secret := range p.Secrets {
		refs[secret.Setting] = SecretRef{}
	}
	if !p.deployed(console) { // so that what it would need is not asked for
		refs["CONSOLE_USERS"], refs["CONSOLE_AUDIENCES"] = SecretRef{}, SecretRef{}
	}
	return check(f, config.Local, all, refs, bad)
}

// publicity sorts the private functions first, in the order of config.Functions. The console is the last of them: it schedules what they do.
func publicity(function string) string {
	if callers[function] == "" && function != console {
		return "public"
	}
	return "private"
}

// setting returns what a function is told by a setting; "" for nothing.
func (p *Plan) setting(f envFile, s *Service, name string) string {
	switch name {
	case "CLOUD_RUN_TIMEOUT_SECONDS":
		return strconv.Itoa(s.Timeout)
	case "INVOKER_SERVICE_ACCOUNTS":
		return p.account(callers[s.Function])
	case "INVOKER_AUDIENCES":
		return s.URL
	case "CONSOLE_AUDIENCES":
		return strings.Join(p.consoleAudiences(s), ",")
	}
	if slices.ContainsFunc(p.Secrets, func(secret Secret) bool { return secret.Setting == name }) {
		return ""
	}
	return p.derived(f, name)
}

// standIns are values that config accepts, in place of the secrets that only Secret Manager knows, and of what a function would need that is left out.
var standIns = map[string]string{
	"TOKEN_SECRET": strings.Repeat("x", 32), "API_KEYS": strings.Repeat("x", 32), "PIPELINE_API_KEY": "x", "STORE": "postgres://u@database.example.com/d",
	"CONSOLE_USERS": "operator@example.com", "CONSOLE_AUDIENCES": "x",
}

// check loads the settings of a function as the function will, on Google Cloud. The faults of settings that f names are shown with its lines.
func check(f envFile, function string, env map[string]string, secrets map[string]SecretRef, bad *faults) *config.Config {
	c, err := config.Load(function, func(name string) (string, bool) {
		if name == "K_SERVICE" {
			return "casewatch", true
		}
		if _, secret := secrets[name]; secret {
			return standIns[name], true
		}
		value, given := env[name]
		return strings.ReplaceAll(value, numberPlaceholder, "123456789012"), given
	})
	if err != nil {
		for _, one := range settingFaults(err) {
			if follows(one.Name) && len(bad.list) > 0 {
				continue // from what is named already
			}
			bad.add(f.lines[one.Name], "%s %s", one.Name, one.Detail)
		}
	}
	return c
}

// resource returns the value of a resource key for a function.
func (f envFile) resource(name, function string) string {
	return orElse(f.values[name+"_"+strings.ToUpper(function)], f.values[name])
}

// used reports whether a function is given a setting.
func used(setting, function string) bool {
	return slices.ContainsFunc(config.Settings(), func(s config.Setting) bool {
		return s.Name == setting && slices.Contains(s.Functions, function)
	})
}

func orElse(value, other string) string {
	if value == "" {
		return other
	}
	return value
}

// number is 0 for what checkKeys refused.
func number(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}
