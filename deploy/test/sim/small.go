package sim

import "time"

// Small returns the plans with which an exhaustive search begins, named by the pipeline's behavior.
// Each has one case that ends within a minute or two.
func Small() map[string]Plan {
	rules := defaultRules
	rules.PipelineTimeout = 50 * time.Second
	rules.CheckMinInterval = 5 * time.Second
	rules.CheckMaxInterval = 15 * time.Second
	rules.StartGrace = 12 * time.Second
	rules.CompletionGrace = 8 * time.Second
	rules.UnreachableAfter = 25 * time.Second
	rules.StallAfter = 20 * time.Second
	base := Plan{
		Seed:         1,
		Rules:        rules,
		Deadline:     75 * time.Second,
		CheckTimeout: 3 * time.Second,
		Skews:        []time.Duration{0},
		SweepEvery:   30 * time.Second,
		Tombstone:    24 * time.Hour,
		Flat:         true,
		Until:        time.Second,
	}
	with := func(w Work) Plan {
		p := base
		p.Cases = []CasePlan{
			{
				ID:      "c",
				Actions: []Action{{At: 100 * time.Millisecond, Do: "start", Key: "k", Tries: 5}},
				Work:    []Work{w},
			},
		}
		return p
	}
	ends := Word{Status: "succeeded", After: 500 * time.Millisecond, Result: true, Delay: 100 * time.Millisecond}
	idempotent := with(
		Work{Answer: AnswerCut, Cut: time.Second, Total: 3, Each: 3 * time.Second, Outcome: OutcomeSuccess},
	)
	idempotent.Rules.Idempotent = true
	result := Work{Answer: AnswerResult, Works: true, Total: 3, Each: 3 * time.Second, Outcome: OutcomeSuccess}
	then := func(p Plan, at time.Duration, next Work, windows ...Window) Plan {
		c := &p.Cases[0]
		c.Actions = append(c.Actions, Action{At: at, Do: "start", Tries: 5})
		c.Work = append(c.Work, next)
		p.Until, p.Windows = at+30*time.Second, windows
		return p
	}
	late, anew := result, result
	late.Events = []Word{{Status: "succeeded", After: time.Second, NoRun: true, Result: true, Delay: 15 * time.Second}}
	unsent := result
	unsent.Events = []Word{
		{Status: "succeeded", After: 6 * time.Second, NoRun: true, Result: true, Delay: 100 * time.Millisecond},
	}
	anew.Before = []string{NotStartedBusy, NotStartedBusy}
	cancelled := with(Work{Answer: AnswerAccepted, Works: true, Total: 30, Each: time.Second, Outcome: OutcomeSuccess})
	cancelled.Cases[0].Actions = append(cancelled.Cases[0].Actions, Action{At: 7 * time.Second, Do: "cancel", Tries: 5})
	alone := with(Work{Answer: AnswerAccepted, Works: true, Total: 3, Each: 3 * time.Second, Outcome: OutcomeNowhere})
	alone.Until, alone.Windows = 3*time.Minute, []Window{{Kind: QueueDown, From: 2 * time.Second, To: 3 * time.Minute}}
	unseen := with(Work{Answer: AnswerResult, Works: true, Total: 3, Each: 14 * time.Second, Outcome: OutcomeSuccess})
	unseen.Until, unseen.Windows = 41*time.Second, []Window{{Kind: Refuses, From: time.Second, To: 40 * time.Second}}
	watched := with(
		Work{
			Answer:  AnswerAccepted,
			Works:   true,
			Total:   3,
			Each:    20 * time.Second,
			Outcome: OutcomeSuccess,
			Says:    true,
		},
	)
	watched.Until = 55 * time.Second
	watched.Cases[0].Readers = []Reader{
		{From: 16 * time.Second, To: 30 * time.Second, Follow: true},
		{From: 52 * time.Second, To: 55 * time.Second, Follow: true},
	}
	gaveUp := with(
		Work{
			Answer:  AnswerGivesUp,
			Works:   true,
			Cut:     12 * time.Second,
			Total:   30,
			Each:    time.Second,
			Outcome: OutcomeSuccess,
		},
	)
	lied := with(
		Work{
			Answer:  AnswerLie,
			Works:   true,
			Cut:     12 * time.Second,
			Total:   8,
			Each:    3 * time.Second,
			Outcome: OutcomeSuccess,
		},
	)
	counted := with(
		Work{
			Answer:  AnswerAccepted,
			Works:   true,
			Total:   3,
			Each:    9 * time.Second,
			Says:    true,
			Counts:  CountsAll,
			Outcome: OutcomeSuccess,
		},
	)
	uncounted := with(
		Work{
			Answer:  AnswerAccepted,
			Works:   true,
			Total:   4,
			Each:    9 * time.Second,
			Says:    true,
			Counts:  CountsNone,
			Outcome: OutcomeSuccess,
		},
	)
	uncounted.Until, uncounted.Windows = 20*time.Second, []Window{
		{Kind: Busy, From: 4 * time.Second, To: 20 * time.Second},
	}
	lives := with(
		Work{
			Answer:  AnswerAccepted,
			Works:   true,
			Total:   3,
			Each:    15 * time.Second,
			Counts:  CountsAll,
			Outcome: OutcomeSuccess,
			Events: []Word{
				{
					Status:   "running",
					After:    -43 * time.Second,
					Copies:   13,
					Progress: true,
					Delay:    100 * time.Millisecond,
				},
				{Status: "succeeded", Result: true, Delay: 100 * time.Millisecond},
			},
		},
	)
	busy := with(
		Work{
			Answer:  AnswerAccepted,
			Works:   true,
			Total:   3,
			Each:    20 * time.Second,
			Outcome: OutcomeSuccess,
			Says:    true,
		},
	)
	busy.Until, busy.Windows = 55*time.Second, []Window{{Kind: Busy, From: 2 * time.Second, To: 50 * time.Second}}
	putOff := with(
		Work{
			Answer:  AnswerAccepted,
			Works:   true,
			Total:   3,
			Each:    20 * time.Second,
			Outcome: OutcomeSuccess,
			Says:    true,
		},
	)
	putOff.Until, putOff.Windows = 55*time.Second, []Window{
		{Kind: PutsOff, From: 4 * time.Second, To: 30 * time.Second},
	}
	putOff.Cases[0].Readers = []Reader{{From: 6 * time.Second, To: 55 * time.Second, Follow: true}}
	return map[string]Plan{
		"it gives up, and says that it is busy": gaveUp,
		"it works, and says that it is busy":    lied,
		"all is counted, and it runs":           counted,
		"nothing is counted, and it is busy":    uncounted,
		"events say that it runs":               lives,
		"polls are answered that it is busy":    busy,
		"it asks to come later, and is watched": putOff,
		"it says 202, then an event": with(
			Work{
				Answer:  AnswerAccepted,
				Works:   true,
				Total:   3,
				Each:    3 * time.Second,
				Outcome: OutcomeSuccess,
				Events:  []Word{ends},
			},
		),
		"it says 202, and nothing more": with(
			Work{Answer: AnswerAccepted, Works: true, Total: 3, Each: 3 * time.Second, Outcome: OutcomeSuccess},
		),
		"it answers when it is done": with(
			Work{Answer: AnswerResult, Works: true, Total: 3, Each: 3 * time.Second, Outcome: OutcomeSuccess},
		),
		"it answers, and an event": with(
			Work{
				Answer:  AnswerResult,
				Works:   true,
				Total:   3,
				Each:    3 * time.Second,
				Outcome: OutcomeSuccess,
				Events:  []Word{ends},
			},
		),
		"it cuts the connection, and not": with(
			Work{Answer: AnswerCut, Cut: time.Second, Total: 3, Each: 3 * time.Second, Outcome: OutcomeSuccess},
		),
		"it cuts, and may be asked again": idempotent,
		"it is busy, then refuses": with(
			Work{
				Before:  []string{NotStartedBusy},
				Answer:  AnswerRefused,
				Total:   1,
				Each:    time.Second,
				Outcome: OutcomeSuccess,
			},
		),
		"it cannot be asked, and answers":    unseen,
		"it is busy with what was cancelled": then(cancelled, 8*time.Second, anew),
		"an event comes late, and of no run": then(
			with(late),
			18*time.Second,
			Work{Answer: AnswerAccepted, Works: true, Total: 3, Each: 8 * time.Second, Outcome: OutcomeSuccess},
		),
		"an event of no run, then a request": then(
			with(unsent),
			11*time.Second,
			result,
			Window{Kind: TasksPaused, From: 10 * time.Second, To: 35 * time.Second},
		),
		"it never ends, and no queue answers": alone,
		"somebody comes to watch, and goes":   watched,
		"it never ends": with(
			Work{Answer: AnswerAccepted, Works: true, Total: 3, Each: 3 * time.Second, Outcome: OutcomeNowhere},
		),
	}
}
