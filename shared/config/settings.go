package config

import (
	"slices"
	"strings"
	"time"
)

// Setting describes one environment variable.
type Setting struct {
	Name     string
	Doc      string
	Expected string // the format of a value
	Default  string // the value if it is not set; "" for none
	Example  string // a value that is valid on Google Cloud; "" if no value is
	Required bool   // whether the functions that use it cannot start without it
	Secret   bool   // whether the value may hold a secret and must never be printed
	// Functions are those that use it. [Local] uses every setting. Without any function, only Local
	// and the deploy scripts use it.
	Functions []string
}

// UsedBy reports whether a function uses s.
func (s Setting) UsedBy(function string) bool {
	return function == Local || slices.Contains(s.Functions, function)
}

// Functions returns the names of the functions.
func Functions() []string { return slices.Clone(all) }

// URLSettings returns, by function, the name of the setting that is its address. A function whose
// address is not needed has no such setting.
func URLSettings() map[string]string {
	names := map[string]string{}
	for _, function := range all {
		name := strings.ToUpper(function) + "_URL"
		if slices.ContainsFunc(table, func(s setting) bool { return s.Name == name }) {
			names[function] = name
		}
	}
	return names
}

// Settings returns every setting, in the order of the documentation.
func Settings() []Setting {
	list := make([]Setting, len(table))
	for i, s := range table {
		list[i] = s.Setting
		list[i].Expected = s.expects
		list[i].Functions = slices.Clone(s.Functions)
	}
	return list
}

var (
	all     = []string{"start", "status", "cancel", "callback", "dispatch", "check", "complete", "sweep", "console"}
	public  = []string{"start", "status", "cancel"}
	private = []string{"dispatch", "check", "complete", "sweep"}
	// recording functions change records.
	recording = []string{"start", "cancel", "callback", "dispatch", "check", "complete", "sweep", "console"}
	// asking functions call the pipeline.
	asking = []string{"dispatch", "check"}
	// verifying functions verify ID tokens of Google.
	verifying = append(slices.Clone(private), "console")
)

type setting struct {
	Setting
	value
}

// timeoutVariable holds the request timeout of the service. The functions framework turns it into a
// deadline.
const timeoutVariable = "CLOUD_RUN_TIMEOUT_SECONDS"

const (
	shortest = time.Millisecond
	day      = 24 * time.Hour
	years    = 5 * 365 * day
	// longestRun is below 30 days, the longest delay of a task in Cloud Tasks
	// (https://cloud.google.com/tasks/docs/quotas).
	longestRun = 29 * day
	// longestTask is the longest dispatch deadline of a task with an HTTP target
	// (https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks; see
	// dispatchDeadline).
	longestTask = 30 * time.Minute
	// longestRequest is the longest request timeout of Cloud Run
	// (https://cloud.google.com/run/docs/configuring/request-timeout).
	longestRequest = time.Hour
)

var table = slices.Concat(pipelineSettings, timeSettings, placeSettings, urlSettings, accessSettings, platformSettings)

func lookupSetting(name string) setting {
	return table[slices.IndexFunc(table, func(s setting) bool { return s.Name == name })]
}

