package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/store/drivers"
)

// The scripts replace these texts by values that only a live project knows.
const (
	numberPlaceholder  = "{PROJECT_NUMBER}"
	versionPlaceholder = "{VERSION_OF_%s}" // with the name of a secret
)

const (
	// maxQueueConcurrency is the most deliveries that one queue makes at the same time
	// (https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues#RateLimits).
	maxQueueConcurrency = 5000
	// maxAttempt is the longest time, in seconds, that Cloud Scheduler waits for an answer
	// (https://cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs).
	maxAttempt = 1800
	// checkOverhead is the time that a check may take beside its poll.
	checkOverhead = 50 * time.Second
	// formKiB is the largest form. A request holds up to formCopies of it: as received, as saved,
	// as sent. baseMemory, in KiB, is what a process needs besides. The last two are rough
	// estimates, on the safe side.
	formKiB, formCopies, baseMemory = 900, 4, 96 << 10
	// gcloudClient is the audience of the tokens that "gcloud run services proxy" sends
	// (CLOUDSDK_CLIENT_ID in googlecloudsdk/core/config.py of the SDK).
	gcloudClient = "32555940559.apps.googleusercontent.com"
)

// function is a function as a Cloud Run service.
type function struct {
	name, caller string
	resources    map[string]string // by the names of resourceKeys
	settings     map[string]string
	secrets      map[string]string // the name of the secret, by setting
}

// number returns a resource as a number, and 0 if it is not one.
func (f function) number(key string) int { n, _ := strconv.Atoi(f.resources[key]); return n }

// plan is what the scripts read.
type plan struct {
	file         envFile
	bad          *problems
	values       map[string]string // by name
	functions    []function        // in the order of functions.txt
	organization bool              // the project belongs to an organization
	pipelines    string            // the text of the file that PIPELINES_FILE names
}

// newPlan reads an env file and functions.txt. It returns all problems of the env file in one
// error.
func newPlan(path, folder string, organization, example bool) (*plan, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := &plan{bad: &problems{file: path}, values: map[string]string{}, organization: organization}
	p.file = parseEnv(data, p.bad)
	if !example {
		checkPlaceholders(p.file, p.bad)
	}
	checkKeys(p.file, p.bad)
	for _, k := range deploymentKeys {
		p.values[k.name] = p.given(k.name, k.fallback)
	}
	p.deriveValues()
	if err := p.readFunctions(filepath.Join(folder, "functions.txt")); err != nil {
		return nil, err
	}
	p.checkLimits(p.assignSettings())
	if len(p.bad.list) > 0 {
		return nil, p.bad
	}
	return p, nil
}

// given returns the value of a key of the env file, or fallback if it is empty.
func (p *plan) given(name, fallback string) string {
	if value := p.file.values[name]; value != "" {
		return value
	}
	return fallback
}

// account returns the e-mail address of a service account.
func (p *plan) account(name string) string {
	return fmt.Sprintf("%s-%s@%s.iam.gserviceaccount.com", p.values["PREFIX"], name, p.values["PROJECT"])
}

// url returns the run.app address of a function, which is known before it is deployed
// (https://cloud.google.com/run/docs/triggering/https-request#deterministic).
func (p *plan) url(function string) string {
	return fmt.Sprintf("https://%s-%s-%s.%s.run.app",
		p.values["PREFIX"], function, numberPlaceholder, p.values["REGION"])
}

