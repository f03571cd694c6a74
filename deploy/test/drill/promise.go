package main

import "fmt"

// promise is one of the things that always hold, as the README lists them.
type promise string

// The promises that can be judged from outside.
const (
	ends     promise = "ends"
	final    promise = "final"
	oneChain promise = "one chain"
	once     promise = "once"
	forward  promise = "forward"
	told     promise = "told"
)

// promises are in the order of the report, each in words.
var promises = []struct {
	promise
	words string
}{
	{ends, "every accepted run ends, at the latest at its deadline plus one sweep"},
	{final, "an end is final; what is said later is kept beside it"},
	{oneChain, "one chain of checks per run, and no poll after the end"},
	{once, "the pipeline is started at most once per run, a repeated start begins nothing"},
	{forward, "progress never goes backwards, for any reader"},
	{told, "whoever watches is told the end, once"},
}

// unjudged is what else is promised.
const unjudged = "that memory does not grow with the cases in flight cannot be seen from outside: `make test` measures it"

// breach is a promise that was seen broken.
type breach struct {
	Promise promise `json:"promise"`
	CaseID  string  `json:"case_id"`
	Run     int     `json:"run"`
	Seen    string  `json:"seen"`
}

// line is how it is told to people.
func (b breach) line(fault string) string {
	return fmt.Sprintf("BROKEN  %s, %s: %s run %d: %s", fault, b.Promise, b.CaseID, b.Run, b.Seen)
}
