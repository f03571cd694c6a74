package queue_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/queue"
)

var created = time.Date(2026, 3, 4, 5, 6, 7, 891011000, time.UTC)

func sample() queue.Task {
	return queue.Task{Kind: queue.Check, CaseID: "case-1", Run: 1, Seq: 1, CreatedAt: created}
}

// The names are in the queues of a running system. If they changed, every pending task would be
// scheduled twice.
func TestNameIsFixed(t *testing.T) {
	tests := []struct {
		task queue.Task
		want string
	}{
		{sample(), "95dd4599e9e2fb36aee9659f0a2a2f9638a5f261"},
		{
			queue.Task{Kind: queue.Dispatch, CaseID: "a.b:c_d-e", Run: 12, Seq: 345, CreatedAt: created},
			"29aa20c8ff7224478de87bb02d7a79eaf519a944",
		},
		{queue.Task{}, "3e58547c53bcca8db3dcc06043e17e6b95dd8eb2"},
	}
	for _, test := range tests {
		if got := test.task.Name(); got != test.want {
			t.Errorf("Name of %+v = %s, want %s", test.task, got, test.want)
		}
	}
}

func TestNameDependsOnEveryPartOfTheIdentity(t *testing.T) {
	base := sample()
	variants := map[string]func(*queue.Task){
		"kind":                     func(x *queue.Task) { x.Kind = queue.Dispatch },
		"case":                     func(x *queue.Task) { x.CaseID = "case-2" },
		"run":                      func(x *queue.Task) { x.Run = 2 },
		"seq":                      func(x *queue.Task) { x.Seq = 2 },
		"creation":                 func(x *queue.Task) { x.CreatedAt = x.CreatedAt.Add(time.Microsecond) },
		"digits moved to the case": func(x *queue.Task) { x.CaseID, x.Run = "case-11", 1 },
		"digits moved to the run":  func(x *queue.Task) { x.Run, x.Seq = 11, 1 },
	}
	seen := map[string]string{base.Name(): "base"}
	for part, change := range variants {
		x := base
		change(&x)
		if other, taken := seen[x.Name()]; taken {
			t.Errorf("after a change of %s the name is that of %s", part, other)
		}
		seen[x.Name()] = part
	}
}

func TestNameIgnoresOtherFields(t *testing.T) {
	base := sample()
	for what, change := range map[string]func(*queue.Task){
		"At": func(x *queue.Task) { x.At = created.Add(time.Hour) },
		"TraceParent": func(x *queue.Task) {
			x.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		},
		"time zone":   func(x *queue.Task) { x.CreatedAt = x.CreatedAt.In(time.FixedZone("east", 3600)) },
		"nanoseconds": func(x *queue.Task) { x.CreatedAt = x.CreatedAt.Add(999) },
	} {
		x := base
		change(&x)
		if x.Name() != base.Name() {
			t.Errorf("the name depends on %s", what)
		}
	}
}

