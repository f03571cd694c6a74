package contract

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/shared/store/drivers"
)

// TestRunBuildsTheStoreThatIsUsed checks that make run leaves out the stores that STORE does not
// name, with the tags of what is deployed.
func TestRunBuildsTheStoreThatIsUsed(t *testing.T) {
	for _, test := range []struct{ name, store, driver string }{
		{"not set", "", drivers.SQLite},
		{"SQLite", "sqlite:cases.db", drivers.SQLite},
		{"Firestore", "firestore:cases", drivers.Firestore},
		{"PostgreSQL", "postgres://u:a$(b c@h/d", drivers.Postgres},
		{"PostgreSQL, as libpq also names it", "postgresql://h/d", drivers.Postgres},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "make", "--dry-run", "run")
			cmd.Dir = root(t)
			cmd.Env = append(cmd.Environ(), "STORE="+test.store, "MAKEFLAGS=")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if want := "-tags=" + drivers.Tags(test.driver) + " "; !strings.Contains(string(out), want) {
				t.Errorf("make run does not build with %s:\n%s", want, out)
			}
		})
	}
}
