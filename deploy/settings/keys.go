package main

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/casewatch/casewatch/shared/config"
)

// key is what an env file may say besides the settings of the functions.
type key struct {
	name     string
	required bool
	check    func(value string) error
}

// resourceKeys are given for all functions, and for one as KEY_FUNCTION: CONCURRENCY_STATUS. (The function stands last because
// CHECK_TIMEOUT and DISPATCH_CONCURRENCY are settings.)
var resourceKeys = []key{
	{"MEMORY", true, matches(`^[1-9][0-9]*(Mi|Gi)$`, "512Mi or 1Gi, say")},
	{"CPU", true, matches(`^(0\.[0-9]{1,2}|1|2|4|6|8)$`, "1, 2, 4, 6, 8 or a fraction of 1")},
	{"CONCURRENCY", true, between(1, 1000)},
	// https://cloud.google.com/run/docs/configuring/request-timeout
	{"TIMEOUT", true, between(1, 3600)},
	{"MIN_INSTANCES", true, between(0, 1000)},
	{"MAX_INSTANCES", true, between(1, 1000)},
	{"INGRESS", true, matches(`^(all|internal|internal-and-cloud-load-balancing)$`, "all, internal or internal-and-cloud-load-balancing")},
}

var emailAddress = `[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+`

// placeKeys say where it runs and who is told.
var placeKeys = []key{
	{"PROJECT", true, matches(`^[a-z][a-z0-9-]{4,28}[a-z0-9]$`, "a project id of 6 to 30 characters")},
	{"REGION", true, matches(`^[a-z]+-[a-z]+[0-9]+$`, "a region, such as us-central1")},
	// The longest account id is PREFIX-scheduler, and those have 30 characters at most.
	{"PREFIX", true, matches(`^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$`, "at most 20 small letters, digits and hyphens, beginning with a letter")},
	{"STORE", true, matches(`^(firestore:[a-z0-9()-]*|cloudsql|secret)$`, "firestore:, firestore:DATABASE, cloudsql, or secret for a PostgreSQL whose URL is in Secret Manager")},
	{"CLOUD_SQL_INSTANCE", false, matches(`^[a-z]([a-z0-9-]{0,78}[a-z0-9])?$`, "an instance id")},
	{"CLOUD_SQL_TIER", false, matches(`^db-[a-z0-9-]+$`, "a tier, such as db-custom-1-3840")},
	{"CLOUD_SQL_VERSION", false, matches(`^POSTGRES_[0-9]+$`, "a version, such as POSTGRES_17")},
	{"CLOUD_SQL_AVAILABILITY", false, matches(`^(zonal|regional)$`, "zonal or regional")},
	{"SWEEP_SCHEDULE", true, matches(`^(\S+ ){4}\S+$`, "a cron line of five fields, such as */2 * * * *")},
	{"PIPELINE_PUBLISHERS", false, matches(`^`+emailAddress+`(,`+emailAddress+`)*$`, "comma-separated e-mails of the service accounts that publish the pipeline's events")},
	{"CONSOLE_IAP", false, matches(`^(true|false)$`, "true or false")},
	{"ALERT_EMAIL", false, matches(`^`+emailAddress+`$`, "an e-mail address")},
	{"NOTIFICATION_CHANNELS", false, matches(`^projects/[^/, ]+/notificationChannels/[0-9]+(,projects/[^/, ]+/notificationChannels/[0-9]+)*$`, "comma-separated projects/P/notificationChannels/N")},
	{"RUNBOOKS_URL", true, webAddress},
	{"CANARY_FORM", false, func(string) error { return nil }},
	{"CANARY_DEADLINE", false, between(1, 3600)},
}

// secretSettings come from Secret Manager, never from an env file. What each is made from when it has no version yet is in secrets.go.
var secretSettings = []string{"TOKEN_SECRET", "API_KEYS", "PIPELINE_API_KEY", "STORE"}

// fixed are the settings that follow from the place, and that an env file therefore may not give.
func fixed(name string) bool {
	switch name {
	case "GOOGLE_CLOUD_PROJECT", "TASKS_LOCATION", "CHECK_QUEUE", "DISPATCH_QUEUE", "CHECK_URL", "DISPATCH_URL", "SWEEP_URL",
		"TASKS_SERVICE_ACCOUNT", "INVOKER_SERVICE_ACCOUNTS", "INVOKER_AUDIENCES", "INVOKER_ISSUER", "CONSOLE_AUDIENCES", "CLOUD_RUN_TIMEOUT_SECONDS":
		return true
	}
	return strings.HasSuffix(name, "_EMULATOR_HOST")
}

// follows reports whether the value of a setting is made from other keys, unless the env file gives one.
func follows(name string) bool {
	return fixed(name) || name == "STORE" || strings.HasSuffix(name, "_TOPIC") || slices.Contains([]string{"START_URL", "STATUS_URL", "CANCEL_URL"}, name)
}

// checkKeys adds to bad what is wrong with the keys of f and with the values of those that are no settings.
func checkKeys(f envFile, bad *faults) {
	settings := map[string]config.Setting{}
	for _, s := range config.Settings() {
		settings[s.Name] = s
	}
	known := slices.Concat(placeKeys, resourceKeys)
	for _, function := range config.Functions() {
		for _, k := range resourceKeys {
			known = append(known, key{k.name + "_" + strings.ToUpper(function), false, k.check})
		}
	}
	own := map[string]bool{}
	for _, k := range known {
		own[k.name] = true
		value, given := f.values[k.name]
		switch {
		case !given && k.required:
			bad.add(0, "%s is missing", k.name)
		case given:
			if err := k.check(value); err != nil {
				bad.add(f.lines[k.name], "%s is %.80q; expected %v", k.name, shown(k.name, value), err)
			}
		}
	}
	for name, line := range f.lines {
		_, isSetting := settings[name]
		switch {
		case own[name]:
		case !isSetting:
			bad.add(line, "%s is no setting", name)
		case fixed(name):
			bad.add(line, "%s follows from PROJECT, REGION and PREFIX; leave it out", name)
		case slices.Contains(secretSettings, name) && (name != "PIPELINE_API_KEY" || f.values[name] != "secret"):
			hint := "leave it out"
			if name == "PIPELINE_API_KEY" {
				hint = "write PIPELINE_API_KEY=secret"
			}
			bad.add(line, "%s is a secret, which comes from Secret Manager: %s", name, hint)
		}
	}
}

// shown is a value as it may be printed.
func shown(name, value string) string {
	if slices.Contains(secretSettings, name) {
		return "[redacted]"
	}
	return value
}

// placeholders adds to bad what an example leaves to be filled in.
func placeholders(f envFile, bad *faults) {
	for name, value := range f.values {
		if strings.Contains(value, "your-") {
			bad.add(f.lines[name], "%s is still the placeholder of the example, %q", name, value)
		}
	}
}

func matches(pattern, expected string) func(string) error {
	r := regexp.MustCompile(pattern)
	return func(value string) error {
		if !r.MatchString(value) {
			return errors.New(expected)
		}
		return nil
	}
}

func between(least, most int) func(string) error {
	return func(value string) error {
		if n, err := strconv.Atoi(value); err != nil || n < least || n > most || value != strconv.Itoa(n) {
			return fmt.Errorf("a whole number from %d to %d", least, most)
		}
		return nil
	}
}

func webAddress(value string) error {
	if u, err := url.Parse(value); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return errors.New("an http or https URL")
	}
	return nil
}
