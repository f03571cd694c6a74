package cases_test

import (
	"encoding/json"
	"testing"
	"time"

	. "github.com/casewatch/casewatch/shared/cases"
)

func TestWhy(t *testing.T) {
	past := DurationStats{Version: 40, ByKind: map[int]Histogram{3: {From: 16, Counts: []int{10, 0, 30}}}} // 10 took 4 s, 30 took 4.8 s
	began := func() *life {
		l := &life{r: rules, now: epoch}
		l.do(0, Started{CaseID: "c", Run: 1, Deadline: time.Hour, Earlier: &past})
		return l
	}
	for name, x := range map[string]struct {
		l    *life
		want string
	}{
		"nothing sent":         {began(), `{"awaits":"dispatch","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`},
		"sent":                 {began().inFlight(), `{"awaits":"end","runs":40,"longer":40,"end_at":null,"give_or_take_seconds":0}`},
		"longer than some":     {began().inFlight().read(4500*time.Millisecond, 0, 4), `{"awaits":"end","runs":40,"longer":30,"end_at":null,"give_or_take_seconds":0}`},
		"with progress":        {began().inFlight().read(4500*time.Millisecond, 1, 4), `{"awaits":"end","runs":40,"longer":30,"end_at":"2026-01-02T03:04:18Z","give_or_take_seconds":3.9}`},
		"nobody before":        {accepted(rules), `{"awaits":"end","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`},
		"somebody watches":     {far().do(0, Viewed{CheckPending: true}), `{"awaits":"progress","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`},
		"nobody does any more": {accepted(rules).do(time.Second, Viewed{}).read(time.Minute, 0, 4), `{"awaits":"end","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`},
		"all counted":          {accepted(rules).read(5*time.Second, 4, 4), `{"awaits":"result","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`},
		"counted, and running": {accepted(rules).do(5*time.Second, shows(4, 4, "running")), `{"awaits":"report","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`},
		"the pipeline is busy": {accepted(rules).do(5*time.Second, busy(time.Minute)).do(time.Second, Viewed{}), `{"awaits":"busy","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`},
		"the pipeline is down": {accepted(rules).do(5*time.Second, failed), `{"awaits":"pipeline","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`},
		"the job is not known": {accepted(rules).do(5*time.Second, unknown), `{"awaits":"sign","runs":0,"longer":0,"end_at":null,"give_or_take_seconds":0}`},
		"it has ended":         {accepted(rules).do(5*time.Second, Cancel{}), `null`},
	} {
		got, err := json.Marshal(rules.Why(x.l.c))
		if err != nil || string(got) != x.want {
			t.Errorf("%s:\n%s, want\n%s (%v)", name, got, x.want, err)
		}
	}
}

// What a store gives back that nobody can have learned is forgotten, and what is learned next takes its place.
func TestDecodeDurationStats(t *testing.T) {
	good := `{"version":3,"lengths":{"5":{"from":34,"n":[20]}},"found":20}`
	huge := append([]byte(good), make([]byte, 64<<10)...)
	for i := len(good); i < len(huge); i++ {
		huge[i] = ' '
	}
	for name, x := range map[string]struct {
		data  string
		kinds int
		found int
	}{
		"good":             {good, 1, 20},
		"not JSON":         {good[:20], 0, 0},
		"nothing":          {"", 0, 0},
		"too much":         {string(huge), 0, 0},
		"other kinds":      {`{"lengths":{"-1":{"from":0,"n":[1]},"11":{"from":0,"n":[1]},"4":{"from":0,"n":[1]}},"found":1}`, 1, 1},
		"impossible":       {`{"lengths":{"1":{"from":-1,"n":[1]},"2":{"from":136,"n":[1]},"3":{"from":0,"n":[-1]},"4":{"from":0,"n":[9223372036854775807]},"5":{"from":0}}}`, 0, 0},
		"of another shape": {`{"lengths":[1,2]}`, 0, 0},
	} {
		p := DecodeDurationStats(7, []byte(x.data))
		if p.Version != 7 || len(p.ByKind) != x.kinds || p.Found != x.found {
			t.Errorf("%s: %+v", name, p)
		}
		l := accepted(rules).do(20*time.Second, Event{ID: "e", Status: "succeeded"})
		if next, ok := p.With(l.c, l.now, 0.5); !ok || next.Version != 8 || len(next.ByKind) == 0 {
			t.Errorf("%s: what is learned next: %+v", name, next)
		}
	}
}
