// Package drivers is the registry of the store drivers: how the setting STORE names each of them
// and the place where it keeps the runs, and which build tag leaves it out of a program. It links
// none of them, so that every program can check a setting. It is safe for concurrent use.
//
// A new driver needs a folder below shared/store, named as the driver; its row in the table here;
// and, if deployed programs may link it, a file in shared/app that does so unless its tag says
// otherwise.
package drivers

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/casewatch/casewatch/shared/weburl"
)

// The drivers.
const (
	Firestore = "firestore"
	Postgres  = "postgres"
	SQLite    = "sqlite"
)

// Driver is what is known of a store driver without linking it.
type Driver struct {
	Name     string   // of its folder below shared/store
	Schemes  []string // one of these and a colon begin a value of STORE
	Expected string   // how STORE names a place
	Example  string   // a value of STORE
	// Without is the build tag that leaves the driver out of a deployed program. A driver without
	// one is for one machine: no deployed program links it.
	Without string

	// locate checks what follows the scheme, or the whole text for one whose places are URLs, and
	// returns the place as the driver takes it.
	locate func(text, rest string, deployed bool) (string, error)
}

var table = []Driver{
	{Firestore, []string{"firestore"}, "firestore:, firestore:DATABASE", "firestore:cases", "nofirestore", database},
	{
		Postgres, []string{"postgres", "postgresql"}, "postgres://USER@HOST/DATABASE",
		"postgres://casewatch@db.example.com/cases", "nopostgres", server,
	},
	{SQLite, []string{"sqlite"}, "on one machine, sqlite:PATH", "sqlite:cases.db", "", file},
}

// All returns every driver, in the order of the documentation.
func All() []Driver { return slices.Clone(table) }

// Expected says what a value of STORE looks like.
func Expected() string {
	var forms []string
	for _, d := range table {
		forms = append(forms, d.Expected)
	}
	last := len(forms) - 1
	return strings.Join(forms[:last], ", ") + " or, " + forms[last]
}

// Parse returns the driver that a value of STORE names and the place, as the driver's Open takes
// it: a database id, a URL, or the path of a file. deployed refuses what only one machine can
// reach. The error continues a sentence that begins with STORE, and quotes nothing that may be a
// secret.
func Parse(text string, deployed bool) (driver, location string, err error) {
	scheme, rest, found := strings.Cut(text, ":")
	for _, d := range table {
		if found && slices.Contains(d.Schemes, scheme) {
			location, err = d.locate(text, rest, deployed)
			return d.Name, location, err
		}
	}
	return "", "", errors.New("names no store that there is")
}

// Tags returns the build tags of a deployed program that keeps its runs with that driver: those
// that leave out the other drivers, and grpcnotrace, which leaves out what of gRPC keeps the linker
// from dropping unused code. What is linked is started too: the variables of its packages are made
// before the first request.
func Tags(driver string) string {
	tags := []string{"grpcnotrace"}
	for _, d := range table {
		if d.Without != "" && d.Name != driver {
			tags = append(tags, d.Without)
		}
	}
	return strings.Join(tags, ",")
}

func database(_, id string, _ bool) (string, error) {
	switch {
	case id == "" || id == "(default)":
		return "(default)", nil
	case !validDatabase(id):
		return "", fmt.Errorf("names no valid Firestore database, %.80q", id)
	}
	return id, nil
}

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	digits = "0123456789"
)

// validDatabase: 4 to 63 small letters, digits and hyphens, beginning with a letter and ending
// without a hyphen (https://cloud.google.com/firestore/docs/manage-databases#database_id).
func validDatabase(id string) bool {
	return len(id) >= 4 && len(id) <= 63 && strings.Trim(id, lower+digits+"-") == "" &&
		strings.Trim(id[:1], lower) == "" && !strings.HasSuffix(id, "-")
}

// ErrLoopback is the error of [Parse] for a deployed program whose store would be on its own
// machine.
var ErrLoopback = errors.New("names this machine; on Google Cloud nothing but the function runs there")

func server(text, _ string, deployed bool) (string, error) {
	_, hosts, err := ParsePostgres(text)
	if err != nil {
		return "", err
	}
	for _, host := range hosts {
		// A host may be a Unix socket: a folder, or an abstract name
		// (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-HOST).
		socket := strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@")
		if deployed && (weburl.MayBeLoopback(host) || socket && !strings.HasPrefix(host, "/cloudsql/")) {
			return "", ErrLoopback
		}
	}
	return text, nil
}

// ParsePostgres returns the query and the hosts of a PostgreSQL URL. It is the one check of such
// URLs: they name a database and a host, as host or, for a Unix socket, in the query. Without a
// host, drivers would fall back to this machine. The error quotes nothing of the URL, which may
// hold a password.
func ParsePostgres(text string) (query url.Values, hosts []string, err error) {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "postgres" && u.Scheme != "postgresql", u.Opaque != "", u.Fragment != "",
		// A password that is not escaped may end in the name of the database, which errors quote.
		strings.ContainsAny(strings.TrimPrefix(u.Path, "/"), "@/"):
		return nil, nil, errors.New("is not a postgres:// URL; " + escapes)
	case u.Host != "" && !weburl.ValidHost(u):
		return nil, nil, errors.New("names no valid host")
	case strings.Trim(u.Path, "/") == "":
		return nil, nil, errors.New("names no database")
	}
	if query, err = url.ParseQuery(u.RawQuery); err != nil {
		return nil, nil, errors.New("has a query that cannot be read")
	}
	if query.Has("hostaddr") {
		return nil, nil, errors.New("has hostaddr, which the driver does not heed; host takes addresses too")
	}
	hosts = []string{u.Hostname()}
	if h := query.Get("host"); h != "" {
		hosts = strings.Split(h, ",")
	}
	if slices.Contains(hosts, "") {
		return nil, nil, errors.New("names no host")
	}
	return query, hosts, nil
}

const escapes = "in a password, %, /, ?, #, @ and : are written as %25, %2F, %3F, %23, %40 and %3A"

func file(_, path string, deployed bool) (string, error) {
	switch {
	case path == "":
		return "", errors.New("names no file")
	case deployed:
		return "", errors.New("names a file of this machine, and on Google Cloud each instance is another one")
	}
	return path, nil
}
