package cases

import (
	"time"

	"github.com/casewatch/casewatch/shared/schedule"
)

// State says how far a run is. Pending and Running are open. The other states are ends, and final.
type State string

// The states of a run.
const (
	Pending   State = "pending"   // recorded; the pipeline is not known to work on it
	Running   State = "running"   // the pipeline works on it
	Succeeded State = "succeeded" // ended: the pipeline finished it
	Failed    State = "failed"    // ended without success, see [End]
	TimedOut  State = "timed_out" // ended: the deadline passed first
	Cancelled State = "cancelled" // ended: by a cancel, or by a newer run
)

// States returns all states, in the order in which people are shown them.
func States() []State { return []State{Pending, Running, Succeeded, Failed, TimedOut, Cancelled} }

// Ended reports whether s is final.
func (s State) Ended() bool {
	return s == Succeeded || s == Failed || s == TimedOut || s == Cancelled
}

// Case is the record of one run of a case: all that Casewatch knows of it but the form, the result
// and the late result, which are stored beside it as opaque bytes.
//
// It is a value: the rules take one and return another. What its pointers point to is never
// changed, only replaced.
//
// Its JSON is what the stores keep; see MarshalJSON. Readers of the API get a [View].
type Case struct {
	Origin `json:"origin"`

	Version   int64     `json:"version"` // 1 when created; every saved change adds one
	State     State     `json:"state"`
	UpdatedAt time.Time `json:"updated_at"` // of the last change that readers see

	Checks      Checks      `json:"checks"`
	Dispatch    Dispatch    `json:"dispatch"`
	Job         Job         `json:"job"`
	Outcome     Outcome     `json:"outcome"`
	Stop        Stop        `json:"stop,omitzero"`
	Viewers     Viewers     `json:"viewers"`
	Durations   Durations   `json:"durations"`
	Bookkeeping Bookkeeping `json:"bookkeeping"`

	// Timeline is what happened to the run, for people; nothing decides by it. Polls that found
	// nothing but progress are not in it.
	Timeline []Note `json:"timeline,omitempty"`

	unknown *unknownMembers
}

// Origin is what is fixed when a run begins.
type Origin struct {
	CaseID string `json:"case_id"`
	Run    int    `json:"run"` // 1 for the first run of a case
	// Pipeline is the name of the pipeline that works on the run.
	Pipeline   string    `json:"pipeline,omitempty"`
	CreatedAt  time.Time `json:"created_at"`
	DeadlineAt time.Time `json:"deadline_at"`
	// Adopted says that the pipeline worked on it already: nothing is dispatched.
	Adopted bool `json:"adopted,omitempty"`
	// PriorUnreported says that some earlier run of the case ended without a terminal report, so
	// that an event without a run may be about that one.
	PriorUnreported bool   `json:"prior_unreported,omitempty"`
	TraceParent     string `json:"trace_parent,omitempty"` // W3C traceparent of the start
	FormHash        string `json:"form_hash,omitempty"`    // hex SHA-256 of the form's bytes
}

// MaxID is the greatest length of a case id.
const MaxID = 128

// ValidID reports whether s may name a case. It begins with one of A-Z a-z 0-9; up to 127 of these
// and of . _ : - follow.
func ValidID(s string) bool {
	if s == "" || len(s) > MaxID {
		return false
	}
	for i := range len(s) {
		switch b := s[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9':
		case i > 0 && (b == '.' || b == '_' || b == ':' || b == '-'):
		default:
			return false
		}
	}
	return true
}

// Checks is the state of a run's one chain of checks. A check polls the pipeline at most once.
type Checks struct {
	Seq    int64     `json:"seq"`              // of the pending check; its task's name is derived from it
	NextAt time.Time `json:"next_at,omitzero"` // when that check is due; zero once the run has ended
	// LastAt is when the check before was handled. If a clock says that this was before it was due,
	// it is when it was due.
	LastAt      time.Time `json:"last_at,omitzero"`
	Polls       int       `json:"polls"`        // how many times the pipeline was polled
	FailedPolls int       `json:"failed_polls"` // how many of these got no usable answer
	// ConsecutiveFailures counts the failed polls since the last usable answer, FailingSince is
	// when the first of them was. A poll that succeeds clears both.
	ConsecutiveFailures int       `json:"consecutive_failures,omitempty"`
	FailingSince        time.Time `json:"failing_since,omitzero"`
	// UnknownSince is when the pipeline first said that it does not know the job, without knowing
	// it since.
	UnknownSince time.Time `json:"unknown_since,omitzero"`
	// BusyUntil is until when the pipeline asked, by the last poll's answer, not to be polled:
	// LastAt if that named no time, zero if the answer was another. Paced says that this answer
	// showed the job at work: the pipeline is not busy, and only says when to poll next.
	BusyUntil time.Time `json:"busy_until,omitzero"`
	Paced     bool      `json:"paced,omitempty"`
}

