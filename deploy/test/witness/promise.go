// Package witness reads a case as its readers do, and names every promise that is broken by what
// they are shown.
//
// A [Witness] polls the JSON of one case ([Witness.Poll]) and follows its stream
// ([Witness.Stream]). It notes a broken promise when it sees it; [Witness.Judge] adds what is
// missing at the end. It declares what it reads anew ([View], [Event]), so that what judges shares
// no type with what is judged.
package witness

import "fmt"

// Promise is one of the things that always hold, as the README lists them.
type Promise string

// The promises that can be judged from outside.
const (
	Ends     Promise = "ends"
	Final    Promise = "final"
	OneChain Promise = "one chain"
	Once     Promise = "once"
	Forward  Promise = "forward"
	Told     Promise = "told"
)

// Promises are all promises in the order of a report, each in words.
var Promises = []struct {
	Promise
	Words string
}{
	{Ends, "every accepted run ends, at the latest at its deadline plus one sweep"},
	{Final, "an end is final; what is said later is kept beside it"},
	{OneChain, "one chain of checks per run, and no poll after the end"},
	{Once, "the pipeline is started at most once per run, a repeated start begins nothing"},
	{Forward, "progress never goes backwards, for any reader"},
	{Told, "whoever watches is told the end, once"},
}

// Breach is a promise that was seen broken.
type Breach struct {
	Promise Promise `json:"promise"`
	CaseID  string  `json:"case_id"`
	Run     int     `json:"run"`
	Seen    string  `json:"seen"`
}

func (b Breach) String() string {
	return fmt.Sprintf("%s: %s run %d: %s", b.Promise, b.CaseID, b.Run, b.Seen)
}
