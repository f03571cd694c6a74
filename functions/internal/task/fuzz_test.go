package task_test

import (
	"fmt"
	"net/http"
	"testing"
)

// FuzzDelivery checks that a delivery either is rejected, or has a run and a sequence number above
// 0 and a retry count of at least 0.
func FuzzDelivery(f *testing.F) {
	for _, body := range []string{
		good, `{"CASE_ID":"c","Run":1,"seq":2}`,
		`{"case_id":"c","case_id":"d","run":1e0,"seq":99999999999999999999}`,
		`{"case_id":"\ud800","run":1,"seq":1}`, "[", "\x00",
	} {
		f.Add(body, "3")
	}
	f.Add(good, "-1")
	f.Add(good, "9223372036854775808")
	f.Fuzz(func(t *testing.T, body, retries string) {
		a, got, _ := deliver(t, http.MethodPost, body, retries, nil)
		var rest string
		var run, seq, count int
		switch {
		case a.Code == 200:
			// The format is {case run seq} count. The case id may hold any text here.
			for i := len(got) - 1; i >= 0; i-- {
				if got[i] == '}' {
					if _, err := fmt.Sscanf(got[i:], "} %d", &count); err != nil || count < 0 {
						t.Errorf("%q", got)
					}
					rest = got[:i]
					break
				}
			}
			if _, err := fmt.Sscanf(lastTwo(rest), "%d %d", &run, &seq); err != nil || run < 1 || seq < 1 {
				t.Errorf("body %q was delivered as %q", body, got)
			}
		case (a.Code != 400 && a.Code != 413) || got != "":
			t.Errorf("%q: %d, %q", body, a.Code, got)
		}
	})
}

// lastTwo returns the last two words of a text.
func lastTwo(text string) string {
	spaces := 0
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] == ' ' {
			if spaces++; spaces == 2 {
				return text[i+1:]
			}
		}
	}
	return text
}