var pipelineSettings = []setting{
	{
		Setting{
			Name: "PIPELINE_API_URL",
			Doc: "The address of the document pipeline, without /api. Exactly one of this, PIPELINES and " +
				"PIPELINES_FILE is set.",
			Functions: all,
			Example:   "https://pipeline.example.com",
		},
		pipelineURL(func(c *Config) *string { return &c.Pipeline.URL }),
	},
	{
		Setting{
			Name: "PIPELINES",
			Doc: "Descriptions of pipelines, in YAML ([guide](your-pipeline.md)). A `{secret:NAME}` in it is a " +
				"variable whose name begins with PIPELINE_SECRET_. The first one is the default.",
			Functions: all,
		},
		descriptions(),
	},
	{
		Setting{
			Name:      "PIPELINES_FILE",
			Doc:       "The path of a file with these descriptions.",
			Functions: all,
		},
		descriptionsFile(),
	},
	{
		Setting{
			Name:      "PIPELINE_API_KEY",
			Doc:       "The key that is sent to the pipeline as X-API-Key.",
			Secret:    true,
			Functions: asking,
			Example:   "example-pipeline-key",
		},
		headerSecret(func(c *Config) *Secret { return &c.Pipeline.APIKey }),
	},
	{
		Setting{
			Name:      "PIPELINE_AUTH",
			Doc:       "Whether requests to the pipeline carry a Google ID token: `none` or `oidc`.",
			Default:   "none",
			Functions: asking,
			Example:   "oidc",
		},
		oneOf(func(c *Config) *Auth { return &c.Pipeline.Auth }, AuthNone, AuthOIDC),
	},
	{
		Setting{
			Name:      "PIPELINE_IDEMPOTENT",
			Doc:       "Whether the pipeline honours Idempotency-Key, so that an uncertain dispatch may be repeated.",
			Default:   "false",
			Functions: recording,
			Example:   "true",
		},
		boolean(func(c *Config) *bool { return &c.Pipeline.Idempotent }),
	},
	{
		Setting{
			Name: "PIPELINE_TIMEOUT",
			Doc: "How long a dispatch waits for the pipeline's answer. At most 30m; for dispatch, below " +
				"CLOUD_RUN_TIMEOUT_SECONDS.",
			Default:   "29m30s",
			Functions: recording,
			Example:   "20m",
		},
		duration(func(c *Config) *time.Duration { return &c.Pipeline.Timeout }, shortest, longestTask),
	},
}

var timeSettings = []setting{
	{
		Setting{
			Name:      "CASE_DEADLINE",
			Doc:       "How long a run may take if its start names no deadline.",
			Default:   "1h",
			Functions: recording,
			Example:   "2h",
		},
		duration(func(c *Config) *time.Duration { return &c.Rules.CaseDeadline }, shortest, longestRun),
	},
	{
		Setting{
			Name:      "MAX_DEADLINE",
			Doc:       "The longest deadline that a start may ask for.",
			Default:   "24h",
			Functions: []string{"start"},
			Example:   "48h",
		},
		duration(func(c *Config) *time.Duration { return &c.Rules.MaxDeadline }, shortest, longestRun),
	},
	{
		Setting{
			Name:      "CHECK_MIN_INTERVAL",
			Doc:       "The shortest time between two polls of a run.",
			Default:   "2s",
			Functions: all,
			Example:   "5s",
		},
		duration(func(c *Config) *time.Duration { return &c.Rules.CheckMinInterval }, shortest, day),
	},
	{
		Setting{
			Name:      "CHECK_MAX_INTERVAL",
			Doc:       "The longest time between two polls of a run.",
			Default:   "30s",
			Functions: all,
			Example:   "1m",
		},
		duration(func(c *Config) *time.Duration { return &c.Rules.CheckMaxInterval }, shortest, day),
	},
	{
		Setting{
			Name:      "CHECK_TIMEOUT",
			Doc:       "How long one poll waits for the pipeline.",
			Default:   "10s",
			Functions: all,
			Example:   "15s",
		},
		duration(func(c *Config) *time.Duration { return &c.Rules.CheckTimeout }, shortest, longestTask),
	},
	{
		Setting{
			Name:      "START_GRACE",
			Doc:       "How long the pipeline may not know a run that may have started.",
			Default:   "2m",
			Functions: recording,
			Example:   "3m",
		},
		duration(func(c *Config) *time.Duration { return &c.Rules.StartGrace }, shortest, longestRun),
	},
	{
		Setting{
			Name:      "COMPLETION_GRACE",
			Doc:       "How long the result may arrive after completed == total.",
			Default:   "30s",
			Functions: recording,
			Example:   "1m",
		},
		duration(func(c *Config) *time.Duration { return &c.Rules.CompletionGrace }, shortest, longestRun),
	},
	{
		Setting{
			Name:      "STALL_AFTER",
			Doc:       "How long progress may stay unchanged before the run is reported as stalled.",
			Default:   "5m",
			Functions: recording,
			Example:   "10m",
		},
		duration(func(c *Config) *time.Duration { return &c.Rules.StallAfter }, shortest, longestRun),
	},
	{
		Setting{
			Name:      "UNREACHABLE_AFTER",
			Doc:       "How long the pipeline may be unreachable, without a break, before a run fails.",
			Default:   "10m",
			Functions: recording,
			Example:   "20m",
		},
		duration(func(c *Config) *time.Duration { return &c.Rules.UnreachableAfter }, shortest, longestRun),
	},
	{
		Setting{
			Name:      "STREAM_HOLD",
			Doc:       "The longest time that one request of an event stream is held. Below CLOUD_RUN_TIMEOUT_SECONDS.",
			Default:   "290s",
			Functions: []string{"status"},
			Example:   "280s",
		},
		duration(func(c *Config) *time.Duration { return &c.Stream.Hold }, shortest, longestRequest),
	},
	{
		Setting{
			Name:      "RETENTION",
			Doc:       "How long an ended run is kept; at least 48h.",
			Default:   "720h",
			Functions: all,
			Example:   "1440h",
		},
		duration(func(c *Config) *time.Duration { return &c.Rules.Retention }, 2*day, years),
	},
	{
		Setting{
			Name:      "FORM_RETENTION",
			Doc:       "How long the form of a run that did not succeed is kept after its end.",
			Default:   "24h",
			Functions: recording,
			Example:   "48h",
		},
		duration(func(c *Config) *time.Duration { return &c.Rules.FormRetention }, shortest, years),
	},
}

