package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/weburl"
)

// key is a key of an env file that is not a setting of a function.
type key struct {
	name     string
	fallback string // the value if the file does not give one
	required bool
	check    func(value string) error // returns an error that says what is expected
}

const (
	emailAddress = `[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+`
	channelName  = `projects/[^/, ]+/notificationChannels/[0-9]+`
	networkName  = `[a-z]([a-z0-9-]{0,61}[a-z0-9])?`
)

// deploymentKeys are the keys that describe a deployment as a whole.
var deploymentKeys = []key{
	{"PROJECT", "", true, matches(`[a-z][a-z0-9-]{4,28}[a-z0-9]`, "a project id of 6 to 30 characters")},
	{"REGION", "", true, matches(`[a-z]+-[a-z]+[0-9]+`, "a region, such as us-central1")},
	// The longest account id is PREFIX-scheduler, and an account id has at most 30 characters.
	{"PREFIX", "", true, matches(`[a-z]([a-z0-9-]{0,18}[a-z0-9])?`,
		"at most 20 small letters, digits and hyphens, beginning with a letter")},
	{"STORE", "", true, matches(`firestore|firestore:[a-z0-9()-]+|cloudsql|secret`,
		"firestore, firestore:DATABASE, cloudsql, or secret for a PostgreSQL whose URL is in Secret Manager")},
	{"FIRESTORE_LOCATION", "", false, matches(`[a-z]+-[a-z]+[0-9]+|nam5|eur3`, "a region, nam5 or eur3")},
	{"BACKUP_DAYS", "", false, between(1, 98)}, // https://cloud.google.com/firestore/docs/backups
	{"CLOUD_SQL_INSTANCE", "", false, matches(`[a-z]([a-z0-9-]{0,78}[a-z0-9])?`, "an instance id")},
	{"CLOUD_SQL_TIER", "", false, matches(`db-[a-z0-9-]+`, "a tier, such as db-custom-1-3840")},
	{"CLOUD_SQL_VERSION", "", false, matches(`POSTGRES_[0-9]+`, "a version, such as POSTGRES_17")},
	{"CLOUD_SQL_AVAILABILITY", "", false, matches(`zonal|regional`, "zonal or regional")},
	{"NETWORK", "", false, matches(networkName, "the name of a VPC network")},
	{"SUBNET", "", false, matches(networkName, "the name of a subnet of REGION")},
	{"VPC_EGRESS", "", false, matches(`private-ranges-only|all-traffic`, "private-ranges-only or all-traffic")},
	{"PUBLIC_ACCESS", "no-iam-check", false, matches(`no-iam-check|allUsers`, "no-iam-check or allUsers")},
	{"SWEEP_SCHEDULE", "*/2 * * * *", false, matches(`(\S+ ){4}\S+`,
		"a cron line of five fields, such as */2 * * * *")},
	{"PIPELINE_PUBLISHERS", "", false, matches(emailAddress+`(,`+emailAddress+`)*`,
		"comma-separated e-mail addresses of service accounts")},
	{"CONSOLE_IAP", "", false, matches(`true|false`, "true or false")},
	{"ALERT_EMAIL", "", false, matches(emailAddress, "an e-mail address")},
	{"NOTIFICATION_CHANNELS", "", false, matches(channelName+`(,`+channelName+`)*`,
		"comma-separated projects/P/notificationChannels/N")},
	{"RUNBOOKS_URL", "", true, webAddress},
	{"SKIP_CANARY", "false", false, matches(`true|false`, "true or false")},
	{"CANARY_FORM", "canary.json", false, func(string) error { return nil }},
	{"CANARY_DEADLINE", "900", false, between(1, 3600)},
}

// resourceKeys are the columns of functions.txt. An env file may give KEY for all functions, and
// KEY_FUNCTION for one, such as CONCURRENCY_STATUS. The function comes last because CHECK_TIMEOUT
// and DISPATCH_CONCURRENCY are settings.
var resourceKeys = []key{
	{"MEMORY", "", false, matches(`[1-9][0-9]*(Mi|Gi)`, "a size such as 512Mi or 1Gi")},
	{"CPU", "", false, matches(`1|2|4|6|8`, "1, 2, 4, 6 or 8: the second generation of Cloud Run has no less")},
	{"CONCURRENCY", "", false, between(1, 1000)},
	{"TIMEOUT", "", false, between(1, 3600)},
	{"MIN_INSTANCES", "", false, between(0, 1000)},
	{"MAX_INSTANCES", "", false, between(1, 1000)},
	{"INGRESS", "", false, matches(`all|internal|internal-and-cloud-load-balancing`,
		"all, internal or internal-and-cloud-load-balancing")},
}

