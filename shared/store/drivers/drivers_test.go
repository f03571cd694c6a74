package drivers_test

import (
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/shared/store/drivers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	const here = "this machine"
	for _, test := range []struct {
		text             string
		driver, location string // of a value that is accepted
		problem          string // part of the error, on one machine and deployed
		deployed         string // part of the error, deployed
	}{
		{text: "firestore:", driver: drivers.Firestore, location: "(default)"},
		{text: "firestore:(default)", driver: drivers.Firestore, location: "(default)"},
		{text: "firestore:cases-1", driver: drivers.Firestore, location: "cases-1"},
		{text: "firestore:abc", problem: "database"},
		{text: "firestore:1abc", problem: "database"},
		{text: "firestore:abc-", problem: "database"},
		{text: "firestore:Cases", problem: "database"},
		{text: "firestore:" + strings.Repeat("a", 64), problem: "database"},
		{text: "postgres://u@h/d", driver: drivers.Postgres, location: "postgres://u@h/d"},
		{text: "postgresql://u@h:5432/d?sslmode=require", driver: drivers.Postgres,
			location: "postgresql://u@h:5432/d?sslmode=require"},
		{text: "postgres:///d?host=/cloudsql/p:r:i", driver: drivers.Postgres,
			location: "postgres:///d?host=/cloudsql/p:r:i"},
		{text: "postgres://u@localhost/d", driver: drivers.Postgres, location: "postgres://u@localhost/d",
			deployed: here},
		{text: "postgres:///d?host=/tmp", driver: drivers.Postgres, location: "postgres:///d?host=/tmp",
			deployed: here},
		{text: "postgres:///d?host=@x", driver: drivers.Postgres, location: "postgres:///d?host=@x", deployed: here},
		{text: "postgres://u@h/d?host=10.0.0.1,::1", driver: drivers.Postgres,
			location: "postgres://u@h/d?host=10.0.0.1,::1", deployed: here},
		{text: "postgres:h", problem: "not a postgres:// URL"},
		{text: "postgres:u:hush@h", problem: "not a postgres:// URL"},
		{text: "postgres://u:hush@h h/d", problem: "not a postgres:// URL"},
		{text: "postgres://u:1/hush@h/d", problem: "in a password"},
		{text: "postgres://u:1#hush@h/d", problem: "in a password"},
		{text: "postgres://u:hush@h/", problem: "no database"},
		{text: "postgres://u:hush@127.1/d", problem: "no valid host"},
		{text: "postgres://u:hush@/d", problem: "no host"},
		{text: "postgres://h/d?host=a,,b", problem: "no host"},
		{text: "postgres://h/d?hostaddr=10.1.2.3", problem: "hostaddr"},
		{text: "postgres://h/d?a=%zz", problem: "query"},
		{text: "sqlite:x.db", driver: drivers.SQLite, location: "x.db", deployed: here},
		{text: "sqlite:", problem: "no file"},
		{text: "sqlite", problem: "no known store"},
		{text: "mysql://u:hush@h/d", problem: "no known store"},
		{text: "", problem: "no known store"},
	} {
		t.Run(test.text, func(t *testing.T) {
			for _, deployed := range []bool{false, true} {
				want := test.problem
				if deployed && want == "" {
					want = test.deployed
				}
				driver, location, err := drivers.Parse(test.text, deployed)
				if err != nil && strings.Contains(err.Error(), "hush") {
					t.Errorf("deployed %v: the error quotes a password: %v", deployed, err)
				}
				if want != "" {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("deployed %v: got error %v, want it to contain %q", deployed, err, want)
					}
				} else if driver != test.driver || location != test.location || err != nil {
					t.Errorf("deployed %v: got %q, %q, %v, want %q, %q",
						deployed, driver, location, err, test.driver, test.location)
				}
			}
		})
	}
}

// Each row is complete, and its example belongs to its driver.
func TestTable(t *testing.T) {
	for _, d := range drivers.All() {
		driver, _, err := drivers.Parse(d.Example, false)
		if driver != d.Name || err != nil || len(d.Schemes) == 0 || !strings.Contains(drivers.Expected(), d.Expected) {
			t.Errorf("the example %q of %s is of %q, %v", d.Example, d.Name, driver, err)
		}
		tags := strings.Split(drivers.Tags(d.Name), ",")
		for _, other := range drivers.All() {
			want := other.Without != "" && other.Name != d.Name
			if got := slices.Contains(tags, other.Without); got != want {
				t.Errorf("the tags of %s, %v, leave out %s: %v, want %v", d.Name, tags, other.Name, got, want)
			}
		}
	}
}
