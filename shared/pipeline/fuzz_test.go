package pipeline

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzURL: an address that is accepted is called with nothing but the paths of the API put behind
// it, and its tokens are for its host.
func FuzzURL(f *testing.F) {
	for _, address := range []string{
		"https://p.example/base/", "http://[::1%25lo]:1", "https://u:p@h", "http://h?x", "http://h/%2e%2e/",
		"http://h/a b", "HTTP://H", "http:\\\\h", "http://h#",
	} {
		f.Add(address)
	}
	f.Fuzz(func(t *testing.T, address string) {
		c, err := New(documents(address))
		if err != nil {
			if u, bad := url.Parse(address); bad == nil && u.User != nil && len(u.User.String()) > 8 &&
				strings.Contains(err.Error(), u.User.String()) {
				t.Errorf("%q is told: %v", address, err)
			}
			return
		}
		defer c.Close()
		u, err := url.Parse(c.base + "/api/normalize")
		audience, failed := Audience(address)
		if err != nil || failed != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
			!strings.HasSuffix(u.Path, "/api/normalize") ||
			audience != u.Scheme+"://"+u.Host {
			t.Errorf("%q is called as %q by %q: %v, %v", address, c.base, audience, err, failed)
		}
	})
}
