package sim

// Promise names a property that must hold in every run.
type Promise string

// The promises.
const (
	Ends         Promise = "every run ends, in time"
	OneOpen      Promise = "at most one run of a case is open"
	Final        Promise = "an end is final"
	Fills        Promise = "a result that comes after the end fills in a missing one that agrees, and swaps none in"
	LateKept     Promise = "words after the end are kept"
	OwnResult    Promise = "results and progress are of their own run"
	OneChain     Promise = "at most one check of a run is pending"
	NoneAfterEnd Promise = "no check that begins after the end asks the pipeline"
	StartedOnce  Promise = "the pipeline is started at most once per run"
	Forwards     Promise = "progress never goes backwards"
	Published    Promise = "every end is published, with one id and one content"
	NothingLeft  Promise = "when all is quiet nothing pends"
	StartKept    Promise = "a start that was answered is not lost"
	OneKey       Promise = "one key is one run"
	ReadersSee   Promise = "readers see what is recorded, and nothing older than was recorded before they asked"
	Watched      Promise = "an open run is waited for: by its next check, and by its dispatch until that is sent"
	OpenRequest  Promise = "while the pipeline is about to answer, no check ends the run"
	SentFirst    Promise = "nothing is asked, or believed, of a run that was not sent"
	Forgotten    Promise = "forms and runs are deleted when their time is over"
	NoLeak       Promise = "the sweep counts no broken promise"
	Classified   Promise = "no error is left unclassified"
	StaleDrops   Promise = "a stale delivery asks nothing and sends nothing"
	Patience     Promise = "no run is given up, nor its result, before the time for it is over"
	Heard        Promise = "the pipeline's answer is not dropped"
	Whole        Promise = "a run shows 100 % when it has succeeded, whole, and not before"
	Polite       Promise = "a pipeline that names a time is not polled before"
	Fresh        Promise = "in health, a run that somebody follows is looked at as often as may be"
	Stopped      Promise = "a run that is ended early has its job cancelled, or it is known that it was not"
	Idle         Promise = "in health the sweep has nothing to repair"
)
