// Package config is the only reader of the environment. [Load] reads the settings that one function
// uses, checks each, and returns them typed. If settings are missing or invalid, its error names
// all of them. There are no silent defaults: a process does not start without a required setting.
// [Settings] returns the table of all settings.
package config

import (
	"time"

	"github.com/casewatch/casewatch/shared/pipeline/description"
)

// Local is the function name of a process that runs all functions. It uses every setting.
const Local = "local"

// Config holds the settings of one function. Settings that the function does not use are zero.
// Printing a Config shows no secret.
type Config struct {
	Function      string
	OnGoogleCloud bool   // K_SERVICE is set
	Project       string // the project of every resource and of the traces in the log
	// RequestTimeout is when Google Cloud ends a request; 0 if it is unknown.
	RequestTimeout time.Duration

	// Pipelines are the described pipelines, with the deployment's values for what they do not say.
	// There is at least one. They hold their secrets only in dispatch, check, callback and Local.
	Pipelines description.Set
	Pipeline  Pipeline
	Rules     Rules
	Stream    Stream
	Store     Store
	Queue     Queue
	URLs      URLs
	Topics    Topics
	Access    Access
	Emulators Emulators
}

// Auth is how requests to the pipeline are authenticated.
type Auth string

// The values of PIPELINE_AUTH.
const (
	AuthNone Auth = "none"
	AuthOIDC Auth = "oidc" // a Google ID token
)

// Pipeline holds the settings of PIPELINE_API_URL and the defaults of descriptions.
type Pipeline struct {
	URL        string // without a slash at its end
	APIKey     Secret // if unset, no key is sent
	Auth       Auth
	Idempotent bool          // whether it honours Idempotency-Key
	Timeout    time.Duration // of a dispatch
}

// Rules holds the durations that the rules of a case use.
type Rules struct {
	CaseDeadline     time.Duration // the default, for a start that names no deadline
	MaxDeadline      time.Duration
	CheckMinInterval time.Duration
	CheckMaxInterval time.Duration
	CheckTimeout     time.Duration // of one poll
	StartGrace       time.Duration
	CompletionGrace  time.Duration
	StallAfter       time.Duration
	UnreachableAfter time.Duration
	Retention        time.Duration
	FormRetention    time.Duration
}

// Stream holds the settings of the event stream of status.
type Stream struct {
	Hold time.Duration // the longest that one request is held
}

// Store says where runs are stored. Package drivers parses it from STORE.
type Store struct {
	Driver   string // the name of a driver, which the program may or may not link
	Location Secret // a database id, the path of a file, or a URL that may hold a password
}

// Queue holds the settings of the task queues.
type Queue struct {
	Location       string
	Check          string // id of the queue of checks; with Shards > 1, the prefix of their ids
	Dispatch       string // id of the queue of dispatches
	Shards         int
	Rate           float64 // dispatches a second; used when the queue is created
	Concurrency    int     // dispatches at the same time; used when the queue is created
	ServiceAccount string  // whose ID token the tasks carry; "" for none
}

// URLs are the addresses of the functions, absolute and without a slash at their end.
type URLs struct{ Start, Status, Cancel, Callback, Check, Dispatch, Sweep string }

// Topics are the ids of Pub/Sub topics in the project.
type Topics struct {
	PipelineEvents string // read: events of the pipeline
	Ended          string // written: cases that ended
	DeadLetter     string // written: unreadable events
}

// Access says who may call the functions. The fields up to OIDC are for the public functions, the
// next two for the private ones, and the last two for the console.
type Access struct {
	APIKeys        APIKeys
	AllowAnonymous bool
	// AllowedOrigins are the origins whose pages may call, in the form that browsers send. ["*"]
	// means any origin.
	AllowedOrigins []string
	// TokenSecrets sign the tokens of status, cancel and callback URLs. The first one signs and all verify.
	// Each has at least 32 bytes.
	TokenSecrets []Secret
	// OIDC describes the ID tokens that the public functions accept. Without an Issuer they accept
	// none.
	OIDC Tokens

	// Invokers are the e-mail addresses of the accounts that may call the private functions. Their
	// ID tokens must be as InvokerTokens says. If there are none, the functions check nothing and
	// rely on IAM.
	Invokers      []string
	InvokerTokens Tokens

	// ConsoleUsers are the e-mail addresses of the users of the console, in lower case. Their
	// tokens come from the issuer of InvokerTokens or from IAP, and are for one of
	// ConsoleAudiences. Empty means that every local user may use the console. Required on Google
	// Cloud.
	ConsoleUsers     []string
	ConsoleAudiences []string
}

// Tokens says which ID tokens are accepted: those of one issuer, for any of the audiences.
type Tokens struct {
	Issuer    string // exactly as in its tokens, including a slash at the end
	Audiences []string
}

// Emulators are the emulators in use, as host:port. Empty means the real service. On Google Cloud
// they are always empty.
type Emulators struct{ Tasks, PubSub, Firestore string }
