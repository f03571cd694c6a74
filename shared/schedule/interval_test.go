package schedule

import (
	"testing"
	"time"
)

func TestClamp(t *testing.T) {
	for _, test := range []struct {
		in         Interval
		wait, want time.Duration
	}{
		{usual, time.Second, 2 * time.Second},
		{usual, 7 * time.Second, 7 * time.Second},
		{usual, time.Hour, 30 * time.Second},
		{Interval{Min: time.Minute, Max: time.Second}, 0, time.Minute},
		{Interval{Min: time.Minute, Max: time.Second}, time.Hour, time.Minute},
	} {
		if got := test.in.Clamp(test.wait); got != test.want {
			t.Errorf("%+v: got %v for %v, want %v", test.in, got, test.wait, test.want)
		}
	}
}

func TestAlign(t *testing.T) {
	for _, test := range []struct {
		name           string
		in             Interval
		from, at, want float64
	}{
		{"to the nearest quarter of a second", usual, 0, 7.1, 7},
		{"upwards too", usual, 0, 7.13, 7.25},
		{"not below the shortest interval", usual, 0.1, 2.1, 2.25},
		{"not above the longest", usual, 0.1, 30.1, 30},
		{
			"the longest where no grid is in between",
			Interval{Min: 8 * time.Second, Max: 8 * time.Second},
			0.5,
			8.5,
			8.5,
		},
	} {
		if got := test.in.Align(at(test.from), at(test.at)); !got.Equal(at(test.want)) {
			t.Errorf("%s: got %v after epoch, want %v s", test.name, got.Sub(epoch), test.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	for _, test := range []struct {
		in     Interval
		before int
		jitter float64
		want   time.Duration
	}{
		{usual, 0, 0, 2 * time.Second},
		{usual, 1, 0, 4 * time.Second},
		{usual, 3, 0, 16 * time.Second},
		{usual, 4, 0, 30 * time.Second},
		{usual, 1 << 40, 0, 30 * time.Second},
		{usual, 3, 0.5, 12 * time.Second},
		{usual, 0, 0.5, 2 * time.Second},
		{Interval{Min: time.Minute, Max: time.Second}, 0, 0, time.Second},
		{Interval{Min: time.Minute, Max: time.Second}, 3, 0.5, time.Second},
	} {
		if got := test.in.Backoff(test.before, test.jitter); got != test.want {
			t.Errorf("%+v after %d, jitter %v: got %v, want %v", test.in, test.before, test.jitter, got, test.want)
		}
	}
}

func TestLease(t *testing.T) {
	until := LeaseUntil(epoch)
	for after, want := range map[float64]bool{0: false, 14.9: false, 15: true, 60: true} {
		if got := LeaseEndsSoon(until, at(after)); got != want {
			t.Errorf("%v s after it was taken: ends soon %v, want %v", after, got, want)
		}
	}
}

func TestExpedited(t *testing.T) {
	for _, test := range []struct {
		name            string
		last, next, now float64
		want            float64
		ok              bool
	}{
		{"to the shortest interval after the last", 0, 20, 1, 2, true},
		{"to now", 0, 20, 10, 10, true},
		{"not a check that may be under way", 0, 20, 18, 18, false},
		{"by a clock that is behind", 10, 30, 5, 12, true},
		{"by a clock that is behind, already brought forward", 10, 12, 5, 12, false},
	} {
		got, ok := usual.Expedited(at(test.last), at(test.next), at(test.now))
		if ok != test.ok || !got.Equal(at(test.want)) {
			t.Errorf("%s: got %v after epoch, %v; want %v s, %v", test.name, got.Sub(epoch), ok, test.want, test.ok)
		}
	}
}
