package console

import (
	"net/http"
	"time"

	"github.com/casewatch/casewatch/functions/internal/address"
	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// detail is everything that is known about a run, without its form.
type detail struct {
	Case          cases.View   `json:"case"` // as status sends it
	CurrentRun    int          `json:"current_run"`
	Adopted       bool         `json:"adopted"`
	Published     bool         `json:"published"` // the run is finalized
	Leaked        int          `json:"leaked"`    // checks that polled after the end; must be 0
	FormKept      bool         `json:"form_kept"`
	FormKeptUntil *time.Time   `json:"form_kept_until"` // null while the run is open
	Handover      handover     `json:"handover"`
	Checks        checks       `json:"checks"`
	Timeline      []cases.Note `json:"timeline"`
	Runs          []summary    `json:"runs"`      // the other stored runs of the case, newest first
	MoreRuns      bool         `json:"more_runs"` // there may be older runs
	Actions       actions      `json:"actions"`
}

// handover shows how far the dispatch of the run is.
type handover struct {
	Phase            cases.Phase `json:"phase"` // "" for a run that was adopted
	Tasks            int64       `json:"tasks"` // tasks created for dispatches
	Attempts         int         `json:"attempts"`
	Backoffs         int         `json:"backoffs"` // consecutive attempts that started nothing
	SentAt           *time.Time  `json:"sent_at"`
	NextAt           *time.Time  `json:"next_at"`
	UnreachableSince *time.Time  `json:"unreachable_since"`
	Job              string      `json:"job"`          // its own name at the pipeline; "" if it is not known
	StopProblem      string      `json:"stop_problem"` // why the job was not cancelled
}

// checks shows the chain of checks.
type checks struct {
	Count        int        `json:"count"`
	Failures     int        `json:"failures"`
	Tasks        int64      `json:"tasks"` // tasks created for checks
	NextAt       *time.Time `json:"next_at"`
	Unbroken     int        `json:"unbroken"` // consecutive failures
	FailingSince *time.Time `json:"failing_since"`
	UnknownSince *time.Time `json:"unknown_since"` // since when the pipeline does not know the case
	LeastSeconds float64    `json:"least_seconds"` // between two checks
	MostSeconds  float64    `json:"most_seconds"`
	Why          *cases.Why `json:"why"` // why the next check is at that time; null after the end
}

// actions are the actions that are possible now.
type actions struct {
	Cancel     bool   `json:"cancel"`
	Rerun      bool   `json:"rerun"`
	WhyNoRerun string `json:"why_no_rerun,omitempty"`
}

func (f function) detail(d reconcile.RunDetail) detail {
	c := d.Case
	out := detail{
		Case: d.View, CurrentRun: d.Current, Adopted: c.Adopted, Published: c.Bookkeeping.Finalized,
		Leaked:   c.Bookkeeping.Leaked + c.Bookkeeping.PolledAfterEnd,
		FormKept: c.Bookkeeping.FormKept,
		Handover: handover{
			Phase: c.Dispatch.Phase, Tasks: c.Dispatch.Seq,
			Attempts: c.Dispatch.Attempts, Backoffs: c.Dispatch.Backoffs,
			SentAt: optional(c.Dispatch.SentAt), UnreachableSince: optional(c.Dispatch.UnreachableSince),
			Job: c.Job.ID, StopProblem: c.Stop.Problem,
		},
		Checks: checks{
			Count: c.Checks.Polls, Failures: c.Checks.FailedPolls, Tasks: c.Checks.Seq,
			NextAt: optional(c.Checks.NextAt), Unbroken: c.Checks.ConsecutiveFailures,
			FailingSince: optional(c.Checks.FailingSince), UnknownSince: optional(c.Checks.UnknownSince),
			LeastSeconds: f.reconciler.Rules(c).CheckMinInterval.Seconds(),
			MostSeconds:  f.reconciler.Rules(c).CheckMaxInterval.Seconds(),
			Why:          d.Why,
		},
		Timeline: append([]cases.Note{}, c.Timeline...), Runs: []summary{}, MoreRuns: d.More,
	}
	if c.Dispatch.Phase == cases.PhaseQueued && !c.State.Ended() {
		out.Handover.NextAt = optional(c.Dispatch.At)
	}
	if c.Bookkeeping.FormKept && c.State.Ended() {
		out.FormKeptUntil = optional(c.Outcome.EndedAt.Add(f.cfg.Rules.FormRetention))
	}
	for _, other := range d.Others {
		out.Runs = append(out.Runs, summarize(other))
	}
	current := c.Run == d.Current
	out.Actions.Cancel = current && !c.State.Ended()
	out.Actions.WhyNoRerun = reconcile.WhyNoRerun(c)
	if !current {
		out.Actions.WhyNoRerun = "there is a newer run"
	}
	out.Actions.Rerun = out.Actions.WhyNoRerun == ""
	return out
}

func (f function) run(rw http.ResponseWriter, r *http.Request, at address.Address, user string) error {
	found, err := f.reconciler.Detail(r.Context(), at.CaseID, at.Run)
	if err != nil {
		return err
	}
	d := f.detail(found)
	if wantsJSON(r) {
		answer.JSON(rw, http.StatusOK, d)
		return nil
	}
	now := f.reconciler.Now()
	refresh := 5
	if d.Case.State.Ended() && found.Case.Stop.State != cases.StopRequested {
		refresh = 0 // only a late report can follow
	}
	return f.pages.show(rw, http.StatusOK, "run", page{
		Title: d.Case.CaseID, Base: "./", User: user, Now: now, Refresh: refresh,
		Data: runPage{
			detail: d, Rules: f.reconciler.Rules(found.Case),
			Done:    doneMessage(d, r.URL.Query().Get("done")),
			Picture: draw(found.Case, found.Why, now),
		},
	})
}