var placeSettings = []setting{
	{
		Setting{
			Name: "STORE",
			Doc: "Where runs are stored: `firestore:`, `firestore:DATABASE` or `postgres://…`; on a " +
				"single machine also `sqlite:PATH`.",
			Required:  true,
			Secret:    true,
			Functions: all,
			Example:   "firestore:",
		},
		storeLocation(),
	},
	{
		Setting{
			Name:      "GOOGLE_CLOUD_PROJECT",
			Doc:       "The project's id.",
			Required:  true,
			Functions: all,
			Example:   "example-project",
		},
		named(func(c *Config) *string { return &c.Project }, projectID, "a project id, such as my-project"),
	},
	{
		Setting{
			Name:      "TASKS_LOCATION",
			Doc:       "The region of the task queues.",
			Required:  true,
			Functions: all,
			Example:   "europe-west1",
		},
		named(func(c *Config) *string { return &c.Queue.Location }, locationID, "a region, such as europe-west1"),
	},
	{
		Setting{
			Name:      "CHECK_QUEUE",
			Doc:       "The queue of progress checks; with QUEUE_SHARDS above 1, the prefix of their ids.",
			Required:  true,
			Functions: all,
			Example:   "casewatch-check",
		},
		named(
			func(c *Config) *string { return &c.Queue.Check },
			queueID,
			"a queue id of at most 96 letters, digits and hyphens",
		),
	},
	{
		Setting{
			Name:      "DISPATCH_QUEUE",
			Doc:       "The queue of dispatches.",
			Required:  true,
			Functions: recording,
			Example:   "casewatch-dispatch",
		},
		named(
			func(c *Config) *string { return &c.Queue.Dispatch },
			queueID,
			"a queue id of at most 96 letters, digits and hyphens",
		),
	},
	{
		Setting{
			Name:      "QUEUE_SHARDS",
			Doc:       "The number of queues over which checks are spread.",
			Default:   "1",
			Functions: all,
			Example:   "4",
		},
		integer(func(c *Config) *int { return &c.Queue.Shards }, 1, 1000),
	},
	{
		Setting{
			Name:    "DISPATCH_RATE",
			Doc:     "The most dispatches a second. A property of the queue.",
			Default: "500",
			Example: "10",
		},
		number(func(c *Config) *float64 { return &c.Queue.Rate }, 500),
	},
	{
		Setting{
			Name: "DISPATCH_CONCURRENCY",
			Doc: "The most dispatches at the same time: the number of runs that the pipeline can work on. " +
				"A property of the queue.",
			Default: "10",
			Example: "20",
		},
		integer(func(c *Config) *int { return &c.Queue.Concurrency }, 1, 5000),
	},
	{
		Setting{
			Name:    "PIPELINE_EVENTS_TOPIC",
			Doc:     "The topic on which the pipeline publishes its events.",
			Example: "casewatch-pipeline-events",
		},
		named(func(c *Config) *string { return &c.Topics.PipelineEvents }, topicID, expectedTopic),
	},
	{
		Setting{
			Name:      "ENDED_TOPIC",
			Doc:       "The topic on which the ends of runs are published.",
			Required:  true,
			Functions: recording,
			Example:   "casewatch-ended",
		},
		named(func(c *Config) *string { return &c.Topics.Ended }, topicID, expectedTopic),
	},
	{
		Setting{
			Name:      "DEAD_LETTER_TOPIC",
			Doc:       "The topic to which unreadable events are forwarded.",
			Required:  true,
			Functions: []string{"complete", "callback"},
			Example:   "casewatch-dead-letter",
		},
		named(func(c *Config) *string { return &c.Topics.DeadLetter }, topicID, expectedTopic),
	},
}

