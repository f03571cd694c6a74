package reconcile

// SharedWaits returns how many waits of viewers are under way.
func SharedWaits(r *Reconciler) int {
	r.waits.mu.Lock()
	defer r.waits.mu.Unlock()
	return len(r.waits.byKey)
}