// deriveValues derives the store, the topics, the addresses and the secrets.
func (p *plan) deriveValues() {
	v, prefix := p.values, p.values["PREFIX"]
	for name, suffix := range map[string]string{
		"PIPELINE_EVENTS_TOPIC": "-pipeline-events", "ENDED_TOPIC": "-ended", "DEAD_LETTER_TOPIC": "-dead-letter",
	} {
		v[name] = p.given(name, prefix+suffix)
	}
	v["RUNBOOKS_URL"] = strings.TrimSuffix(v["RUNBOOKS_URL"], "/")
	// An env file may give the addresses of a load balancer.
	for _, f := range []string{"START", "STATUS", "CANCEL", "CALLBACK"} {
		v[f+"_URL"] = strings.TrimSuffix(p.given(f+"_URL", p.url(strings.ToLower(f))), "/")
	}
	kind, database, _ := strings.Cut(v["STORE"], ":")
	v["STORE_KIND"], v["DATABASE"] = kind, ""
	secrets := []string{"token-secret", "api-keys"}
	if p.file.values["PIPELINE_API_KEY"] == "secret" {
		secrets = append(secrets, "pipeline-api-key")
	}
	p.readPipelines()
	for _, name := range config.PipelineSecrets(p.pipelines) {
		secrets = append(secrets, secretName(name))
	}
	switch kind {
	case "firestore":
		v["DATABASE"] = database
		if database == "" {
			v["DATABASE"] = prefix + "-cases"
		}
		v["FIRESTORE_LOCATION"] = p.given("FIRESTORE_LOCATION", v["REGION"])
		v["BACKUP_DAYS"] = p.given("BACKUP_DAYS", "7")
	case "cloudsql":
		v["CLOUD_SQL_CONNECTION"] = v["PROJECT"] + ":" + v["REGION"] + ":" + v["CLOUD_SQL_INSTANCE"]
	}
	v["STORE_DRIVER"] = drivers.Firestore
	if kind != "firestore" {
		v["STORE_DRIVER"] = drivers.Postgres
		secrets = append(secrets, "store")
	}
	v["GO_TAGS"] = drivers.Tags(v["STORE_DRIVER"])
	v["SECRETS"] = strings.Join(secrets, " ")
	for _, name := range []string{
		"FIRESTORE_LOCATION", "BACKUP_DAYS",
		"CLOUD_SQL_INSTANCE", "CLOUD_SQL_TIER", "CLOUD_SQL_VERSION", "CLOUD_SQL_AVAILABILITY",
	} {
		line, sql := p.file.lines[name], strings.HasPrefix(name, "CLOUD_SQL_")
		if line > 0 && kind != "" && (sql && kind != "cloudsql" || !sql && kind != "firestore") {
			p.bad.add(line, "%s has no effect: STORE is %s", name, kind)
		} else if line == 0 && sql && kind == "cloudsql" {
			p.bad.add(0, "%s is missing, and STORE is cloudsql", name)
		}
	}
	v["NETWORK_INTERFACES"] = ""
	if v["NETWORK"] != "" && v["SUBNET"] != "" {
		v["NETWORK_INTERFACES"] = fmt.Sprintf(`[{"network":%q,"subnetwork":%q}]`, v["NETWORK"], v["SUBNET"])
		v["VPC_EGRESS"] = p.given("VPC_EGRESS", "private-ranges-only")
	} else if v["NETWORK"]+v["SUBNET"]+v["VPC_EGRESS"] != "" {
		p.bad.add(0, "NETWORK and SUBNET go together, and VPC_EGRESS needs both")
	}
	if v["ALERT_EMAIL"]+v["NOTIFICATION_CHANNELS"] == "" {
		p.bad.add(0, "ALERT_EMAIL or NOTIFICATION_CHANNELS is missing: alerts need a receiver")
	}
	p.deriveConsole()
}

// deriveConsole decides whether there is a console and how its users reach it. Identity-Aware Proxy
// serves the users of the project's organization. Without an organization it needs an OAuth client,
// so it is off unless the env file asks for it.
func (p *plan) deriveConsole() {
	var users []string
	for user := range strings.SplitSeq(strings.ToLower(p.file.values["CONSOLE_USERS"]), ",") {
		if user = strings.TrimSpace(user); user != "" && !slices.Contains(users, user) {
			users = append(users, user)
		}
	}
	iap := p.given("CONSOLE_IAP", strconv.FormatBool(p.organization && len(users) > 0))
	if iap == "true" && len(users) == 0 {
		p.bad.add(p.file.lines["CONSOLE_IAP"],
			"CONSOLE_IAP has no effect: there is no console, since CONSOLE_USERS is not set")
	}
	p.values["CONSOLE_IAP"], p.values["CONSOLE_MEMBERS"] = iap, ""
	for _, user := range users {
		kind := "user:"
		if strings.HasSuffix(user, ".gserviceaccount.com") {
			kind = "serviceAccount:"
		}
		p.values["CONSOLE_MEMBERS"] += " " + kind + user
	}
	p.values["CONSOLE_MEMBERS"] = strings.TrimSpace(p.values["CONSOLE_MEMBERS"])
}

