package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"cloud.google.com/go/cloudsqlconn"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	socketFolder = "/cloudsql/"  // where Cloud Run puts the sockets of instances, and so how its users name them
	ipParameter  = "cloudsql_ip" // of the DSN
)

// ipTypes are the ways to an instance, by the value of ipParameter.
var ipTypes = map[string]cloudsqlconn.DialOption{
	"public": cloudsqlconn.WithPublicIP(), "private": cloudsqlconn.WithPrivateIP(),
	"psc": cloudsqlconn.WithPSC(), "auto": cloudsqlconn.WithAutoIP(),
}

// cloudSQL dials an instance of Cloud SQL. The connector is made at the first dial that can make
// it: that looks for credentials.
type cloudSQL struct {
	instance string // project:region:name
	iam      bool   // log in with the service account's token
	options  []cloudsqlconn.Option

	mu     sync.Mutex
	dialer *cloudsqlconn.Dialer
}

// newCloudSQL returns nil if the configuration names no instance.
func newCloudSQL(config *pgconn.Config, ip string) (*cloudSQL, error) {
	name, found := strings.CutPrefix(config.Host, socketFolder)
	if !found {
		if ip != "" {
			return nil, fmt.Errorf("%s is set, but host names no instance of Cloud SQL", ipParameter)
		}
		return nil, nil //nolint:nilnil // that there is none is no fault
	}
	parts := strings.Split(name, ":") // a project may be "example.com:name"
	if len(config.Fallbacks) > 0 || len(parts) < 3 || len(parts) > 4 || slices.Contains(parts, "") ||
		strings.ContainsAny(name, "/,") {
		return nil, errors.New("host is to be one /cloudsql/PROJECT:REGION:INSTANCE")
	}
	c := &cloudSQL{instance: name, iam: config.Password == ""}
	c.options = []cloudsqlconn.Option{
		// certificates are renewed by the dial that needs them, not in the background
		cloudsqlconn.WithLazyRefresh(),
		cloudsqlconn.WithBuiltInMetrics(false),  // which are sent in the background too
		cloudsqlconn.WithUserAgent("casewatch"), // shown in the instance's audit log
	}
	if c.iam {
		c.options = append(c.options, cloudsqlconn.WithIAMAuthN())
	}
	if ip != "" {
		way, known := ipTypes[ip]
		if !known {
			return nil, fmt.Errorf("%s is to be public, private, psc or auto", ipParameter)
		}
		c.options = append(c.options, cloudsqlconn.WithDefaultDialOptions(way))
	}
	return c, nil
}

// dial connects to the instance, whatever the address.
func (c *cloudSQL) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	d, err := c.connector(ctx)
	if err != nil {
		return nil, fmt.Errorf("preparing to connect to Cloud SQL: %w", err)
	}
	conn, err := d.Dial(ctx, c.instance)
	if err != nil {
		return nil, fmt.Errorf("connecting to Cloud SQL instance %s: %w", c.instance, err)
	}
	return conn, nil
}

// connector outlives the request that makes it.
func (c *cloudSQL) connector(ctx context.Context) (*cloudsqlconn.Dialer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dialer != nil {
		return c.dialer, nil
	}
	d, err := cloudsqlconn.NewDialer(context.WithoutCancel(ctx), c.options...)
	if err == nil {
		c.dialer = d
	}
	return d, err
}

func (c *cloudSQL) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dialer == nil {
		return nil
	}
	return c.dialer.Close()
}
