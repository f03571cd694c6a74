package main

import "testing"

// A check that the drill itself had delivered before its time still waits for its turn, beside the one that follows from it: that is no second chain.
func TestEarlyChecksAreNotASecondChain(t *testing.T) {
	d := &drill{}
	c := &canary{witness: newWitness("c"), fault: "stale-tasks"}
	c.latest.Run = 1
	d.cases = append(d.cases, c)
	c.early.Store(5)
	d.crowded(map[string][]int64{"c 1": {5, 6}})
	if said := c.breaches; len(said) != 0 {
		t.Errorf("%+v", said)
	}
	d.crowded(map[string][]int64{"c 1": {6, 7}})
	if said := c.breaches; len(said) != 1 || said[0].Promise != oneChain {
		t.Errorf("%+v", said)
	}
}