var urlSettings = []setting{
	{
		Setting{
			Name:    "START_URL",
			Doc:     "The address of start; for the operators of a deployment.",
			Example: "https://start-1.example.run.app",
		},
		functionURL(func(c *Config) *string { return &c.URLs.Start }),
	},
	{
		Setting{
			Name:      "STATUS_URL",
			Doc:       "The address of status.",
			Required:  true,
			Functions: []string{"start"},
			Example:   "https://status-1.example.run.app",
		},
		functionURL(func(c *Config) *string { return &c.URLs.Status }),
	},
	{
		Setting{
			Name:      "CANCEL_URL",
			Doc:       "The address of cancel.",
			Required:  true,
			Functions: []string{"start"},
			Example:   "https://cancel-1.example.run.app",
		},
		functionURL(func(c *Config) *string { return &c.URLs.Cancel }),
	},
	{
		Setting{
			Name: "CALLBACK_URL",
			Doc: "The address of callback, as the pipelines are told. Required if a description uses " +
				"`{callback_url}`.",
			Functions: []string{"dispatch"},
			Example:   "https://callback-1.example.run.app",
		},
		functionURL(func(c *Config) *string { return &c.URLs.Callback }),
	},
	{
		Setting{
			Name:      "CHECK_URL",
			Doc:       "The address of check.",
			Required:  true,
			Functions: all,
			Example:   "https://check-1.example.run.app",
		},
		functionURL(func(c *Config) *string { return &c.URLs.Check }),
	},
	{
		Setting{
			Name:      "DISPATCH_URL",
			Doc:       "The address of dispatch.",
			Required:  true,
			Functions: recording,
			Example:   "https://dispatch-1.example.run.app",
		},
		functionURL(func(c *Config) *string { return &c.URLs.Dispatch }),
	},
	{
		Setting{
			Name:    "SWEEP_URL",
			Doc:     "The address of sweep; for the operators of a deployment.",
			Example: "https://sweep-1.example.run.app",
		},
		functionURL(func(c *Config) *string { return &c.URLs.Sweep }),
	},
}

