package postgres

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzParse: whatever the DSN is, it is understood or refused without its password.
func FuzzParse(f *testing.F) {
	for _, query := range []string{
		"", "sslmode=require", "pool_max_conns=1", "host=/cloudsql/p:r:i", "connect_timeout=x",
		"pool_max_conn_idle_time=-1", "password=%00", "sslrootcert=/x", "target_session_attrs=any",
		"options=-c%20a",
	} {
		f.Add("hunter2hunter2", "db.example:5432", "cases", query)
	}
	f.Fuzz(func(t *testing.T, password, host, database, query string) {
		for _, dsn := range []string{
			(&url.URL{Scheme: "postgres", User: url.UserPassword("u", password), Host: host, Path: "/" + database,
				RawQuery: query}).String(),
			"postgres://u:" + password + "@" + host + "/" + database + "?" + query,
		} {
			config, _, err := parse(dsn)
			if err == nil && (config.MaxConns < 2 || config.ConnConfig.ConnectTimeout <= 0) {
				t.Errorf("%q is %+v", dsn, config)
			}
			if err != nil && len(password) > 12 && !strings.ContainsAny(password, " :/") &&
				strings.Contains(err.Error(), password) {
				t.Errorf("%q is told: %v", dsn, err)
			}
		}
	})
}
