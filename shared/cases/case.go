package cases

import (
	"bytes"
	"encoding/json"
	"maps"
	"time"
)

// State is where a run stands. Pending and Running are open; the others are ends, and final.
type State string

// The states of a run.
const (
	Pending   State = "pending"   // recorded; the pipeline is not known to work on it
	Running   State = "running"   // the pipeline works on it
	Succeeded State = "succeeded" // ended: the documents are there
	Failed    State = "failed"    // ended: they will not be, see [End]
	TimedOut  State = "timed_out" // ended: the deadline passed first
	Cancelled State = "cancelled" // ended: somebody said so
)

// States returns all states, in the order in which people are shown them.
func States() []State { return []State{Pending, Running, Succeeded, Failed, TimedOut, Cancelled} }

// Ended reports whether s is final.
func (s State) Ended() bool {
	return s == Succeeded || s == Failed || s == TimedOut || s == Cancelled
}

// Reason says why a run ended.
type Reason string

// The reasons of an end.
const (
	ReasonCompleted           Reason = "completed"            // the pipeline finished it
	ReasonPipelineFailed      Reason = "pipeline_failed"      // the pipeline said that it failed
	ReasonPipelineRefused     Reason = "pipeline_refused"     // the pipeline did not take it (4xx, 3xx)
	ReasonPipelineUnreachable Reason = "pipeline_unreachable" // nothing could be asked for UnreachableAfter
	ReasonPipelineLost        Reason = "pipeline_lost"        // known once, unknown for UnreachableAfter
	ReasonNoDocuments         Reason = "no_documents"         // it finished, and every document failed
	ReasonStartUnknown        Reason = "start_unknown"        // the request may or may not have arrived; no sign of it since
	ReasonDeadline            Reason = "deadline"
	ReasonCancelled           Reason = "cancelled"
	ReasonSuperseded          Reason = "superseded" // a newer run took its place
)

// Source says through which door the input that ended a run came.
type Source string

// The sources of an end or of a late word.
const (
	SourceEvent    Source = "event"
	SourceDispatch Source = "dispatch"
	SourceCheck    Source = "check"
	SourceCancel   Source = "cancel"
	SourceDeadline Source = "deadline"
	SourceSweep    Source = "sweep"
)

// Progress is what readers are shown. Within a run Completed and Percent never decrease. In a run that has succeeded Total is
// Completed, the larger of what was last read and of the result's documents; every other end leaves what was last read.
type Progress struct {
	Completed int     `json:"completed"`
	Total     int     `json:"total"`   // 0 while it is not known
	Percent   float64 `json:"percent"` // one decimal; 100 exactly in a run that has succeeded, else at most 99.9
	Current   string  `json:"current"` // the document being worked on; "" if not said
}

// End tells how a run ended.
type End struct {
	Reason  Reason `json:"reason"`
	Message string `json:"message"`
	Source  Source `json:"source"`
}

// Documents counts the documents of a result. A count that the pipeline does not give, and that does not follow from the two
// others, is nil. Counts that contradict each other are kept as given.
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

// Late is a word of the pipeline about a run that had ended, and that did not become its end: the
// first one whole, the others by number.
type Late struct {
	State     State     `json:"state"` // what the word said: succeeded or failed
	HasResult bool      `json:"has_result,omitempty"`
	Message   string    `json:"message"`
	Source    Source    `json:"source"`
	At        time.Time `json:"at"`
	Count     int       `json:"count"`
}