// secretSettings are the settings that come from Secret Manager, never from an env file.
var secretSettings = []string{"TOKEN_SECRET", "API_KEYS", "PIPELINE_API_KEY", "STORE"}

// derived reports whether a setting follows from PROJECT, REGION and PREFIX, so that an env file
// may not give it.
func derived(name string) bool {
	switch name {
	case "GOOGLE_CLOUD_PROJECT", "TASKS_LOCATION", "CHECK_QUEUE", "DISPATCH_QUEUE", "CHECK_URL", "DISPATCH_URL",
		"SWEEP_URL", "TASKS_SERVICE_ACCOUNT", "CONSOLE_AUDIENCES", "CLOUD_RUN_TIMEOUT_SECONDS":
		return true
	}
	return strings.HasSuffix(name, "_EMULATOR_HOST")
}

// checkKeys adds to bad each unknown key, each missing key and each value that is not valid.
func checkKeys(f envFile, bad *problems) {
	settings := map[string]bool{}
	for _, s := range config.Settings() {
		settings[s.Name] = true
	}
	known := slices.Concat(deploymentKeys, resourceKeys)
	for _, function := range config.Functions() {
		for _, k := range resourceKeys {
			known = append(known, key{k.name + "_" + strings.ToUpper(function), "", false, k.check})
		}
	}
	own := map[string]bool{}
	for _, k := range known {
		own[k.name] = true
		value, given := f.values[k.name]
		if !given && k.required {
			bad.add(0, "%s is missing", k.name)
		} else if given {
			if err := k.check(value); err != nil {
				if slices.Contains(secretSettings, k.name) {
					value = "[redacted]"
				}
				bad.add(f.lines[k.name], "%s is %.80q; expected %v", k.name, value, err)
			}
		}
	}
	for name, line := range f.lines {
		switch {
		case own[name]:
		case strings.HasPrefix(name, "INVOKER_"):
			bad.add(line, "%s is not for Google Cloud, where IAM alone guards the private functions: "+
				"leave it out", name)
		case !settings[name]:
			bad.add(line, "%s is not a setting", name)
		case derived(name):
			bad.add(line, "%s follows from PROJECT, REGION and PREFIX: leave it out", name)
		case name == "PIPELINE_API_KEY" && f.values[name] == "secret":
		case slices.Contains(secretSettings, name):
			hint := "leave it out"
			if name == "PIPELINE_API_KEY" {
				hint = "write PIPELINE_API_KEY=secret"
			}
			bad.add(line, "%s is a secret, which comes from Secret Manager: %s", name, hint)
		}
	}
}

// checkPlaceholders adds to bad each value of an example that was not replaced.
func checkPlaceholders(f envFile, bad *problems) {
	for name, value := range f.values {
		if strings.Contains(value, "your-") {
			bad.add(f.lines[name], "%s is still %q, the placeholder of the example", name, value)
		}
	}
}

// matches returns a check that a whole value matches a pattern.
func matches(pattern, expected string) func(string) error {
	r := regexp.MustCompile(`^(` + pattern + `)$`)
	return func(value string) error {
		if !r.MatchString(value) {
			return errors.New(expected)
		}
		return nil
	}
}

// between returns a check that a value is a whole number from low to high, written without leading
// zeros.
func between(low, high int) func(string) error {
	return func(value string) error {
		if n, err := strconv.Atoi(value); err != nil || n < low || n > high || value != strconv.Itoa(n) {
			return fmt.Errorf("a whole number from %d to %d", low, high)
		}
		return nil
	}
}

// webAddress checks that a value is an http or https URL.
func webAddress(value string) error {
	if _, err := weburl.Parse(value); err != nil {
		return errors.New("an http or https URL")
	}
	return nil
}
