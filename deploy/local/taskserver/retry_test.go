package taskserver

import (
	"net/http"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
)

func config(minimum, maximum time.Duration, doublings int32) *cloudtaskspb.RetryConfig {
	return &cloudtaskspb.RetryConfig{
		MinBackoff:   durationpb.New(minimum),
		MaxBackoff:   durationpb.New(maximum),
		MaxDoublings: doublings,
	}
}

func TestBackoff(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	tests := []struct {
		name   string
		config *cloudtaskspb.RetryConfig
		unit   time.Duration
		want   []time.Duration // in units
	}{
		{"example of the documentation", config(10*s, 300*s, 3), s,
			[]time.Duration{10, 20, 40, 80, 160, 240, 300, 300}},
		{"linear from the start", config(2*s, 9*s, 0), s, []time.Duration{2, 4, 6, 8, 9, 9}},
		{"constant", config(5*s, 5*s, 16), s, []time.Duration{5, 5, 5}},
		{"doublings only", config(s, 10*s, 16), s, []time.Duration{1, 2, 4, 8, 10, 10}},
		{"fractions of a second", config(100*ms, s, 16), ms, []time.Duration{100, 200, 400, 800, 1000}},
		{"no delay", config(0, s, 2), s, []time.Duration{0, 0, 0, 0, 0, 0}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for i, want := range test.want {
				if got := backoff(test.config, i+1); got != want*test.unit {
					t.Errorf("the back-off after attempt %d is %v, want %v", i+1, got, want*test.unit)
				}
			}
		})
	}
	t.Run("without an overflow", func(t *testing.T) {
		c := config(time.Hour, 1<<62, 1000)
		for n, last := 1, time.Duration(0); n < 3000; n++ {
			got := backoff(c, n)
			if got < last {
				t.Fatalf("the back-off after attempt %d is %v, want at least %v as before", n, got, last)
			}
			last = got
		}
	})
}

func TestExhausted(t *testing.T) {
	const m = time.Minute
	tests := []struct {
		name        string
		maxAttempts int32
		maxAge      time.Duration
		attempts    int
		age         time.Duration
		want        bool
	}{
		{"attempts limited and left", 3, 0, 2, time.Hour, false},
		{"attempts limited and reached", 3, 0, 3, 0, true},
		{"both limited, attempts reached", 3, m, 3, m - 1, false},
		{"both limited, age reached", 3, m, 2, m, false},
		{"both limited and reached", 3, m, 3, m, true},
		{"age limited and not reached", -1, m, 1000, m - 1, false},
		{"age limited and reached", -1, m, 1, m, true},
		{"neither limited", -1, 0, 1 << 20, 1000 * time.Hour, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := &cloudtaskspb.RetryConfig{
				MaxAttempts:      test.maxAttempts,
				MaxRetryDuration: durationpb.New(test.maxAge),
			}
			if got := exhausted(c, test.attempts, test.age); got != test.want {
				t.Errorf("exhausted is %t, want %t", got, test.want)
			}
		})
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
			t.Errorf("the delay of %d with Retry-After %q is %v, want %v", test.status, test.value, got, test.want)
		}
	}
}

// FuzzRetryAfter checks that the delay is always within its limits, and that only 429 and 503 can
// request one.
func FuzzRetryAfter(f *testing.F) {
	for _, value := range []string{
		"", "5", "-1", "1e3", "99999999999999999999",
		"Mon, 23 Nov 2026 12:01:30 GMT", "Mon, 23 Nov 0000 12:01:30 GMT",
	} {
		f.Add(503, value)
	}
	f.Add(200, "5")
	f.Fuzz(func(t *testing.T, status int, value string) {
		r := &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {value}}}
		delay := retryAfter(r, time.Unix(1_700_000_000, 0))
		if delay < 0 || delay > maxRetryAfter {
			t.Errorf("the delay of %d with %q is %v, want 0 to %v", status, value, delay, maxRetryAfter)
		}
		if delay > 0 && status != 429 && status != 503 {
			t.Errorf("the delay of %d with %q is %v, want none", status, value, delay)
		}
	})
}

func TestOnly2xxIsSuccess(t *testing.T) {
	for status := 100; status < 600; status++ {
		if got, want := codeOf(status) == codes.OK, status >= 200 && status < 300; got != want {
			t.Errorf("the code of %d is %v; want OK: %t", status, codeOf(status), want)
		}
	}
}

func TestRetryConfigOfATaskOverridesItsQueue(t *testing.T) {
	q := newQueue(1, complete(&cloudtaskspb.Queue{
		Name: name("q"), RetryConfig: config(100*time.Millisecond, time.Hour, 4),
	}, false))
	own := &cloudtaskspb.RetryConfig{MaxAttempts: 2, MinBackoff: durationpb.New(5 * time.Second)}
	withOwn := &task{queue: q, pb: &cloudtaskspb.Task{RetryConfig: own}}
	want := config(5*time.Second, time.Hour, 4)
	want.MaxAttempts = 2
	if diff := cmp.Diff(want, withOwn.retry(), protocmp.Transform()); diff != "" {
		t.Errorf("the configuration of a task with its own (-want +got):\n%s", diff)
	}
	without := &task{queue: q, pb: &cloudtaskspb.Task{}}
	if got := without.retry().GetMaxAttempts(); got != 100 {
		t.Errorf("a task without its own configuration has %d attempts, want 100", got)
	}
}
