package cases_test

import (
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

// The timeline tells when polls stop showing what they showed, and tells nothing of the pipeline
// where the run is only queued again.
func TestTimelineTellsHowTheWorkGoes(t *testing.T) {
	for name, test := range map[string]struct {
		l    *life
		want string
	}{
		"unknown for a while": {
			accepted(rules).do(time.Second, unknown).do(time.Second, unknown).read(time.Second, 1, 4).
				read(time.Second, 2, 4),
			`began
sent by dispatch (attempt 1)
answered by dispatch
running by dispatch
unknown by check
known by check`,
		},
		"unknown until an event": {
			accepted(rules).do(time.Second, unknown).do(time.Second, running("e", nil)),
			`began
sent by dispatch (attempt 1)
answered by dispatch
running by dispatch
unknown by check
known by event`,
		},
		"complete, and then not": {
			accepted(rules).read(time.Second, 4, 4).read(time.Second, 4, 4).read(time.Second, 4, 6).
				read(time.Second, 5, 6),
			`began
sent by dispatch (attempt 1)
answered by dispatch
running by dispatch
complete by check
incomplete by check`,
		},
		"complete, though it is said to run": {
			accepted(rules).read(time.Second, 4, 4).do(time.Second, running("e", nil)),
			`began
sent by dispatch (attempt 1)
answered by dispatch
running by dispatch
complete by check
incomplete by event`,
		},
		"its success is announced, once": {
			begin(rules, nil).inFlight().do(time.Second, Event{ID: "e", Status: StatusSucceeded}).
				read(time.Second, 1, 4).do(time.Second, failed),
			`began
sent by dispatch (attempt 1)
running by event
announced by event
unreachable by check (connection refused)`,
		},
		"each attempt is unknown by itself": {
			begin(idempotent, nil).inFlight().outcome(DispatchUncertain).do(time.Second, unknown).
				do(rules.StartGrace, unknown).inFlight().do(time.Second, unknown),
			`began
sent by dispatch (attempt 1)
uncertain by dispatch (said so)
unknown by check
repeated by check
sent by dispatch (attempt 2)
unknown by check`,
		},
		"what was counted is forgotten": {
			begin(rules, nil).inFlight().do(time.Second, DispatchBegun{Seq: 1, Nonce: "r", RetryCount: 1}).
				read(time.Second, 4, 4).outcome(DispatchUnreachable),
			`began
sent by dispatch (attempt 1)
uncertain by dispatch (the attempt before was lost)
running by check
complete by check
not_started by dispatch (said so)`,
		},
		"that it was unknown is forgotten": {
			begin(rules, nil).inFlight().do(time.Second, unknown).outcome(DispatchUnreachable),
			`began
sent by dispatch (attempt 1)
unknown by check
not_started by dispatch (said so)`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := story(test.l.c); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}
