package cloudtasks

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/queue"
)

// FuzzTarget checks that an accepted URL is called unchanged, with a token for its scheme and host.
func FuzzTarget(f *testing.F) {
	for _, target := range []string{
		"https://check.example/x?y=1", "http://[::1]:8080", "//x", "https://", "https://a@b", "https://%zz",
		"javascript:alert(1)",
	} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		c := Config{
			Project:        "p",
			Location:       "l",
			CheckQueue:     "c",
			DispatchQueue:  "d",
			Shards:         1,
			CheckURL:       target,
			DispatchURL:    target,
			ServiceAccount: "a@b.c",
		}.withDefaults()
		if c.validate() != nil {
			return
		}
		task := queue.Task{Kind: queue.Check, CaseID: "a", Run: 1, Seq: 1, CreatedAt: time.Unix(1, 0)}
		request := createRequest(c, task).GetTask().GetHttpRequest()
		u, err := url.Parse(target)
		if err != nil || request.GetUrl() != target || request.GetOidcToken().GetAudience() != u.Scheme+"://"+u.Host ||
			!strings.HasPrefix(u.Scheme, "http") {
			t.Errorf("%q is called as %v", target, request)
		}
	})
}
