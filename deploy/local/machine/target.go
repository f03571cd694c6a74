package machine

import (
	"github.com/casewatch/casewatch/deploy/test/drill/target"
	"github.com/casewatch/casewatch/shared/app"
)

// Target returns where m is, for programs that look at it from outside.
func (m *Machine) Target() *target.Target {
	cfg := m.Config
	queues := app.Queues(cfg).Queues()
	t := &target.Target{
		Name: "make run at " + m.base, Start: cfg.URLs.Start, Status: cfg.URLs.Status, Console: m.base + "/console",
		Project: cfg.Project, Checks: queues[:len(queues)-1], Dispatch: queues[len(queues)-1],
		CheckURL: cfg.URLs.Check, DispatchURL: cfg.URLs.Dispatch, TasksAccount: cfg.Queue.ServiceAccount, EventsTopic: cfg.Topics.PipelineEvents,
		TasksEmulator: m.Tasks.Addr(), PubSubEmulator: m.PubSub.Addr(),
		SweepInterval: target.In(m.sweepEvery), CheckTimeout: target.In(cfg.Rules.CheckTimeout), CheckMinInterval: target.In(cfg.Rules.CheckMinInterval),
		CompletionGrace: target.In(cfg.Rules.CompletionGrace), Idempotent: cfg.Pipeline.Idempotent,
	}
	if sample := m.base + "/pipeline"; cfg.Pipeline.URL == sample {
		t.SamplePipeline = sample
	}
	return t
}