// readPipelines reads the file that PIPELINES_FILE names, relative to the env file. The functions get
// its text as PIPELINES.
func (p *plan) readPipelines() {
	const key = "PIPELINES_FILE"
	path := p.file.values[key]
	if path == "" {
		return
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(p.bad.file), path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		p.bad.add(p.file.lines[key], "%s cannot be read: %v", key, err)
	}
	p.pipelines = string(text)
}

// secretName returns the name, without the prefix, of the secret that holds a setting.
func secretName(setting string) string { return strings.ReplaceAll(strings.ToLower(setting), "_", "-") }

// readFunctions reads functions.txt, with the columns that the env file overrides. It returns an
// error if functions.txt cannot be read.
func (p *plan) readFunctions(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var names []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "#" || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) != 2+len(resourceKeys) || !slices.Contains(config.Functions(), fields[0]) {
			return fmt.Errorf("%s: %q is not a function with %d columns",
				path, strings.TrimSpace(line), 2+len(resourceKeys))
		}
		if fields[0] == "console" && p.values["CONSOLE_MEMBERS"] == "" {
			continue
		}
		f := function{fields[0], fields[1], map[string]string{}, map[string]string{}, map[string]string{}}
		for i, k := range resourceKeys {
			value := fields[2+i]
			if k.name != "INGRESS" || f.caller == "public" {
				value = p.given(k.name, value)
			}
			f.resources[k.name] = p.given(k.name+"_"+strings.ToUpper(f.name), value)
		}
		p.functions = append(p.functions, f)
		names = append(names, f.name)
	}
	p.values["FUNCTIONS"] = strings.Join(names, " ")
	return nil
}

// setting returns the value of a setting for a function, or "" if the function does not get it.
func (p *plan) setting(f function, name string) string {
	switch name {
	case "GOOGLE_CLOUD_PROJECT":
		return p.values["PROJECT"]
	case "PIPELINES":
		return p.pipelines
	case "PIPELINES_FILE":
		return ""
	case "TASKS_LOCATION":
		return p.values["REGION"]
	case "CHECK_QUEUE", "DISPATCH_QUEUE":
		return p.values["PREFIX"] + "-" + strings.ToLower(strings.TrimSuffix(name, "_QUEUE"))
	case "TASKS_SERVICE_ACCOUNT":
		return p.account("tasks")
	case "CHECK_URL", "DISPATCH_URL", "SWEEP_URL":
		return p.url(strings.ToLower(strings.TrimSuffix(name, "_URL")))
	case "CLOUD_RUN_TIMEOUT_SECONDS":
		return f.resources["TIMEOUT"]
	case "STORE":
		return map[string]string{"firestore": "firestore:" + p.values["DATABASE"]}[p.values["STORE_KIND"]]
	case "CONSOLE_AUDIENCES":
		if p.values["CONSOLE_IAP"] == "true" { // https://cloud.google.com/iap/docs/signed-headers-howto
			return fmt.Sprintf("/projects/%s/locations/%s/services/%s-console",
				numberPlaceholder, p.values["REGION"], p.values["PREFIX"])
		}
		return p.url("console") + "," + gcloudClient
	}
	if value, ok := p.values[name]; ok {
		return value
	}
	return p.file.values[name]
}