var accessSettings = []setting{
	{
		Setting{
			Name:      "TASKS_SERVICE_ACCOUNT",
			Doc:       "The account whose ID token the tasks carry. Required on Google Cloud.",
			Functions: all,
			Example:   "tasks@example-project.iam.gserviceaccount.com",
		},
		named(func(c *Config) *string { return &c.Queue.ServiceAccount }, email, "an e-mail address"),
	},
	{
		Setting{
			Name: "INVOKER_SERVICE_ACCOUNTS",
			Doc: "The accounts whose ID tokens may call the private functions, comma-separated. Rejected " +
				"on Google Cloud, where IAM guards these functions. Required elsewhere, except in `make " +
				"run`.",
			Functions: private,
			Example: "tasks@example-project.iam.gserviceaccount.com," +
				"scheduler@example-project.iam.gserviceaccount.com",
		},
		invokers(),
	},
	{
		Setting{
			Name: "INVOKER_AUDIENCES",
			Doc: "The accepted audiences of those tokens, comma-separated: the address of the function's " +
				"service. Required with INVOKER_SERVICE_ACCOUNTS.",
			Functions: private,
			Example:   "https://check-1.example.run.app",
		},
		invokerAudiences(),
	},
	{
		Setting{
			Name:      "INVOKER_ISSUER",
			Doc:       "The issuer of those tokens and of the tokens of CONSOLE_USERS. On Google Cloud only Google.",
			Default:   googleIssuer,
			Functions: verifying,
			Example:   googleIssuer,
		},
		invokerIssuer(),
	},
	{
		Setting{
			Name: "CONSOLE_USERS",
			Doc: "The e-mail addresses of the users of the console, comma-separated. IAP or an ID token " +
				"proves the address. Required on Google Cloud. Elsewhere, empty means that every local " +
				"user may use the console.",
			Functions: []string{"console"},
			Example:   "operator@example.com,another@example.com",
		},
		consoleUsers(),
	},
	{
		Setting{
			Name: "CONSOLE_AUDIENCES",
			Doc: "The accepted audiences of their tokens, comma-separated: the console's address, a " +
				"client id, or for IAP `/projects/NUMBER/locations/REGION/services/SERVICE`. Required " +
				"with CONSOLE_USERS.",
			Functions: []string{"console"},
			Example: "https://console-1.example.run.app," +
				"/projects/123/locations/europe-west1/services/casewatch-console",
		},
		consoleAudiences(),
	},
	{
		Setting{
			Name:      "ALLOWED_ORIGINS",
			Doc:       "The origins whose pages may call the public functions, comma-separated; `*` for any.",
			Functions: public,
			Example:   "https://forms.example.com,https://example.com:8443",
		},
		origins(),
	},
	{
		Setting{
			Name: "ALLOW_ANONYMOUS",
			Doc: "Whether everyone may start a case. Anonymous callers may choose the case_id only in " +
				"`make run`.",
			Default:   "false",
			Functions: []string{"start"},
			Example:   "true",
		},
		boolean(func(c *Config) *bool { return &c.Access.AllowAnonymous }),
	},
	{
		Setting{
			Name: "API_KEYS",
			Doc: "The keys that may start a case, and see and cancel every case; comma-separated. A key " +
				"is plain, with at least 20 characters, or `sha256:` and its hash in hex. Required for " +
				"start unless OIDC_ISSUER is set or ALLOW_ANONYMOUS is true.",
			Secret:    true,
			Functions: public,
			Example: "example-key-of-20-characters," +
				"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		},
		apiKeys(),
	},
	{
		Setting{
			Name: "OIDC_ISSUER",
			Doc: "The issuer of the ID tokens with which callers start, see and cancel their own cases, " +
				"exactly as the tokens name it. Firebase Auth and Identity Platform: " +
				"`https://securetoken.google.com/PROJECT`. Auth0: `https://TENANT.auth0.com/`. Google's " +
				"own `https://accounts.google.com` is rejected, because every person with a Google " +
				"account would be a caller.",
			Functions: public,
			Example:   "https://securetoken.google.com/example-project",
		},
		callerIssuer(),
	},
	{
		Setting{
			Name: "OIDC_AUDIENCE",
			Doc: "The accepted audiences of those tokens, comma-separated. For Firebase Auth, the id of " +
				"the project. Required with OIDC_ISSUER.",
			Functions: public,
			Example:   "example-project",
		},
		audiences(func(c *Config) *[]string { return &c.Access.OIDC.Audiences }),
	},
	{
		Setting{
			Name: "TOKEN_SECRET",
			Doc: "The secrets that sign the tokens in status, cancel and callback URLs, comma-separated. The " +
				"first one signs and all verify. Each has at least 32 bytes; `openssl rand -hex 32` makes one.",
			Required:  true,
			Secret:    true,
			Functions: append(slices.Clone(public), "callback", "dispatch"),
			Example:   "example-example-example-example-example-example",
		},
		tokenSecrets(),
	},
}

var platformSettings = []setting{
	{
		Setting{
			Name:      timeoutVariable,
			Doc:       "The request timeout that the function was deployed with.",
			Functions: all,
			Example:   "1800",
		},
		seconds(func(c *Config) *time.Duration { return &c.RequestTimeout }, longestRequest),
	},
	{
		Setting{
			Name:      "CLOUD_TASKS_EMULATOR_HOST",
			Doc:       "A Cloud Tasks server to use instead of Google's. Refused on Google Cloud.",
			Functions: all,
		},
		emulator(func(c *Config) *string { return &c.Emulators.Tasks }),
	},
	{
		Setting{
			Name:      "PUBSUB_EMULATOR_HOST",
			Doc:       "A Pub/Sub server to use instead of Google's. Refused on Google Cloud.",
			Functions: recording,
		},
		emulator(func(c *Config) *string { return &c.Emulators.PubSub }),
	},
	{
		Setting{
			Name:      "FIRESTORE_EMULATOR_HOST",
			Doc:       "A Firestore server to use instead of Google's. Refused on Google Cloud.",
			Functions: all,
		},
		emulator(func(c *Config) *string { return &c.Emulators.Firestore }),
	},
}
