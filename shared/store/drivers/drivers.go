// Package drivers is the registry of the store drivers. For each driver it says how the setting
// STORE names it and its location, and which build tag excludes it from a program. The package
// links no driver, so every program can check a setting. It is safe for concurrent use.
//
// A new driver needs a folder with its name below shared/store and its row in the table here. If
// deployed programs may link it, it also needs a file in shared/app that does so unless the
// driver's tag excludes it.
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

// Driver describes a store driver without linking it.
type Driver struct {
	Name     string   // the name of its folder below shared/store
	Schemes  []string // a value of STORE begins with one of these and a colon
	Expected string   // the form of a value of STORE
	Example  string   // a value of STORE
	// Without is the build tag that excludes the driver from a deployed program. A driver without a
	// tag is for one machine, and no deployed program links it.
	Without string

	// locate checks the location of a value of STORE and returns it in the driver's form. text is
	// the whole value and rest is the part after the scheme.
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

// Expected describes the form of a value of STORE, for error messages.
func Expected() string {
	var forms []string
	for _, d := range table {
		forms = append(forms, d.Expected)
	}
	last := len(forms) - 1
	return strings.Join(forms[:last], ", ") + " or, " + forms[last]
}

// Parse returns the driver and the location that a value of STORE names. The location is in the
// form of the driver's Open: a database id, a URL, or the path of a file. If deployed is true,
// Parse rejects locations that only one machine can reach. The error continues a sentence that
// begins with STORE, and quotes nothing that may be secret.
func Parse(text string, deployed bool) (driver, location string, err error) {
	scheme, rest, found := strings.Cut(text, ":")
	for _, d := range table {
		if found && slices.Contains(d.Schemes, scheme) {
			location, err = d.locate(text, rest, deployed)
			return d.Name, location, err
		}
	}
	return "", "", errors.New("names no known store")
}

// Tags returns the build tags of a deployed program that uses the driver. They exclude the other
// drivers, and the parts of gRPC that keep the linker from dropping unused code (grpcnotrace). Less
// linked code means a faster start, because the variables of every linked package are initialized
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

// validDatabase reports whether id is a valid database id: 4 to 63 lower-case letters, digits and
// hyphens, with a letter first and no hyphen last
// (https://cloud.google.com/firestore/docs/manage-databases#database_id).
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
		// A host may be a Unix socket: a folder or an abstract name
		// (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-HOST).
		socket := strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@")
		if deployed && (weburl.MayBeLoopback(host) || socket && !strings.HasPrefix(host, "/cloudsql/")) {
			return "", ErrLoopback
		}
	}
	return text, nil
}

// ParsePostgres returns the query and the hosts of a PostgreSQL URL. It is the only check of such
// URLs. They must name a database and a host, or a Unix socket in the query, because without a host
// drivers would use this machine. The error quotes nothing of the URL, which may contain a
// password.
func ParsePostgres(text string) (query url.Values, hosts []string, err error) {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "postgres" && u.Scheme != "postgresql", u.Opaque != "", u.Fragment != "",
		// A password that is not escaped may become part of the database name, which errors quote.
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
		return nil, nil, errors.New("has hostaddr, which the driver ignores; use host, which accepts addresses too")
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
		return "", errors.New("names a file of this machine, and on Google Cloud every instance is another machine")
	}
	return path, nil
}
