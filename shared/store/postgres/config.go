package postgres

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/casewatch/casewatch/shared/store/drivers"
)

// What a DSN can set by the parameter named, and what it is unless it does.
const (
	// pool_max_conns: most functions serve few requests at once, and a statement takes a millisecond
	maxConns       = 4
	connectTimeout = 10 * time.Second // connect_timeout
	idleTime       = 5 * time.Minute  // pool_max_conn_idle_time
	pingTimeout    = 2 * time.Second  // pool_ping_timeout: a connection that does not answer in that time is dead
)

// parse returns what the DSN means. No error holds any of it that could be a secret.
func parse(dsn string) (*pgxpool.Config, *cloudSQL, error) {
	query, _, err := drivers.ParsePostgres(dsn)
	if err != nil {
		return nil, nil, fmt.Errorf("the DSN %w", err)
	}
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, nil, fmt.Errorf("the DSN cannot be used: %s", reason(err, dsn))
	}
	if !query.Has("pool_max_conns") {
		config.MaxConns = maxConns
	}
	if config.MaxConns < 2 {
		return nil, nil, errors.New(
			"the DSN cannot be used: pool_max_conns is below 2; while somebody waits, one connection listens",
		)
	}
	if !query.Has("pool_max_conn_idle_time") {
		config.MaxConnIdleTime = idleTime
	}
	config.PingTimeout = cmp.Or(config.PingTimeout, pingTimeout)
	conn := config.ConnConfig
	conn.ConnectTimeout = cmp.Or(conn.ConnectTimeout, connectTimeout)
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "casewatch"
	}
	ip := conn.RuntimeParams[ipParameter]
	delete(conn.RuntimeParams, ipParameter) // the server must not see it
	sql, err := newCloudSQL(&conn.Config, ip)
	if err != nil {
		return nil, nil, fmt.Errorf("the DSN cannot be used: %w", err)
	}
	if sql != nil {
		conn.DialFunc = sql.dial
	}
	return config, sql, nil
}

// reason is what pgx says about a DSN, without the DSN, which it quotes.
func reason(err error, dsn string) string {
	hidden := "one of its parameters is not valid"
	said, ok := errors.AsType[*pgconn.ParseConfigError](err)
	if !ok {
		return hidden
	}
	_, text, found := strings.Cut(said.Error(), "`: ")
	u, _ := url.Parse(dsn) // parsed before
	password, _ := u.User.Password()
	if cmp.Or(password, u.Query().Get("password")) == "" {
		password = dsn
	}
	for _, secret := range []string{password, u.Query().Get("password"), u.Query().Get("sslpassword"), dsn} {
		if secret != "" && strings.Contains(text, secret) {
			found = false
		}
	}
	if !found {
		return hidden
	}
	return text
}
