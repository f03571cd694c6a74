package cases

import "time"

// Why says why the next look at an open run is when it is, as it was decided at the last change. It is for people.
type Why struct {
	Awaits Awaited `json:"awaits"`
	// Runs is how many earlier runs it goes by: those with about as many documents, or all while few of these are known. Longer is how many of them took
	// longer than this one had, counted from when the pipeline took it up. Both are of those that still weigh: what was long ago fades.
	Runs   int `json:"runs"`
	Longer int `json:"longer"`
	// EndAt is when the run ends if it goes on as its progress shows, give or take GiveOrTake seconds; nil while progress tells nothing.
	EndAt      *time.Time `json:"end_at"`
	GiveOrTake float64    `json:"give_or_take_seconds"`
}

// Why returns nil for a run that has ended.
func (r Rules) Why(c Case) *Why {
	if c.State.Ended() {
		return nil
	}
	w := Why{Awaits: c.awaits()}
	if c.canExpedite() && !c.Checks.NextAt.After(c.Viewers.Lease.Until) {
		w.Awaits = awaitsProgress
	}
	if w.Awaits != awaitsEnd {
		return &w
	}
	o := r.forecast(c, c.UpdatedAt)
	w.Runs = o.durations.Runs()
	w.Longer = w.Runs - o.durations.ended(time.Duration(o.elapsed*float64(time.Second)))
	if e, ok := c.estimate(c.UpdatedAt); ok {
		w.EndAt, w.GiveOrTake = &e.EndAt, float64(time.Duration(o.dev*1e9).Round(100*time.Millisecond))/1e9
	}
	return &w
}
