package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/casewatch/casewatch/shared/weburl"
)

var errLoopback = errors.New("names this machine; on Google Cloud nothing but the function runs there")

// The errors here never quote an address as it came: it may hold a password.

func pipelineURL(f field[string]) value {
	return absoluteURL(f, "an absolute http or https URL without user, query and fragment, such as https://pipeline.example.com", false)
}

func functionURL(f field[string]) value {
	return absoluteURL(f, "an absolute https URL (http too off Google Cloud) without user, query and fragment", true)
}

// absoluteURL is stored without the slashes at its end.
func absoluteURL(f field[string], expects string, secure bool) value {
	return value{expects: expects, parse: func(c *Config, text string) error {
		u, err := c.address(text, secure)
		if err != nil {
			return err
		}
		*f(c) = strings.TrimRight(u.String(), "/")
		return nil
	}}
}

// address reads an absolute http or https URL; secure refuses http on Google Cloud.
func (c *Config) address(text string, secure bool) (*url.URL, error) {
	u, err := weburl.ParseBase(text)
	switch {
	case err != nil:
		return nil, err
	case c.OnGoogleCloud && weburl.MayBeLoopback(u.Hostname()):
		return nil, errLoopback
	case c.OnGoogleCloud && secure && u.Scheme != "https":
		return nil, errors.New("is not https, and this runs on Google Cloud")
	}
	return u, nil
}

func storeLocation() value {
	expects := "firestore:, firestore:DATABASE, postgres://USER@HOST/DATABASE or, on one machine, sqlite:PATH"
	return value{expects: expects, parse: func(c *Config, text string) error {
		kind, rest, found := strings.Cut(text, ":")
		switch {
		case found && kind == "firestore":
			return c.firestore(rest)
		case found && (kind == "postgres" || kind == "postgresql"):
			return c.postgres(text)
		case found && kind == "sqlite":
			return c.sqlite(rest)
		}
		return errors.New("names no store that there is")
	}}
}

func (c *Config) firestore(database string) error {
	if database == "" {
		database = "(default)"
	}
	if !databaseID(database) {
		return fmt.Errorf("names no valid Firestore database, %.80q", database)
	}
	c.Store = Store{Kind: Firestore, Database: database}
	return nil
}

// postgres takes a URL that names its host, as host or, for a Unix socket, in its query: without
// one, drivers fall back to this machine.
func (c *Config) postgres(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "":
		return errors.New("is not a postgres:// URL")
	case u.Host != "" && !weburl.ValidHost(u):
		return errors.New("names no valid host")
	case strings.Trim(u.Path, "/") == "":
		return errors.New("names no database")
	case u.Fragment != "":
		return errors.New("has a fragment; # in a password is written %23")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("has a query that cannot be read")
	}
	if query.Has("hostaddr") {
		return errors.New("has hostaddr, which the driver does not heed; host takes addresses too")
	}
	hosts := strings.Split(u.Hostname(), ",")
	if h := query.Get("host"); h != "" {
		hosts = strings.Split(h, ",")
	}
	for _, host := range hosts {
		if host == "" {
			return errors.New("names no host")
		}
		if c.OnGoogleCloud && (weburl.MayBeLoopback(host) || isSocket(host) && !strings.HasPrefix(host, "/cloudsql/")) {
			return errLoopback
		}
	}
	c.Store = Store{Kind: Postgres, DSN: NewSecret(text)}
	return nil
}

// isSocket reports whether a host of PostgreSQL is a Unix socket: a folder, or an abstract name
// (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-HOST).
func isSocket(host string) bool { return strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") }

func (c *Config) sqlite(path string) error {
	switch {
	case path == "":
		return errors.New("names no file")
	case c.OnGoogleCloud:
		return errors.New("names a file of this machine, and on Google Cloud each instance is another one")
	}
	c.Store = Store{Kind: SQLite, Path: path}
	return nil
}

func emulator(f field[string]) value {
	return value{expects: "host:port, or nothing on Google Cloud", parse: func(c *Config, text string) error {
		if c.OnGoogleCloud {
			return errors.New("is set, and this runs on Google Cloud")
		}
		host, port, err := net.SplitHostPort(text)
		if n, perr := strconv.Atoi(port); err != nil || host == "" || perr != nil || n < 1 || n > 65535 {
			return quoted(text)
		}
		*f(c) = text
		return nil
	}}
}
