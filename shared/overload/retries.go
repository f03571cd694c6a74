package overload

import "sync"

// Retries is the budget of one instance for repeats of failed calls, as in gRPC's retry throttling: each failure takes a token, each success
// returns a tenth of one, and a call is repeated only while more than half of the tokens are there
// (https://github.com/grpc/proposal/blob/master/A6-client-retries.md#throttling-retry-attempts-and-hedged-rpcs). So in the long run about one call in
// ten is repeated, and a service that answers nothing sees each call once. The zero Retries is full. It is safe for concurrent use.
//
// gRPC's own throttle cannot be used: it counts only the repeats that gRPC makes, and gRPC repeats neither an attempt that ran out of its time
// nor a stream that broke off after its first message.
type Retries struct {
	mu    sync.Mutex
	taken float64 // tokens
}

const (
	// retryTokens is the size of the budget. Half of it is for a connection that breaks under many calls at the same time: each of 50 is repeated.
	retryTokens = 100
	// retryRatio is what a success returns.
	retryRatio = 0.1
)

// Succeeded notes a call that was answered, be the answer a refusal.
func (r *Retries) Succeeded() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = max(0, r.taken-retryRatio)
}

// Failed notes a call that failed, and reports whether it may be repeated.
func (r *Retries) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = min(retryTokens, r.taken+1)
	return r.taken < retryTokens/2
}