// assignSettings gives each function its settings, and checks them as the function does when it
// starts. It returns the settings of all functions together, or nil if they are not valid.
func (p *plan) assignSettings() *config.Config {
	secrets := strings.Fields(p.values["SECRETS"])
	all := map[string]string{"FUNCTION_TARGET": ""}
	for i := range p.functions {
		f := &p.functions[i]
		f.settings["FUNCTION_TARGET"] = f.name
		for _, s := range config.Settings() {
			secret := secretName(s.Name)
			if slices.Contains(secrets, secret) && slices.Contains(secretSettings, s.Name) {
				if s.UsedBy(f.name) {
					f.secrets[s.Name] = p.values["PREFIX"] + "-" + secret
				}
				all[s.Name] = standIns[s.Name]
				continue
			}
			if value := p.setting(*f, s.Name); value != "" {
				if s.UsedBy(f.name) {
					f.settings[s.Name] = value
				}
				// config compares the timeout of dispatch, and of no other function, with
				// PIPELINE_TIMEOUT.
				if s.Name != "CLOUD_RUN_TIMEOUT_SECONDS" || f.name == "dispatch" {
					all[s.Name] = value
				}
			}
		}
		for _, name := range config.PipelineSecrets(p.pipelines) {
			if slices.Contains(secretUsers, f.name) {
				f.secrets[name] = p.values["PREFIX"] + "-" + secretName(name)
			}
			all[name] = standIn
		}
		environment := map[string]string{}
		for name, value := range f.settings {
			environment[name] = value
		}
		for name := range f.secrets {
			environment[name] = cmp.Or(standIns[name], standIn)
		}
		p.load(f.name, environment)
	}
	if p.values["CONSOLE_MEMBERS"] == "" { // there is no console, so its settings may be missing
		all["CONSOLE_USERS"], all["CONSOLE_AUDIENCES"] = "operator@example.com", "x"
	}
	return p.load(config.Local, all)
}

// secretUsers are the functions that get the secrets of descriptions. standIn is a valid value for one.
var secretUsers = []string{"dispatch", "check", "callback"}

const standIn = "x"

// standIns are valid values for the settings whose real values only Secret Manager knows.
var standIns = map[string]string{
	"TOKEN_SECRET":     strings.Repeat("x", 32),
	"API_KEYS":         "a-stand-in-for-an-api-key",
	"PIPELINE_API_KEY": "x",
	"STORE":            "postgres://u@database.example.com/d",
}

// load checks the settings of a function as the function does on Google Cloud. It adds each problem
// with its line of the env file. It returns nil if there is one.
func (p *plan) load(name string, environment map[string]string) *config.Config {
	before := len(p.bad.list)
	c, err := config.Load(name, func(setting string) (string, bool) {
		if setting == "K_SERVICE" {
			return "casewatch", true
		}
		value, given := environment[setting]
		return strings.ReplaceAll(value, numberPlaceholder, "123456789012"), given
	})
	if faults, ok := errors.AsType[*config.Error](err); ok {
		for _, one := range faults.Faults {
			ours := derived(one.Name) || p.values[one.Name] != "" && p.file.lines[one.Name] == 0 || one.Name == "STORE"
			if ours && before > 0 {
				continue // it follows from a problem that was added before
			}
			p.bad.add(p.file.lines[one.Name], "%s %s", one.Name, one.Detail)
		}
	} else if err != nil {
		p.bad.add(0, "%v", err)
	}
	return c
}

