package cases

import "time"

// MaxID is the greatest length of a case id.
const MaxID = 128

// ValidID reports whether s may name a case: a letter or digit, then up to 127 of A-Z a-z 0-9 . _ : -
func ValidID(s string) bool {
	if s == "" || len(s) > MaxID {
		return false
	}
	for i := range len(s) {
		switch b := s[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9':
		case i > 0 && (b == '.' || b == '_' || b == ':' || b == '-'):
		default:
			return false
		}
	}
	return true
}

// OwnsUnnamed reports whether an event that names no run counts for c, the current run of its case: it was published after the run
// began, the pipeline was asked for the run at all, and no earlier run may still have a word to come. An adopted run is the work of
// such an earlier one: a word of that is its own.
func (c Case) OwnsUnattributed(published time.Time) bool {
	return (c.Adopted || !c.PriorUnreported) && c.MayOwn(published)
}

// MayOwn reports whether an event published then can be about c at all.
func (c Case) MayOwn(published time.Time) bool {
	return !published.Before(c.CreatedAt) && (c.Adopted || c.Dispatch.Attempts > 0)
}