// Checks is the state of a run's one chain of progress checks.
type Checks struct {
	Seq      int64     `json:"seq"`              // of the pending check; its task's name is derived from it
	NextAt   time.Time `json:"next_at,omitzero"` // when that check is due; zero once the run has ended
	LastAt   time.Time `json:"last_at,omitzero"` // when the check before was done with, or due if a clock says that this was later
	Count    int       `json:"count"`            // how often the pipeline was asked
	Failures int       `json:"failures"`         // how many of these got no usable answer
	// Unbroken is the current run of failures, Since its beginning. A look that succeeds clears both.
	Unbroken int       `json:"unbroken,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	// UnknownSince is when the pipeline first said that it does not know the job, without knowing it since.
	UnknownSince time.Time `json:"unknown_since,omitzero"`
	// BusyUntil is until when the pipeline asked, by the last poll's answer, not to be polled: LastAt if that named no time,
	// zero if the answer was another.
	BusyUntil time.Time `json:"busy_until,omitzero"`
}

// Phase is where the handing-over of a run to the pipeline stands.
type Phase string

// The phases of a dispatch.
const (
	PhaseNone      Phase = ""          // adopted: there is nothing to send
	PhaseQueued    Phase = "queued"    // its task is pending, nothing is sent
	PhaseOpen      Phase = "open"      // the request is, or is about to be, on the wire
	PhaseUncertain Phase = "uncertain" // nobody knows whether it arrived: checks find out
	PhaseAnswered  Phase = "answered"  // the pipeline answered
)

// Dispatch is the state of handing the run to the pipeline.
type Dispatch struct {
	Phase Phase     `json:"phase,omitempty"`
	Seq   int64     `json:"seq,omitempty"` // of the pending dispatch; its task's name is derived from it
	At    time.Time `json:"at,omitzero"`   // when that dispatch is due

	// The open mark: who sends, in which delivery of the task, since when.
	Nonce      string    `json:"nonce,omitempty"`
	RetryCount int       `json:"retry_count,omitempty"`
	SentAt     time.Time `json:"sent_at,omitzero"`
	// ClosedAt is when an open dispatch became uncertain; graces count from it.
	ClosedAt time.Time `json:"closed_at,omitzero"`

	// Attempts counts the attempts that may have arrived: begun, and not known to have started nothing.
	Attempts int `json:"attempts,omitempty"`
	// Confirmed says that the pipeline said, by an event or by accepting an attempt, that it works on this run: it is never
	// sent again, whatever the answer.
	Confirmed bool `json:"confirmed,omitempty"`
	// Backoffs counts the attempts in a row that started nothing; UnreachableSince is when the pipeline could first not be
	// reached at all, without an answer since.
	Backoffs         int       `json:"backoffs,omitempty"`
	UnreachableSince time.Time `json:"unreachable_since,omitzero"`

	// For readers; nothing decides by them. Begun counts the requests that were begun, Failures those of them that started
	// nothing. LastError is what the last of these said, "" once the pipeline is known to have taken the run.
	Begun     int    `json:"begun,omitempty"`
	Failures  int    `json:"failures,omitempty"`
	LastError string `json:"last_error,omitempty"`
}

// Reading is one answer of the pipeline's progress endpoint, or the progress in an event.
type Reading struct {
	Completed int     `json:"completed"`
	Total     int     `json:"total"`
	Percent   float64 `json:"percent"` // negative: not said
	Current   string  `json:"current"`
	Status    string  `json:"status,omitempty"` // running, succeeded, failed or "": not said
}

// Case is the record of one run of a case: all that Casewatch knows of it but the form, the result and the late
// result, which are stored beside it as opaque bytes.
//
// It is a value: the rules take one and return another. What its pointers point to is never changed, only replaced.
//
// As JSON it keeps top-level fields that it does not know, so that an older revision of this program can update a
// record written by a newer one. A schema change therefore only adds, and at the top level.
type Case struct {
	CaseID  string `json:"case_id"`
	Run     int    `json:"run"`     // 1 for the first run of a case
	Version int64  `json:"version"` // 1 when created; every saved change adds one

	State      State     `json:"state"`
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
	DeadlineAt time.Time `json:"deadline_at"`
	StartedAt  time.Time `json:"started_at,omitzero"` // when the pipeline took it up
	EndedAt    time.Time `json:"ended_at,omitzero"`

	Progress   Progress  `json:"progress"`
	ProgressAt time.Time `json:"progress_at,omitzero"` // when progress last moved; stalls count from it
	Stalled    bool      `json:"stalled,omitempty"`
	// Reading is the last answer as the pipeline gave it; it may go backwards.
	Reading *Reading `json:"reading,omitempty"`
	// Known says that the pipeline has, or had, this job.
	Known bool `json:"known,omitempty"`
	// CompleteSince is when a poll without a status first read completed == total (with no dispatch open), without a lower
	// reading and without a word that it runs since.
	CompleteSince time.Time `json:"complete_since,omitzero"`
	// SucceededSince is when a succeeded event without a result came while a dispatch was open.
	SucceededSince time.Time `json:"succeeded_since,omitzero"`

	End        *End       `json:"end,omitempty"`
	EndVersion int64      `json:"end_version,omitempty"` // the version at which the run ended
	Documents  *Documents `json:"documents,omitempty"`
	OutputURL  string     `json:"output_url,omitempty"`
	HasResult  bool       `json:"has_result,omitempty"`
	// ResultOmitted says that the result was too large to keep.
	ResultOmitted bool  `json:"result_omitted,omitempty"`
	Late          *Late `json:"late,omitempty"`
	// Words are the ids of the pipeline's last final words taken in, so that a redelivered event is not counted twice.
	Words []string `json:"words,omitempty"`

	Checks   Checks   `json:"checks"`
	Dispatch Dispatch `json:"dispatch"`
	Watched  Lease    `json:"watched,omitzero"`
	Shown    Shown    `json:"shown,omitzero"`

	Adopted bool `json:"adopted,omitempty"`
	// Heard says that nothing more can come of this run but repetition: it ended by the pipeline's own word, or was never sent to it.
	Heard bool `json:"heard,omitempty"`
	// PriorUnheard says that some earlier run of the case did not end like that, so that an event without a run may be that run's.
	PriorUnheard bool `json:"prior_unheard,omitempty"`
	// Baseline is what the pipeline last showed of the run before: until a reading differs from it, it is no news.
	Baseline *Reading `json:"baseline,omitempty"`

	TraceParent string `json:"trace_parent,omitempty"` // W3C traceparent of the start
	FormHash    string `json:"form_hash,omitempty"`    // hex SHA-256 of the form's bytes

	// WakeAt is when somebody has to look at this record at the latest: the sweep's index. Never zero.
	WakeAt time.Time `json:"wake_at"`
	// Settled says that the ended event is published and no check pends. FormKept says that the form is still stored.
	Settled  bool `json:"settled,omitempty"`
	FormKept bool `json:"form_kept,omitempty"`
	// AskedAfterEnd counts checks that had read the end and asked the pipeline all the same: a broken promise. The sweep reports them once and moves
	// them to Leaked.
	AskedAfterEnd int `json:"asked_after_end,omitempty"`
	Leaked        int `json:"leaked,omitempty"` // for people; nothing reads it
	// LookedAt is when the last look began that found the work not done, by its counts too.
	LookedAt time.Time `json:"looked_at,omitzero"`
	// Past is what was known of earlier runs when this one began; once its documents are known, only of those like it.
	Past *Past `json:"past,omitempty"`
	// Pace is when the run was expected to end, as seen from about half of it.
	Pace Pace `json:"pace,omitzero"`
	// Timeline is what happened to the run, for people; nothing decides by it. Looks that found nothing but progress are not in it.
	Timeline []Note `json:"timeline,omitempty"`

	unknown map[string]json.RawMessage
}

// caseFields has Case's fields without its methods.
type caseFields Case

// MarshalJSON encodes c together with the fields of its record that this program does not know.
func (c Case) MarshalJSON() ([]byte, error) {
	known, err := json.Marshal(caseFields(c))
	if err != nil || len(c.unknown) == 0 {
		return known, err
	}
	all := maps.Clone(c.unknown)
	if err := json.Unmarshal(known, &all); err != nil {
		return nil, err
	}
	return json.Marshal(all)
}

// UnmarshalJSON decodes a record and keeps the fields that this program does not know.
func (c *Case) UnmarshalJSON(data []byte) error {
	var f caseFields
	// As a rule there are none, and one pass is enough.
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err == nil && d.InputOffset() == int64(len(data)) {
		*c = Case(f)
		return nil
	}
	f = caseFields{}
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	for _, name := range fieldNames {
		delete(all, name)
	}
	if len(all) > 0 {
		f.unknown = all
	}
	*c = Case(f)
	return nil
}
