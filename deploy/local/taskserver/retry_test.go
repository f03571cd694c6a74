package taskserver

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

func config(minimum, maximum time.Duration, doublings int32) *cloudtaskspb.RetryConfig {
	return &cloudtaskspb.RetryConfig{MinBackoff: durationpb.New(minimum), MaxBackoff: durationpb.New(maximum), MaxDoublings: doublings}
}

func TestBackoff(t *testing.T) {
	const s = time.Second
	tests := []struct {
		name   string
		config *cloudtaskspb.RetryConfig
		want   []time.Duration
	}{
		{"the documented example", config(10*s, 300*s, 3), []time.Duration{10 * s, 20 * s, 40 * s, 80 * s, 160 * s, 240 * s, 300 * s, 300 * s}},
		{"linear at once", config(2*s, 9*s, 0), []time.Duration{2 * s, 4 * s, 6 * s, 8 * s, 9 * s, 9 * s}},
		{"constant", config(5*s, 5*s, 16), []time.Duration{5 * s, 5 * s, 5 * s}},
		{"doublings only", config(s, 10*s, 16), []time.Duration{s, 2 * s, 4 * s, 8 * s, 10 * s, 10 * s}},
		{"parts of a second", config(100*time.Millisecond, s, 16),
			[]time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond, s}},
		{"no wait", config(0, s, 2), []time.Duration{0, 0, 0, 0, 0, 0}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []time.Duration
			for n := range test.want {
				got = append(got, backoff(test.config, n+1))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("backoff = %v, want %v", got, test.want)
			}
		})
	}
	t.Run("never overflows", func(t *testing.T) {
		c := config(time.Hour, 1<<62, 1000)
		for n, last := 1, time.Duration(0); n < 3000; n++ {
			got := backoff(c, n)
			if got < last {
				t.Fatalf("backoff(%d) = %v, after %v", n, got, last)
			}
			last = got
		}
	})
}

func TestExhausted(t *testing.T) {
	const m = time.Minute
	tests := []struct {
		name     string
		attempts int32
		duration time.Duration
		made     int
		since    time.Duration
		want     bool
	}{
		{"attempts left", 3, 0, 2, time.Hour, false},
		{"attempts used up", 3, 0, 3, 0, true},
		{"both limited, attempts used up", 3, m, 3, m - 1, false},
		{"both limited, time used up", 3, m, 2, m, false},
		{"both limited, both used up", 3, m, 3, m, true},
		{"unlimited attempts, time left", -1, m, 1000, m - 1, false},
		{"unlimited attempts, time used up", -1, m, 1, m, true},
		{"nothing limited", -1, 0, 1 << 20, 1000 * time.Hour, false},
	}
	for _, test := range tests {
		c := &cloudtaskspb.RetryConfig{MaxAttempts: test.attempts, MaxRetryDuration: durationpb.New(test.duration)}
		if got := exhausted(c, test.made, test.since); got != test.want {
			t.Errorf("%s: exhausted = %t, want %t", test.name, got, test.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	tests := []struct {
		status int
		value  string
		want   time.Duration
	}{
		{503, "7", 7 * time.Second},
		{429, "7", 7 * time.Second},
		{500, "7", 0},
		{503, "", 0},
		{503, "-7", 0},
		{503, "soon", 0},
		{503, "999999", time.Hour},
		{503, now.Add(90 * time.Second).Format(http.TimeFormat), 90 * time.Second},
		{503, now.Add(-time.Second).Format(http.TimeFormat), 0},
	}
	for _, test := range tests {
		r := &http.Response{StatusCode: test.status, Header: http.Header{"Retry-After": {test.value}}}
		if got := retryAfter(r, now); got != test.want {
			t.Errorf("retryAfter of %d with %q = %v, want %v", test.status, test.value, got, test.want)
		}
	}
}

func TestOnly2xxIsSuccess(t *testing.T) {
	for status := 100; status < 600; status++ {
		if got, want := codeOf(status) == codes.OK, status >= 200 && status < 300; got != want {
			t.Errorf("codeOf(%d) = %v", status, codeOf(status))
		}
	}
}

func TestTaskRetryConfigOverridesTheQueue(t *testing.T) {
	q := newQueue(1, complete(&cloudtaskspb.Queue{Name: name("q"), RetryConfig: config(100*time.Millisecond, time.Hour, 4)}, false))
	own := &task{queue: q, pb: &cloudtaskspb.Task{RetryConfig: &cloudtaskspb.RetryConfig{MaxAttempts: 2, MinBackoff: durationpb.New(5 * time.Second)}}}
	got := own.retry()
	if got.GetMaxAttempts() != 2 || got.GetMinBackoff().AsDuration() != 5*time.Second || got.GetMaxBackoff().AsDuration() != time.Hour || got.GetMaxDoublings() != 4 {
		t.Errorf("retry = %v", got)
	}
	if got := (&task{queue: q, pb: &cloudtaskspb.Task{}}).retry(); got.GetMaxAttempts() != 100 {
		t.Errorf("a task without its own configuration has %v", got)
	}
}
