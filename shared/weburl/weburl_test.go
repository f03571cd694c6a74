package weburl_test

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/weburl"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	for _, test := range []struct {
		text  string
		fault string // part of the error of ParseBase; "" for none
		query bool   // Parse accepts it
	}{
		{"https://p.example", "", true},
		{"http://p.example:8080/base/?", "query", true},
		{"https://p.example/keys?version=2", "query", true},
		{"http://127.0.0.1:8000", "", true},
		{"http://[::1]:1/x", "", true},
		{"http://my_host:65535", "", true},
		{"HTTPS://P.EXAMPLE.", "", true},
		{"", "scheme", false},
		{"p.example", "scheme", false},
		{"//p.example", "scheme", false},
		{"ftp://p.example", "scheme", false},
		{"p.example:80", "scheme", false},
		{"https://p.example\n", "not a URL", false},
		{"https://[::1", "not a URL", false},
		{"https://u:hush@p.example", "user", false},
		{"https://p.example/#hush", "fragment", false},
		{"https://p.example/#", "fragment", false},
		{"https://", "host", false},
		{"https://:80", "host", false},
		{"https://p.example:", "host", false},
		{"https://p.example:0", "host", false},
		{"https://p.example:65536", "host", false},
		{"https://-p.example", "host", false},
		{"https://p..example", "host", false},
		{"https://p%20x", "not a URL", false},
		{"https://127.1", "host", false},
		{"https://2130706433", "host", false},
		{"https://0x7f.1", "host", false},
		{"https://[fe80::1%25eth0]", "host", false},
		{"https://" + strings.Repeat("a.", 130) + "example", "host", false},
	} {
		t.Run(test.text, func(t *testing.T) {
			for name, parse := range map[string]func(string) (*url.URL, error){
				"Parse": weburl.Parse, "ParseBase": weburl.ParseBase,
			} {
				u, err := parse(test.text)
				good := test.fault == "" || name == "Parse" && test.query
				if (err == nil) != good || (u == nil) == good {
					t.Errorf("%s(%q) returned %v, %v, want it accepted: %v", name, test.text, u, err, good)
				}
				if err != nil && (!strings.Contains(err.Error(), test.fault) || strings.Contains(err.Error(), "hush")) {
					t.Errorf("%s(%q): the error is %q, want it to name the %s", name, test.text, err, test.fault)
				}
			}
		})
	}
}

func TestLoopback(t *testing.T) {
	for _, test := range []struct {
		host       string
		is, may    bool
		withPort   string // the same host with a port
		isWithPort bool
	}{
		{"localhost", true, true, "localhost:80", true},
		{"LOCALHOST", true, true, "LOCALHOST:80", true},
		{"127.0.0.1", true, true, "127.0.0.1:80", true},
		{"127.8.9.10", true, true, "127.8.9.10:1", true},
		{"::1", true, true, "[::1]:80", true},
		{"::ffff:127.0.0.1", true, true, "[::ffff:127.0.0.1]:80", true},
		{"localhost", true, true, "localhost:x", false},
		{"localhost", true, true, "localhost:70000", false},
		{"localhost.", false, true, "localhost.:80", false},
		{"a.localhost", false, true, "a.localhost:80", false},
		{"localhost.localdomain", false, true, "localhost.localdomain:80", false},
		{"ip6-localhost", false, true, "ip6-localhost:80", false},
		{"0.0.0.0", false, true, "0.0.0.0:80", false},
		{"0.1.2.3", false, true, "0.1.2.3:80", false},
		{"::", false, true, "[::]:80", false},
		{"::1%lo", true, true, "[::1%lo]:80", true},
		{"", false, false, ":80", false},
		{"notlocalhost", false, false, "notlocalhost:80", false},
		{"localhost.example.com", false, false, "localhost.example.com:80", false},
		{"localhost@example.com", false, false, "localhost@example.com:80", false},
		{"128.0.0.1", false, false, "128.0.0.1:80", false},
		{"127.1", false, false, "127.1:80", false},
		{"2130706433", false, false, "2130706433:80", false},
		{"10.1.2.3", false, false, "10.1.2.3:80", false},
	} {
		t.Run(test.withPort, func(t *testing.T) {
			if got := weburl.IsLoopback(test.host); got != test.is {
				t.Errorf("IsLoopback(%q) is %v, want %v", test.host, got, test.is)
			}
			if got := weburl.MayBeLoopback(test.host); got != test.may {
				t.Errorf("MayBeLoopback(%q) is %v, want %v", test.host, got, test.may)
			}
			if got := weburl.IsLoopbackHostPort(test.withPort); got != test.isWithPort {
				t.Errorf("IsLoopbackHostPort(%q) is %v, want %v", test.withPort, got, test.isWithPort)
			}
			if got := weburl.IsLoopbackHostPort(test.host); got != test.is {
				t.Errorf("IsLoopbackHostPort(%q) is %v, want %v", test.host, got, test.is)
			}
		})
	}
	for _, host := range []string{"[::1]", "[127.0.0.1]"} {
		if !weburl.IsLoopbackHostPort(host) {
			t.Errorf("IsLoopbackHostPort(%q) is false, want true", host)
		}
	}
	for _, host := range []string{"[::1", "[", "[]", "]", "localhost]"} {
		if weburl.IsLoopbackHostPort(host) {
			t.Errorf("IsLoopbackHostPort(%q) is true, want false", host)
		}
	}
}

// names is the grammar of the names of hosts.
var names = regexp.MustCompile(
	`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)

// FuzzParse: what is accepted is an address on the web and nothing else, whatever it looks like.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"https://p.example/?a=b", "http://[::1]:1", "https://a..b", "https://a-/", "http://127.1",
		"https://u@h", "https://h#",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := weburl.Parse(text)
		if err != nil {
			return
		}
		host := u.Hostname()
		isName := names.MatchString(host) && len(host) <= 253
		if u.User != nil || u.Fragment != "" || !isName && !strings.ContainsAny(host, ":.") ||
			weburl.IsLoopback(host) && !weburl.MayBeLoopback(host) {
			t.Errorf("Parse accepts %q", text)
		}
		if again, err := weburl.Parse(u.String()); err != nil || again.Host != u.Host {
			t.Errorf("Parse accepts %q, and of what that becomes, %q, it says %v", text, u, err)
		}
	})
}
