package reconcile

// Rounds returns how many waits of viewers are under way.
func Rounds(w *Reconciler) int {
	w.rounds.mu.Lock()
	defer w.rounds.mu.Unlock()
	return len(w.rounds.open)
}
