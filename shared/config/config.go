// Package config is the only reader of the environment. [Load] reads the settings that one function
// uses, checks each, and returns them typed, or one error that names every fault. There are no
// silent defaults: what has none and is not given stops the process at its start. [Settings] is the
// table of all of them.
package config

import "time"

// Local is the name under which all functions run in one process. It uses every setting.
const Local = "local"

// Config is what one function was told. Settings that the function does not use are zero. It prints
// without its secrets.
type Config struct {
	Function      string
	OnGoogleCloud bool   // K_SERVICE is set
	Project       string // of every resource, and of the traces in the log
	// RequestTimeout is when Google Cloud ends a request; 0 if it was not said.
	RequestTimeout time.Duration

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

// Auth is how the pipeline is told who calls.
type Auth string

// The values of PIPELINE_AUTH.
const (
	AuthNone Auth = "none"
	AuthOIDC Auth = "oidc" // a Google ID token
)

// Pipeline is the document pipeline.
type Pipeline struct {
	URL        string // without a slash at its end
	APIKey     Secret // unset: none is sent
	Auth       Auth
	Idempotent bool          // it honours Idempotency-Key
	Timeout    time.Duration // of a dispatch
}

// Rules are the times that the rules of a case go by.
type Rules struct {
	CaseDeadline     time.Duration // of a run whose start does not name one
	MaxDeadline      time.Duration
	CheckMinInterval time.Duration
	CheckMaxInterval time.Duration
	CheckTimeout     time.Duration // of one look
	StartGrace       time.Duration
	CompletionGrace  time.Duration
	StallAfter       time.Duration
	UnreachableAfter time.Duration
	Retention        time.Duration
	FormRetention    time.Duration
}

// Stream is the event stream of status.
type Stream struct {
	Hold time.Duration // how long one request is held at most
}

// Store says where runs are kept, as package drivers reads STORE.
type Store struct {
	Driver   string // its name; whether a program links it is another matter
	Location Secret // a database id, the path of a file, or a URL that may hold a password
}

// Queue names the task queues.
type Queue struct {
	Location       string
	Check          string // id of the queue of checks; with Shards > 1 the prefix of their ids
	Dispatch       string // id of the queue of dispatches
	Shards         int
	Rate           float64 // dispatches a second, where the queue is made
	Concurrency    int     // dispatches at once, where the queue is made
	ServiceAccount string  // whose ID token the tasks carry; "" for none
}

// URLs are the addresses of the functions, absolute and without a slash at their end.
type URLs struct{ Start, Status, Cancel, Check, Dispatch, Sweep string }

// Topics are the ids of Pub/Sub topics in the project.
type Topics struct {
	PipelineEvents string // read: what the pipeline says
	Ended          string // written: cases that ended
	DeadLetter     string // written: events that could not be read
}

// Access says who may call: the first fields the public functions, then the private ones, the last
// the console.
type Access struct {
	APIKeys        APIKeys
	AllowAnonymous bool
	// AllowedOrigins are the origins whose pages may call, as browsers send them; ["*"] for any.
	AllowedOrigins []string
	// TokenSecrets sign the tokens of status and cancel URLs: the first signs, all verify. Each has
	// at least 32 bytes.
	TokenSecrets []Secret
	// OIDC are the ID tokens that the public functions accept; without an Issuer, none.
	OIDC Tokens

	// Invokers are the e-mail addresses of the accounts that may call the private functions, with
	// Google's ID tokens as InvokerTokens says; none: nothing is checked, IAM alone guards them.
	Invokers      []string
	InvokerTokens Tokens

	// ConsoleUsers are the e-mail addresses, in lower case, of those who may use the console, by
	// tokens of the issuer of InvokerTokens or of IAP, for one of ConsoleAudiences; none: whoever
	// is on this machine. On Google Cloud there is always one.
	ConsoleUsers     []string
	ConsoleAudiences []string
}

// Tokens says which ID tokens are accepted: those of an issuer, for any of the audiences.
type Tokens struct {
	Issuer    string // as its tokens name it, with the slash at its end if it has one
	Audiences []string
}

// Emulators are host:port of the emulators in use; "" for the real service. On Google Cloud they
// are always "".
type Emulators struct{ Tasks, PubSub, Firestore string }
