package fault_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestKinds(t *testing.T) {
	want := map[fault.Kind]int{
		fault.Invalid: 400, fault.Unauthorized: 401, fault.Forbidden: 403, fault.NotFound: 404, fault.Method: 405,
		fault.Conflict: 409, fault.TooLarge: 413, fault.MediaType: 415, fault.Unprocessable: 422, fault.TooMany: 429,
		fault.Unavailable: 503, fault.Internal: 500, fault.Kind(-1): 500, fault.Kind(99): 500,
	}
	// The phrases of net/http for two statuses are those of RFC 7231; ours are those of RFC 9110.
	newer := map[int]string{413: "Content Too Large", 422: "Unprocessable Content"}
	for kind, status := range want {
		if got := kind.Status(); got != status {
			t.Errorf("status of %v = %d, want %d", kind, got, status)
		}
		title := http.StatusText(status)
		if newer[status] != "" {
			title = newer[status]
		}
		if kind.Title() != title || kind.String() != title {
			t.Errorf("title of %d = %q, %q, want %q", status, kind.Title(), kind.String(), title)
		}
	}
}

func TestFrom(t *testing.T) {
	secret := errors.New("dial tcp 10.0.0.7: password=hunter2")
	classified := fault.New(fault.Conflict, "the run has ended")
	for _, test := range []struct {
		name string
		err  error
		want fault.Kind
		same *fault.Error
	}{
		{"classified", classified, fault.Conflict, classified},
		{"classified, wrapped twice", fmt.Errorf("b: %w", fmt.Errorf("a: %w", classified)), fault.Conflict, classified},
		{"classified, joined", errors.Join(secret, classified), fault.Conflict, classified},
		{"classified around a context's end",
			fault.Wrap(fault.NotFound, context.Canceled, "no such case"), fault.NotFound, nil},
		{"deadline", fmt.Errorf("load: %w", context.DeadlineExceeded), fault.Unavailable, nil},
		{"cancelled", context.Canceled, fault.Unavailable, nil},
		{"unclassified", secret, fault.Internal, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := fault.From(test.err)
			if got.Kind != test.want || fault.KindOf(test.err) != test.want {
				t.Fatalf("From = %v, KindOf = %v, want %v", got.Kind, fault.KindOf(test.err), test.want)
			}
			if test.same != nil && got != test.same {
				t.Errorf("From returned another error than the one inside: %v", got)
			}
			body, err := json.Marshal(got.Problem("/x"))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(body), "hunter2") || strings.Contains(string(body), "context") {
				t.Errorf("the caller reads inner text: %s", body)
			}
		})
	}
	if fault.From(nil) != nil {
		t.Error("From(nil) is not nil")
	}
	if !errors.Is(fault.From(secret), secret) {
		t.Error("the log no longer reaches the inner error")
	}
}

func TestProblem(t *testing.T) {
	e := &fault.Error{
		Kind: fault.Invalid, Detail: "2 faults",
		Faults: []fault.Fault{{Pointer: "/case_id", Detail: "too long"}, {Detail: "not UTF-8"}},
		Err:    errors.New("inner"),
	}
	got, err := json.Marshal(e.Problem("/start"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type":"about:blank","title":"Bad Request","status":400,"detail":"2 faults","instance":"/start",` +
		`"errors":[{"pointer":"/case_id","detail":"too long"},{"detail":"not UTF-8"}]}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("problem (-want +got):\n%s", diff)
	}
	if want := "Bad Request: 2 faults; /case_id: too long; not UTF-8: inner"; e.Error() != want {
		t.Errorf("Error() = %q, want %q", e.Error(), want)
	}

	internal := fault.Error{
		Kind: fault.Internal, Detail: "table cases is gone", Faults: []fault.Fault{{Detail: "column"}},
	}
	p := internal.Problem("")
	if p.Status != 500 || p.Errors != nil || strings.Contains(p.Detail, "table") {
		t.Errorf("an internal problem says %+v", p)
	}
	odd := (&fault.Error{Kind: 99, Detail: "table"}).Problem("")
	if odd.Status != 500 || strings.Contains(odd.Detail, "table") {
		t.Errorf("an unknown kind says %+v", odd)
	}
}

func TestRetryAfterSeconds(t *testing.T) {
	for _, test := range []struct {
		kind  fault.Kind
		after time.Duration
		want  int
	}{
		{fault.Unavailable, 0, 5},
		{fault.Unavailable, -time.Second, 5},
		{fault.Unavailable, time.Nanosecond, 1},
		{fault.Unavailable, 1500 * time.Millisecond, 2},
		{fault.Unavailable, 2 * time.Second, 2},
		{fault.TooMany, 0, 5},
		{fault.TooMany, 36 * time.Hour, 129600},
		{fault.Conflict, 0, 0},
		{fault.Conflict, 3 * time.Second, 3},
	} {
		e := fault.Error{Kind: test.kind, RetryAfter: test.after}
		if got := e.RetryAfterSeconds(); got != test.want {
			t.Errorf("%v after %v: %d, want %d", test.kind, test.after, got, test.want)
		}
	}
}
