package access_test

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/functions/internal/access"
	"github.com/casewatch/casewatch/shared/casetoken"
	"github.com/casewatch/casewatch/shared/config"
)

// FuzzWithinMachine checks that a console without configured users accepts only requests from this
// machine that name it as their host.
func FuzzWithinMachine(f *testing.F) {
	for _, host := range []string{
		"localhost", "localhost:8080", "127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]",
		"localhost.evil.example", "evil.example:80", "localhost@evil.example", "localhost#",
		"127.1", "2130706433", "localhost/", "LOCALHOST", "",
	} {
		f.Add(host, "127.0.0.1:1", "")
	}
	f.Add("localhost", "10.0.0.1:1", "")
	f.Add("localhost", "[::1%25lo]:1", "")
	f.Add("localhost", "127.0.0.1:1", "for=10.0.0.1")
	user := access.Console(&config.Config{}, slog.New(slog.DiscardHandler), time.Now)
	f.Fuzz(func(t *testing.T, host, from, forwarded string) {
		r := &http.Request{Host: host, RemoteAddr: from, Header: http.Header{}}
		if forwarded != "" {
			r.Header.Set("Forwarded", forwarded)
		}
		if _, err := user(r); err != nil {
			return
		}
		address, _, err := net.SplitHostPort(from)
		ip, bad := netip.ParseAddr(address)
		loopback := strings.EqualFold(address, "localhost") || bad == nil && ip.Unmap().IsLoopback()
		if err != nil || !loopback || forwarded != "" {
			t.Errorf("host %q from %q, forwarded %q, was accepted", host, from, forwarded)
		}
		name := strings.ToLower(host)
		if i := strings.LastIndexByte(name, '@'); i >= 0 {
			name = name[i+1:]
		}
		if !strings.HasPrefix(name, "localhost") && !strings.HasPrefix(name, "127.") && !strings.HasPrefix(name, "[") {
			t.Errorf("host %q was accepted", host)
		}
	})
}

// FuzzToCase checks that a caller without a key can read a case only with a token that was signed
// for it.
func FuzzToCase(f *testing.F) {
	good := tokens.Sign("c", now.Add(time.Minute))
	f.Add("token="+good, "", "", "c")
	f.Add("token="+good+"&token=x", "", "", "c")
	f.Add("token=x&token="+good, "Bearer "+good, good, "c")
	f.Add("%74oken="+good+";", "Basic x", "", "d")
	callers := access.NewCallers(
		&config.Config{Access: config.Access{TokenSecrets: []config.Secret{newer, older}}},
		func() time.Time { return now },
	)
	f.Fuzz(func(t *testing.T, query, authorization, key, caseID string) {
		r := request("/?"+"x=1", http.Header{"Authorization": {authorization}, "X-Api-Key": {key}})
		r.URL.RawQuery = query
		if callers.ToCase(r, casetoken.ToRead, caseID, noOwner) == nil &&
			!tokens.Verify(r.URL.Query().Get("token"), caseID, now) {
			t.Errorf("query %q, Authorization %q, key %q: access to case %q", query, authorization, key, caseID)
		}
	})
}
