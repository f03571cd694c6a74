package address_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/functions/internal/address"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func parse(target string) (address.Address, error) {
	u, err := url.Parse(target)
	if err != nil {
		return address.Address{}, err
	}
	return address.Parse(&http.Request{URL: u})
}

func TestParse(t *testing.T) {
	long := strings.Repeat("x", 128)
	for _, test := range []struct {
		target string
		want   address.Address
		kind   fault.Kind
		faults int
	}{
		{"/c", address.Address{CaseID: "c"}, 0, 0},
		{"/c?token=x", address.Address{CaseID: "c"}, 0, 0},
		{"/a:b.c_d-e?run=1", address.Address{CaseID: "a:b.c_d-e", Run: 1}, 0, 0},
		{"/a%3Ab?run=12", address.Address{CaseID: "a:b", Run: 12}, 0, 0},
		{"/" + long, address.Address{CaseID: long}, 0, 0},
		{"/", address.Address{}, fault.NotFound, 0},
		{"", address.Address{}, fault.NotFound, 0},
		{"/c/", address.Address{}, fault.NotFound, 0},
		{"//c", address.Address{}, fault.NotFound, 0},
		{"/c/d", address.Address{}, fault.NotFound, 0},
		{"/c%2Fd", address.Address{}, fault.NotFound, 0},
		{"/" + long + "x", address.Address{}, fault.Invalid, 1},
		{"/-c", address.Address{}, fault.Invalid, 1},
		{"/%00", address.Address{}, fault.Invalid, 1},
		{"/%C3%A9", address.Address{}, fault.Invalid, 1},
		{"/c?run=", address.Address{}, fault.Invalid, 1},
		{"/c?run=0", address.Address{}, fault.Invalid, 1},
		{"/c?run=-1", address.Address{}, fault.Invalid, 1},
		{"/c?run=1.5", address.Address{}, fault.Invalid, 1},
		{"/c?run=99999999999999999999", address.Address{}, fault.Invalid, 1},
		{"/c?run=1&run=2", address.Address{}, fault.Invalid, 1},
		{"/c?run=2&run=2", address.Address{}, fault.Invalid, 1},
		{"/c?run=1&wait=1s&token=x&utm_source=y", address.Address{CaseID: "c", Run: 1}, 0, 0}, // others are ignored
		{"/..?run=x", address.Address{}, fault.Invalid, 2},
	} {
		t.Run(test.target, func(t *testing.T) {
			got, err := parse(test.target)
			if got != test.want || (err == nil) != (test.kind == 0) {
				t.Fatalf("got %+v, %v; want %+v", got, err, test.want)
			}
			var e *fault.Error
			if errors.As(err, &e) && (e.Kind != test.kind || len(e.Faults) != test.faults) {
				t.Errorf("got %v with %+v, want %v with %d", e.Kind, e.Faults, test.kind, test.faults)
			}
		})
	}
}

// FuzzParse checks that a parsed address has a valid case id and no negative run.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"/c", "/c?run=1", "/%00?run=x", "?", "/a/b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		got, err := parse(target)
		if err == nil && (!cases.ValidID(got.CaseID) || got.Run < 0) {
			t.Fatalf("%q: %+v", target, got)
		}
	})
}