// Phase says how far the dispatch of a run to the pipeline is.
type Phase string

// The phases of a dispatch.
const (
	PhaseNone      Phase = ""          // adopted: there is nothing to send
	PhaseQueued    Phase = "queued"    // its task is pending, nothing is sent
	PhaseInFlight  Phase = "open"      // the request is sent, or is about to be, and not answered
	PhaseUncertain Phase = "uncertain" // it is not known whether the request arrived: checks find out
	PhaseAnswered  Phase = "answered"  // the pipeline answered
)

// Dispatch is the state of handing the run to the pipeline.
type Dispatch struct {
	Phase Phase     `json:"phase,omitempty"`
	Seq   int64     `json:"seq,omitempty"` // of the pending dispatch; its task's name is derived from it
	At    time.Time `json:"at,omitzero"`   // when that dispatch is due

	// The mark of a request in flight: which attempt sends it, in which delivery of the task, since
	// when.
	Nonce      string    `json:"nonce,omitempty"`
	RetryCount int       `json:"retry_count,omitempty"`
	SentAt     time.Time `json:"sent_at,omitzero"`
	// UncertainSince is when the request in flight was given up; graces count from it.
	UncertainSince time.Time `json:"uncertain_since,omitzero"`

	// Attempts counts the attempts that may have arrived: begun, and not known to have started
	// nothing.
	Attempts int `json:"attempts,omitempty"`
	// Confirmed says that the pipeline said, by an event or by accepting an attempt, that it works
	// on this run. Then it is never sent again, whatever the answer.
	Confirmed bool `json:"confirmed,omitempty"`
	// Backoffs counts the attempts in a row that started nothing. UnreachableSince is when the
	// pipeline first could not be reached at all, without an answer since.
	Backoffs         int       `json:"backoffs,omitempty"`
	UnreachableSince time.Time `json:"unreachable_since,omitzero"`

	// For readers; nothing decides by them. Begun counts the requests that were begun, Failures
	// those of them that started nothing. LastError is what the last of these said; it is "" once
	// the pipeline is known to have taken the run.
	Begun     int    `json:"begun,omitempty"`
	Failures  int    `json:"failures,omitempty"`
	LastError string `json:"last_error,omitempty"`
}

// Job is what is known of the pipeline's work on the run.
type Job struct {
	// ID is the job's own name at the pipeline; "" while it is not known, and where the case id
	// names the job.
	ID        string    `json:"id,omitempty"`
	Seen      bool      `json:"seen,omitempty"`      // the pipeline has, or had, this job
	StartedAt time.Time `json:"started_at,omitzero"` // when the pipeline began to work on it
	Progress  Progress  `json:"progress"`            // as readers are shown it
	MovedAt   time.Time `json:"moved_at,omitzero"`   // when progress last moved; stalls count from it
	Stalled   bool      `json:"stalled,omitempty"`   // progress has not moved for StallAfter
	Reading   *Reading  `json:"reading,omitempty"`   // the last answer as the pipeline gave it; may go backwards
	// Baseline is what the pipeline last showed of the run before: a reading that is the same tells
	// nothing of this one.
	Baseline *Reading `json:"baseline,omitempty"`
	// CompleteSince is when a poll without a status first read completed == total (with no request
	// in flight), without a lower reading and without a report that it runs since.
	CompleteSince time.Time `json:"complete_since,omitzero"`
	// SucceededSince is when a succeeded event without a result came while a request was in flight.
	// SucceededDropped is what of that event could not be read.
	// SucceededSource is what it came by; "" means an event.
	SucceededSince   time.Time `json:"succeeded_since,omitzero"`
	SucceededDropped Dropped   `json:"succeeded_dropped,omitzero"`
	SucceededSource  Source    `json:"succeeded_source,omitempty"`
	// ResultMissingSince is when a poll first read success, and could not fetch the result, which is
	// elsewhere. ResultProblem says why.
	ResultMissingSince time.Time `json:"result_missing_since,omitzero"`
	ResultProblem      string    `json:"result_problem,omitempty"`
	// Unmapped are the first statuses that the pipeline gave and its description does not list.
	Unmapped []string `json:"unmapped,omitempty"`
}

// Progress is what readers are shown. Within a run Completed and Percent never decrease. In a run
// that has succeeded Total is Completed, the larger of what was last read and of the result's
// documents. Every other end leaves what was last read.
type Progress struct {
	Completed int     `json:"completed"`
	Total     int     `json:"total"`   // 0 while it is not known
	Percent   float64 `json:"percent"` // one decimal; 100 exactly in a run that has succeeded, else at most 99.9
	Current   string  `json:"current"` // the document being worked on; "" if not given
}

