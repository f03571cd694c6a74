package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/casewatch/casewatch/shared/store"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name, query string
		maxConns    int32
		idle        time.Duration
		connect     time.Duration
		application string
	}{
		{"nothing said", "", 4, 5 * time.Minute, 10 * time.Second, "casewatch"},
		{"all said", "?pool_max_conns=9&pool_max_conn_idle_time=7s&connect_timeout=3&application_name=me", 9,
			7 * time.Second, 3 * time.Second, "me"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, sql, err := parse("postgresql://u:p%40ss@db.example.com:6432/cases" + test.query)
			if err != nil || sql != nil {
				t.Fatalf("Cloud SQL %v, error %v", sql, err)
			}
			if c.MaxConns != test.maxConns || c.MaxConnIdleTime != test.idle || c.MinConns != 0 ||
				c.MinIdleConns != 0 ||
				c.PingTimeout != pingTimeout {
				t.Errorf("pool of %d to %d, idle %v, ping %v", c.MinConns, c.MaxConns, c.MaxConnIdleTime, c.PingTimeout)
			}
			conn := c.ConnConfig
			if conn.Host != "db.example.com" || conn.Port != 6432 || conn.Database != "cases" || conn.User != "u" ||
				conn.Password != "p@ss" ||
				conn.ConnectTimeout != test.connect ||
				conn.RuntimeParams["application_name"] != test.application {
				t.Errorf(
					"connects to %s:%d/%s as %s within %v, called %q",
					conn.Host,
					conn.Port,
					conn.Database,
					conn.User,
					conn.ConnectTimeout,
					conn.RuntimeParams["application_name"],
				)
			}
		})
	}
}

// TestParseRefuses: what is wrong is said, and no secret with it.
func TestParseRefuses(t *testing.T) {
	const secret = "hunter2"
	for _, test := range []struct{ name, dsn, want string }{
		{"nothing", "", "not a postgres:// URL"},
		{"another scheme", "mysql://u:" + secret + "@h/d", "not a postgres:// URL"},
		{"words", "host=h password=" + secret, "not a postgres:// URL"},
		{"a password not escaped", "postgres://u:1/" + secret + "@h/d", "in a password"},
		{"a number sign not escaped", "postgres://u:1#" + secret + "@h/d", "not a postgres:// URL"},
		{"a percent not escaped", "postgres://u:%zz" + secret + "@h/d", "not a postgres:// URL"},
		{"a query that is none", "postgres://u:" + secret + "@h/d?a=%zz", "query"},
		{"an unknown sslmode", "postgres://u:" + secret + "@h/d?sslmode=perhaps", "sslmode"},
		{"a secret for an sslmode", "postgres://u:" + secret + "@h/d?sslmode=" + secret, "cannot be used"},
		{"a secret for a number", "postgres://u@h/d?connect_timeout=" + secret + "&password=" + secret,
			"cannot be used"},
		{"too large a pool", "postgres://u:" + secret + "@h/d?pool_max_conns=many", "pool_max_conns"},
		{"too small a pool", "postgres://u:" + secret + "@h/d?pool_max_conns=1", "below 2"},
		{"two instances", "postgres://u:" + secret + "@/d?host=/cloudsql/p:r:i,/cloudsql/p:r:j", "one /cloudsql/"},
		{"half an instance", "postgres://u:" + secret + "@/d?host=/cloudsql/p:r", "one /cloudsql/"},
		{"an instance without a name", "postgres://u:" + secret + "@/d?host=/cloudsql/p:r:", "one /cloudsql/"},
		{"a socket below an instance", "postgres://u:" + secret + "@/d?host=/cloudsql/p:r:i/.s.PGSQL.5432",
			"one /cloudsql/"},
		{"an unknown way", "postgres://u:" + secret + "@/d?host=/cloudsql/p:r:i&cloudsql_ip=ipv9",
			"public, private, psc or auto"},
		{"a way to nowhere", "postgres://u:" + secret + "@h/d?cloudsql_ip=private", "names no instance"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := Open(t.Context(), store.Options{Location: test.dsn})
			if err == nil {
				closeStore(t, s)
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), secret) {
				t.Errorf("error %q does not say %q, or says too much", err, test.want)
			}
		})
	}
}
