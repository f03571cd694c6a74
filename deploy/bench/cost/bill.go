package cost

import "time"

// What is taken for granted.
const (
	shortSeconds    = 0.15 // of a short invocation, which shares its instance with
	shortSharing    = 10
	sharing         = 80 // held requests to the pipeline: CONCURRENCY of deploy/gcp/functions.txt
	streamSharing   = 500
	requestLogBytes = 1300
	gib             = 1 << 30
	tib             = 1 << 40
	month           = 730 * time.Hour
	retentionMonths = 720.0 / 730
)

// Line is one line of a bill, in dollars for a million cases.
type Line struct {
	What string
	USD  float64
}

// Bill is what a million cases like one cost with Firestore; on PostgreSQL the lines of the store
// are replaced by [Instance] a month.
func Bill(n *Count, p map[string]Price) []Line {
	var invocations int
	var stream, held time.Duration
	for function, count := range n.Invocations {
		invocations += count
		switch function {
		case "status":
			stream = n.Held[function]
		default:
			held += n.Held[function]
		}
	}
	second := p["vcpu_second"].USD + p["gib_second"].USD
	lines := []Line{
		{"Cloud Tasks", float64(n.Created+n.Found+n.Delivered+n.Deleted) * p["task_operation"].USD},
		{"store", float64(n.Reads)*p["read"].USD + float64(n.Writes)*p["write"].USD +
			float64(n.Deletes)*p["delete"].USD + float64(n.Stored)/gib*retentionMonths*p["stored_gib_month"].USD},
		{"requests", float64(invocations) * p["request"].USD},
		{"short calls", float64(invocations) * shortSeconds / shortSharing * second},
		{"held dispatch", held.Seconds() / sharing * second},
		{"held streams", stream.Seconds() / streamSharing * second},
		{"Pub/Sub", float64(n.MessageBytes) / tib * p["pubsub_tib"].USD},
		{"logs", float64(n.LogBytes+invocations*requestLogBytes) / gib * p["log_gib"].USD},
		{"sent to viewers", float64(n.Sent) / gib * p["egress_gib"].USD},
	}
	for i := range lines {
		lines[i].USD *= 1e6
	}
	return lines
}

// Total is the sum of a bill.
func Total(lines []Line) (usd float64) {
	for _, l := range lines {
		usd += l.USD
	}
	return usd
}

// Dominant is the largest line of a bill.
func Dominant(lines []Line) Line {
	most := lines[0]
	for _, l := range lines {
		if l.USD > most.USD {
			most = l
		}
	}
	return most
}

// Instance is a month of Cloud SQL with 1 vCPU and 3.75 GiB, without a standby.
func Instance(p map[string]Price) float64 {
	return month.Hours() * (p["sql_vcpu_hour"].USD + 3.75*p["sql_gib_hour"].USD)
}

// Server is a month of one Cloud Run instance of 1 vCPU and 1 GiB that is always there: what a Node
// server or a worker takes that polls for all cases.
func Server(p map[string]Price) float64 {
	return month.Seconds() * (p["vcpu_second_always"].USD + p["gib_second_always"].USD)
}

// Job is a million Cloud Run jobs of 1 vCPU and 512 MiB, each of which waits for one case.
func Job(p map[string]Price, length time.Duration) float64 {
	return 1e6 * length.Seconds() * (p["vcpu_second_always"].USD + 0.5*p["gib_second_always"].USD)
}

// Workflow is a million executions of Cloud Workflows that look that often: for each look a sleep,
// an assignment and a condition, which are internal steps, and a request, internal (to a run.app
// address) or external; and three internal steps around it.
func Workflow(p map[string]Price, looks int, external bool) float64 {
	request := p["workflow_step"].USD
	if external {
		request = p["workflow_external_step"].USD
	}
	return 1e6 * (float64(3+3*looks)*p["workflow_step"].USD + float64(looks)*request)
}
