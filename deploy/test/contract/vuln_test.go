package contract

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// vulnerabilities serves a database in the layout of vuln.go.dev
// (https://go.dev/security/vuln/database#api), which knows of one fault, in a function of a module;
// of none for "".
func vulnerabilities(t *testing.T, module, pkg, symbol string) string {
	t.Helper()
	const at, id = "2026-01-02T03:04:05Z", "GO-2026-9999"
	files := map[string]string{"/index/db": `{"modified":"` + at + `"}`, "/index/modules": `[]`, "/index/vulns": `[]`}
	if module != "" {
		files["/index/modules"] = fmt.Sprintf(`[{"path":%q,"vulns":[{"id":%q,"modified":%q}]}]`, module, id, at)
		files["/index/vulns"] = fmt.Sprintf(`[{"id":%q,"modified":%q}]`, id, at)
		files["/ID/"+id] = fmt.Sprintf(`{"schema_version":"1.3.1","id":%q,"modified":%q,"published":%q,
			"summary":"planted","details":"planted",
			"affected":[{"package":{"name":%q,"ecosystem":"Go"},
			"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],
			"ecosystem_specific":{"imports":[{"path":%q,"symbols":[%q]}]}}],
			"database_specific":{"url":"https://pkg.go.dev/vuln/%s"}}`, id, at, at, module, pkg, symbol, id)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := files[strings.TrimSuffix(r.URL.Path, ".json.gz")]
		if !ok || !strings.HasSuffix(r.URL.Path, ".gz") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte(text))
		_ = z.Close()
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// What is known of what is linked fails CI; that nothing can be known does not, and is said.
func TestKnownVulnerabilities(t *testing.T) {
	needsTools(t, "curl", "make")
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	const notLookedFor = "cannot be reached: known vulnerabilities were not looked for"
	for name, test := range map[string]struct {
		database string
		fails    bool
		says     string
	}{
		"none is known":      {vulnerabilities(t, "", "", ""), false, "No vulnerabilities found"},
		"one that is called": {vulnerabilities(t, "stdlib", "encoding/json", "Marshal"), true, "GO-2026-9999"},
		"one that is not": {vulnerabilities(t, "stdlib", "encoding/json", "Indent"), false,
			"your code doesn't appear to call"},
		"out of reach": {gone.URL, false, notLookedFor},
		"no database":  {other.URL, false, notLookedFor},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), filepath.Join(root(t), ".ci", "vuln"))
			cmd.Env = append(withoutGit(os.Environ()), "GOVULNDB="+test.database, "VULN=./shared/gcplog", "GOWORK=off",
				"GOFLAGS=-buildvcs=false")
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			err := cmd.Run()
			if (err != nil) != test.fails || !strings.Contains(out.String(), test.says) {
				t.Errorf("%v, want %q:\n%s", err, test.says, &out)
			}
			if looked := strings.Contains(out.String(), "govulncheck"); looked == (test.says == notLookedFor) {
				t.Errorf("it was looked for: %v\n%s", looked, &out)
			}
		})
	}
}