// Status is what the pipeline says of a run's state in an answer or event.
type Status string

// The statuses of the pipeline.
const (
	StatusNotGiven  Status = ""
	StatusRunning   Status = "running"
	StatusSucceeded Status = "succeeded"
	StatusFailed    Status = "failed"
	// StatusCancelled is what described pipelines say of a job that they cancelled themselves.
	StatusCancelled Status = "cancelled"
)

// Known reports whether s is one of running, succeeded and failed, the words of the document
// pipeline.
func (s Status) Known() bool {
	return s == StatusRunning || s == StatusSucceeded || s == StatusFailed
}

// Terminal reports whether s says how the run ended.
func (s Status) Terminal() bool {
	return s == StatusSucceeded || s == StatusFailed || s == StatusCancelled
}

// Reading is one answer of the pipeline's progress endpoint, or the progress in an event.
type Reading struct {
	Completed int     `json:"completed"`
	Total     int     `json:"total"`
	Percent   float64 `json:"percent"` // negative: not given
	Current   string  `json:"current"`
	Status    Status  `json:"status,omitempty"`
	// Unmapped is the pipeline's own word for a status that its description does not list, clipped;
	// Status is then running. "" otherwise.
	Unmapped string `json:"unmapped,omitempty"`
}

// Outcome is how the run ended, and what the pipeline reported of it.
type Outcome struct {
	EndedAt    time.Time  `json:"ended_at,omitzero"`
	EndVersion int64      `json:"end_version,omitempty"` // the version at which the run ended
	End        *End       `json:"end,omitempty"`
	Documents  *Documents `json:"documents,omitempty"`
	OutputURL  string     `json:"output_url,omitempty"`
	HasResult  bool       `json:"has_result,omitempty"`
	// OmittedBytes is the size of a result that was too large to keep.
	OmittedBytes int `json:"omitted_bytes,omitempty"`
	// Text is the message of the end, before what is said of its result and progress.
	Text    string  `json:"text,omitempty"`
	Dropped Dropped `json:"dropped,omitzero"` // of the report that ended the run
	// Reported says that no other report can follow: the run ended by the pipeline's own terminal
	// report, or was never sent to it.
	Reported bool        `json:"reported,omitempty"`
	Late     *LateReport `json:"late,omitempty"`
	// ReportIDs are the ids of the last terminal reports that were taken in, so that a redelivered
	// event is not counted twice.
	ReportIDs []string `json:"report_ids,omitempty"`
}

// Documents counts the documents of a result. A count that the pipeline does not give, and that
// does not follow from the two others, is nil. Counts that contradict each other are kept as given.
type Documents struct {
	Total     *int `json:"total"`
	Succeeded *int `json:"succeeded"`
	Failed    *int `json:"failed"`
}

// None reports whether no document was made, though there were some to make.
func (d *Documents) None() bool {
	return d != nil && d.Total != nil && *d.Total > 0 && d.Succeeded != nil && *d.Succeeded == 0
}

// total is the number of documents; 0 if it is not known.
func (d *Documents) total() int {
	if d == nil || d.Total == nil {
		return 0
	}
	return *d.Total
}

// LateReport is a terminal report about a run that had ended, and that did not become its end. The
// first one is kept whole, of the others only their number.
type LateReport struct {
	State     State     `json:"state"` // what the report said: succeeded, failed or cancelled
	HasResult bool      `json:"has_result,omitempty"`
	Message   string    `json:"message"`
	Source    Source    `json:"source"`
	At        time.Time `json:"at"`
	Count     int       `json:"count"`
}

// Durations is what the forecast of the run's end is based on, and what later runs learn from it.
type Durations struct {
	// Earlier is what was known of earlier runs when this one began. Once the number of its
	// documents is known, only of those like it.
	Earlier *schedule.DurationStats `json:"earlier,omitempty"`
	// Estimate is when the run was expected to end, as seen from about half of it.
	Estimate schedule.Estimate `json:"estimate,omitzero"`
	// UndoneAt is when the last check began that found the work not done, by its counts too.
	UndoneAt time.Time `json:"undone_at,omitzero"`
}

// Bookkeeping is what is left to be done for the record, and when the sweep takes notice.
type Bookkeeping struct {
	// OverdueAt is when the sweep takes notice of this record. Never zero.
	OverdueAt time.Time `json:"overdue_at"`
	// Finalized says that the ended event is published and no check is pending.
	Finalized bool `json:"finalized,omitempty"`
	FormKept  bool `json:"form_kept,omitempty"` // the form is still stored
	// PolledAfterEnd counts the checks that had read the end and polled all the same: a broken
	// promise. The sweep reports them once and moves them to Leaked.
	PolledAfterEnd int `json:"polled_after_end,omitempty"`
	Leaked         int `json:"leaked,omitempty"` // for people; nothing decides by it
}
