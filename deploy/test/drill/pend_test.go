package main

import (
	"testing"
	"time"

	"github.com/casewatch/casewatch/deploy/test/witness"
)

// A check that the drill itself had delivered before its time still waits for its turn, beside the
// one that follows from it: that is no second chain. Nor are two that pend for a moment, since one
// takes the place of the other.
func TestWhatIsNoSecondChain(t *testing.T) {
	d := &drill{}
	c := &canary{Witness: witness.New("c", "", witness.Options{}), fault: "stale-tasks"}
	c.Saw(witness.View{Run: 1}, time.Now())
	d.cases = append(d.cases, c)
	c.early.Store(5)
	for name, patrols := range map[string][][]int64{
		"delivered early": {{5, 6}, {5, 6}},
		"brought forward": {{6, 7}, {7}, {7, 8}, {8, 9}},
	} {
		for _, seqs := range patrols {
			d.crowded(map[string][]int64{"c 1": seqs})
		}
		if said := c.Breaches(); len(said) != 0 {
			t.Errorf("%s: got %+v, want no breach", name, said)
		}
	}
}

func TestTwoChainsAreSeen(t *testing.T) {
	d := &drill{}
	c := &canary{Witness: witness.New("c", "", witness.Options{}), fault: "stale-tasks"}
	c.Saw(witness.View{Run: 1}, time.Now())
	d.cases = append(d.cases, c)
	for range 2 {
		d.crowded(map[string][]int64{"c 1": {6, 7}})
	}
	if said := c.Breaches(); len(said) != 1 || said[0].Promise != witness.OneChain {
		t.Errorf("got %+v, want one breach of one chain", said)
	}
}