// checkLimits compares the settings with the resources of the functions, and derives the limits of
// the queues. Without settings it only compares the resources with each other.
func (p *plan) checkLimits(c *config.Config) {
	for _, f := range p.functions {
		at := func(key string) int { // the line of a resource
			if line := p.file.lines[key+"_"+strings.ToUpper(f.name)]; line > 0 {
				return line
			}
			return p.file.lines[key]
		}
		low, high, concurrency := f.number("MIN_INSTANCES"), f.number("MAX_INSTANCES"), f.number("CONCURRENCY")
		if low > high {
			p.bad.add(at("MIN_INSTANCES"), "MIN_INSTANCES of %s is %d, more than its MAX_INSTANCES, which is %d",
				f.name, low, high)
		}
		p.checkMemory(f, at)
		url := strings.ToUpper(f.name) + "_URL"
		if f.caller == "public" && f.resources["INGRESS"] != "all" && p.file.values[url] == "" {
			p.bad.add(at("INGRESS"), "INGRESS of %s is %s, which closes its run.app address: "+
				"set %s to the load balancer",
				f.name, f.resources["INGRESS"], url)
		}
		if c == nil {
			continue
		}
		switch f.name {
		case "check":
			shortest := c.Rules.CheckTimeout + checkOverhead
			if time.Duration(f.number("TIMEOUT"))*time.Second < shortest {
				p.bad.add(at("TIMEOUT"), "TIMEOUT of check is %ss; expected at least %v: CHECK_TIMEOUT and %v more",
					f.resources["TIMEOUT"], shortest, checkOverhead)
			}
			shards := max(1, c.Queue.Shards)
			// All shards together deliver at most as many checks at the same time as the instances
			// take.
			p.values["CHECK_CONCURRENCY"] = strconv.Itoa(min(maxQueueConcurrency, max(1, high*concurrency/shards)))
			queues := []string{c.Queue.Check}
			if shards > 1 { // the names are those of the adapter of Cloud Tasks
				queues = nil
				for i := range shards {
					queues = append(queues, fmt.Sprintf("%s-%d", c.Queue.Check, i))
				}
			}
			p.values["CHECK_QUEUES"] = strings.Join(queues, " ")
		case "dispatch":
			// If all instances are busy, Cloud Run answers 429. Cloud Tasks then slows down the
			// whole queue.
			together := 0
			var queues []string
			for i, d := range c.Pipelines {
				name := c.Queue.Dispatch
				if i > 0 { // the names are those of the adapter of Cloud Tasks
					name += "-" + d.Name
				}
				together += d.Dispatch.Concurrency
				queues = append(queues, fmt.Sprintf("%s:%s:%d", name,
					strconv.FormatFloat(d.Dispatch.Rate, 'f', -1, 64), d.Dispatch.Concurrency))
			}
			if room := high * concurrency; together > room {
				p.bad.add(p.file.lines["DISPATCH_CONCURRENCY"],
					"DISPATCH_CONCURRENCY is %d for all pipelines together; the instances of dispatch take "+
						"%d requests (MAX_INSTANCES %d × CONCURRENCY %d)",
					together, room, high, concurrency)
			}
			p.values["DISPATCH_QUEUE"] = c.Queue.Dispatch
			p.values["DISPATCH_QUEUES"] = strings.Join(queues, " ")
		case "sweep":
			p.values["SWEEP_ATTEMPT"] = strconv.Itoa(min(f.number("TIMEOUT"), maxAttempt))
		}
	}
}

// checkMemory checks that the memory of a function is enough for its requests.
func (p *plan) checkMemory(f function, at func(key string) int) {
	memory, concurrency := kib(f.resources["MEMORY"]), f.number("CONCURRENCY")
	if memory == 0 {
		return
	}
	if memory < 512<<10 {
		p.bad.add(at("MEMORY"), "MEMORY of %s is %s; the second generation of Cloud Run needs at least 512Mi",
			f.name, f.resources["MEMORY"])
		return
	}
	need := baseMemory + concurrency*formKiB*formCopies
	if (f.name == "start" || f.name == "dispatch") && memory < need {
		p.bad.add(at("CONCURRENCY"), "MEMORY of %s is %s, and CONCURRENCY %d: "+
			"so many forms of 900 KiB need about %dMi. An instance without memory loses all of its requests",
			f.name, f.resources["MEMORY"], concurrency, need>>10)
	}
}

// kib returns a size such as 512Mi or 1Gi in KiB, and 0 if it is not one.
func kib(memory string) int {
	n, _ := strconv.Atoi(strings.TrimRight(memory, "GMi"))
	if strings.HasSuffix(memory, "Gi") {
		return n << 20
	}
	return n << 10
}