// Task ids have up to 500 letters, digits, hyphens and underscores
// (https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks#Task).
var taskID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,500}$`)

func TestNamesAreTaskIDsAndSpread(t *testing.T) {
	const n = 4096
	seen := make(map[string]bool, n)
	first := map[byte]int{}
	for i := range n {
		x := sample()
		x.CaseID, x.Seq = strings.Repeat("\u00e9 /", i%40), int64(i)
		name := x.Name()
		if !taskID.MatchString(name) {
			t.Fatalf("%q is not a valid task id", name)
		}
		if seen[name] {
			t.Fatalf("two tasks have the name %s", name)
		}
		seen[name] = true
		first[name[0]]++
	}
	// Each of the 16 hexadecimal digits begins 256 names on average. Six standard deviations are
	// about 93.
	for digit, count := range first {
		if count < 160 || count > 352 {
			t.Errorf("%d of %d names begin with %q", count, n, digit)
		}
	}
	if len(first) != 16 {
		t.Errorf("names begin with %d different digits, want 16", len(first))
	}
}

func TestShardSpreadsAndIsStable(t *testing.T) {
	const cases = 10000
	for _, n := range []int{1, 2, 3, 8} {
		counts := make([]int, n)
		for i := range cases {
			id := fmt.Sprintf("case-%d", i)
			s := queue.Shard(id, n)
			if s < 0 || s >= n {
				t.Fatalf("Shard(%q, %d) = %d", id, n, s)
			}
			if again := queue.Shard(id, n); again != s {
				t.Fatalf("Shard(%q, %d) = %d, then %d", id, n, s, again)
			}
			counts[s]++
		}
		for s, count := range counts {
			if fair := cases / n; count < fair*8/10 || count > fair*12/10 {
				t.Errorf("of %d cases %d are in shard %d of %d", cases, count, s, n)
			}
		}
	}
	if got := queue.Shard("case-1", 8); got != 7 {
		t.Errorf(`Shard("case-1", 8) = %d, want 7: pending tasks are in that queue`, got)
	}
}

func TestBody(t *testing.T) {
	got := string(sample().EncodeBody())
	if want := `{"case_id":"case-1","run":1,"seq":1}`; got != want {
		t.Errorf("EncodeBody = %s, want %s", got, want)
	}
}

func TestDecodeBody(t *testing.T) {
	tests := []struct {
		name, in string
		want     queue.Body
		problem  string // part of the error; "" for none
	}{
		{"whole", `{"case_id":"c","run":2,"seq":3}`, queue.Body{CaseID: "c", Run: 2, Seq: 3}, ""},
		{
			"unknown fields",
			`{"case_id":"c","run":2,"seq":3,"kind":"check","x":null}`,
			queue.Body{CaseID: "c", Run: 2, Seq: 3},
			"",
		},
		{"space around", " {\"case_id\":\"c\",\"run\":2,\"seq\":3}\n", queue.Body{CaseID: "c", Run: 2, Seq: 3}, ""},
		{
			"large seq",
			`{"case_id":"c","run":1,"seq":9223372036854775807}`,
			queue.Body{CaseID: "c", Run: 1, Seq: 1<<63 - 1},
			"",
		},
		{"a stop", `{"kind":"stop","case_id":"c","run":2,"seq":3}`, queue.Body{
			Kind: queue.Stop, CaseID: "c", Run: 2, Seq: 3,
		}, ""},
		{"no case", `{"run":2,"seq":3}`, queue.Body{}, "case_id is missing"},
		{"no run", `{"case_id":"c","seq":3}`, queue.Body{}, "run is not positive"},
		{"negative run", `{"case_id":"c","run":-1,"seq":3}`, queue.Body{}, "run is not positive"},
		{"no seq", `{"case_id":"c","run":2}`, queue.Body{}, "seq is not positive"},
		{"null", `null`, queue.Body{}, "case_id is missing; run is not positive; seq is not positive"},
		{"empty", ``, queue.Body{}, "not the JSON object expected"},
		{"text", `secret`, queue.Body{}, "not the JSON object expected"},
		{"array", `[]`, queue.Body{}, "not the JSON object expected"},
		{"wrong type", `{"case_id":7,"run":2,"seq":3}`, queue.Body{}, "not the JSON object expected"},
		{"fraction", `{"case_id":"c","run":1.5,"seq":3}`, queue.Body{}, "not the JSON object expected"},
		{
			"too large",
			`{"case_id":"c","run":2,"seq":9223372036854775808}`,
			queue.Body{},
			"not the JSON object expected",
		},
		{"two values", `{"case_id":"c","run":2,"seq":3}{}`, queue.Body{}, "not the JSON object expected"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := queue.DecodeBody([]byte(test.in))
			if got != test.want {
				t.Errorf("DecodeBody = %+v, want %+v", got, test.want)
			}
			switch {
			case test.problem == "" && err != nil:
				t.Errorf("DecodeBody: %v", err)
			case test.problem != "" && !errors.Is(err, queue.ErrInvalidTask):
				t.Errorf("DecodeBody: %v, want ErrInvalidTask", err)
			case test.problem != "" && !strings.Contains(err.Error(), test.problem):
				t.Errorf("DecodeBody: %v, want it to contain %q", err, test.problem)
			case err != nil && strings.Contains(err.Error(), "secret"):
				t.Errorf("the error shows the content: %v", err)
			}
		})
	}
}

func FuzzDecodeBody(f *testing.F) {
	for _, seed := range []string{
		`{"case_id":"c","run":2,"seq":3}`, `{}`, `null`, `[`, `{"case_id":"\u0000","run":1e0,"seq":1}`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := queue.DecodeBody(data)
		if err != nil {
			if !errors.Is(err, queue.ErrInvalidTask) {
				t.Fatalf("%v is not ErrInvalidTask", err)
			}
			if b != (queue.Body{}) {
				t.Fatalf("got %+v with an error, want the zero body", b)
			}
			return
		}
		if b.CaseID == "" || b.Run < 1 || b.Seq < 1 {
			t.Fatalf("accepted %+v", b)
		}
		again, err := queue.DecodeBody(queue.Task{CaseID: b.CaseID, Run: b.Run, Seq: b.Seq}.EncodeBody())
		if err != nil || again != b {
			t.Fatalf("%+v came back as %+v, %v", b, again, err)
		}
	})
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
