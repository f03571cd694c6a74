package reconcile_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/store"
)

// After a rollback, runs that a newer revision wrote go on to their end, and what only it knows of
// stays in their records.
func TestRunsOfANewerRevision(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *world){
		"by event": func(w *world) {
			err := w.publish("m", `{"case_id":"c","run":1,"status":"succeeded","result":{"success":true}}`)
			if err != nil {
				w.t.Error(err)
			}
		},
		"by cancel": func(w *world) {
			if _, err := w.Cancel(w.t.Context(), "c", 1); err != nil {
				w.t.Error(err)
			}
		},
		"by its deadline": func(w *world) { w.run(2 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.begin()
			w.run(10 * time.Second)
			c := w.get(1)
			c.Version++
			data, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			newer := append([]byte(`{"policy":{"learned":[1,2.50]},`), data[1:]...)
			if err := json.Unmarshal(newer, &c); err != nil {
				t.Fatal(err)
			}
			if err := w.store.Update(t.Context(), store.Write{Case: c}); err != nil {
				t.Fatal(err)
			}
			w.run(10 * time.Second)
			end(w)
			c = w.get(1)
			if !c.State.Ended() {
				t.Fatalf("it is %s", c.State)
			}
			data, err = json.Marshal(c)
			var fields map[string]json.RawMessage
			if err != nil || json.Unmarshal(data, &fields) != nil ||
				string(fields["policy"]) != `{"learned":[1,2.50]}` {
				t.Errorf("what the newer revision wrote is %s (%v)", fields["policy"], err)
			}
			var again cases.Case
			if err := json.Unmarshal(data, &again); err != nil {
				t.Error(err)
			}
		})
	}
}
