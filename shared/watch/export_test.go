package watch

// Rounds returns how many waits of viewers are under way.
func Rounds(w *Watcher) int {
	w.rounds.mu.Lock()
	defer w.rounds.mu.Unlock()
	return len(w.rounds.open)
}
