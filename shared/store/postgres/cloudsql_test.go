package postgres

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/cloudsqlconn"
	"golang.org/x/oauth2"

	"github.com/casewatch/casewatch/shared/store/postgres/postgrestest"
)

func TestCloudSQLConfig(t *testing.T) {
	for _, test := range []struct {
		name, dsn, instance string
		iam                 bool
	}{
		{"a password", "postgres://u:p@/d?host=/cloudsql/my-project:europe-west1:main",
			"my-project:europe-west1:main", false},
		{"a service account",
			"postgres://sa%40my-project.iam@/d?host=/cloudsql/my-project:europe-west1:main&cloudsql_ip=private",
			"my-project:europe-west1:main", true},
		{"a project of a domain", "postgres://u:p@/d?host=/cloudsql/example.com:my-project:us-east1:db",
			"example.com:my-project:us-east1:db", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("PGPASSWORD", "")
			c, sql, err := parse(test.dsn)
			if err != nil {
				t.Fatal(err)
			}
			if sql.instance != test.instance || sql.iam != test.iam || sql.dialer != nil {
				t.Errorf(
					"instance %q, with the service account's token %v, dialer made %v",
					sql.instance,
					sql.iam,
					sql.dialer != nil,
				)
			}
			if _, sent := c.ConnConfig.RuntimeParams[ipParameter]; sent || c.ConnConfig.TLSConfig != nil ||
				len(c.ConnConfig.Fallbacks) > 0 {
				t.Errorf(
					"the server is sent %v; TLS twice: %v",
					c.ConnConfig.RuntimeParams,
					c.ConnConfig.TLSConfig != nil,
				)
			}
			if err := sql.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestCloudSQLCredentials: without credentials nothing is opened, and it is tried again.
func TestCloudSQLCredentials(t *testing.T) {
	sql := &cloudSQL{
		instance: "p:r:i",
		options:  []cloudsqlconn.Option{cloudsqlconn.WithCredentialsFile("/nowhere.json")},
	}
	for range 2 {
		if conn, err := sql.dial(t.Context(), "unix", "/cloudsql/p:r:i"); err == nil ||
			!strings.Contains(err.Error(), "nowhere.json") {
			t.Errorf("dialled %v, error %v", conn, err)
		}
	}
	if err := sql.close(); err != nil {
		t.Error(err)
	}
}

// fakeCloudSQL is Google's API for one instance, and the instance's own TLS entrance before a PostgreSQL server.
type fakeCloudSQL struct {
	api     *httptest.Server
	entry   net.Listener
	socket  string // of the PostgreSQL server
	ca      *x509.Certificate
	key     *ecdsa.PrivateKey
	dialled atomic.Value // the address that the connector asked for
	login   atomic.Value // the token in the request for a certificate
	conns   atomic.Int64
	all     sync.WaitGroup
}

func newFakeCloudSQL(t *testing.T, socket string) *fakeCloudSQL {
	t.Helper()
	f := &fakeCloudSQL{socket: socket}
	var err error
	if f.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	ca := f.certificate(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, f.key.Public())
	if f.ca, err = x509.ParseCertificate(ca); err != nil {
		t.Fatal(err)
	}
	server := f.certificate(t, &x509.Certificate{Subject: pkix.Name{CommonName: "my-project:main"}}, f.key.Public())
	clients := x509.NewCertPool()
	clients.AddCert(f.ca)
	f.entry, err = tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{server}, PrivateKey: f.key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: clients, MinVersion: tls.VersionTLS13,
	})
	if err != nil {
		t.Fatal(err)
	}
	f.all.Go(f.serve)
	mux := http.NewServeMux()
	mux.HandleFunc(
		"GET /sql/v1beta4/projects/my-project/instances/main/connectSettings",
		func(w http.ResponseWriter, _ *http.Request) {
			answer(w, map[string]any{
				"kind": "sql#connectSettings", "region": "europe-west1",
				"backendType": "SECOND_GEN", "databaseVersion": "POSTGRES_15",
				"ipAddresses": []any{
					map[string]any{"type": "PRIMARY", "ipAddress": "192.0.2.1"},
					map[string]any{"type": "PRIVATE", "ipAddress": "10.0.0.1"},
				},
				"serverCaCert": map[string]any{"cert": pemOf(f.ca.Raw)},
			})
		},
	)
	mux.HandleFunc(
		"POST /sql/v1beta4/projects/my-project/instances/{verb}",
		func(w http.ResponseWriter, r *http.Request) {
			var ask struct {
				PublicKey   string `json:"public_key"`
				AccessToken string `json:"access_token"`
			}
			block, _ := pem.Decode(nil)
			if json.NewDecoder(r.Body).Decode(&ask) == nil {
				block, _ = pem.Decode([]byte(ask.PublicKey))
			}
			if block == nil || r.PathValue("verb") != "main:generateEphemeralCert" {
				http.Error(w, "no such thing", http.StatusNotFound)
				return
			}
			key, err := x509.ParsePKIXPublicKey(block.Bytes)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			f.login.Store(ask.AccessToken)
			cert := f.certificate(
				t,
				&x509.Certificate{
					Subject:     pkix.Name{CommonName: "client"},
					ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
				},
				key,
			)
			answer(w, map[string]any{"ephemeralCert": map[string]any{"cert": pemOf(cert)}})
		},
	)
	f.api = httptest.NewServer(mux)
	t.Cleanup(func() {
		f.api.Close()
		f.entry.Close()
		f.all.Wait()
	})
	return f
}

func answer(w http.ResponseWriter, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

func pemOf(cert []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
}

// certificate is signed by the instance's authority, or by itself if that is not made yet.
func (f *fakeCloudSQL) certificate(t *testing.T, c *x509.Certificate, key any) []byte {
	t.Helper()
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent := f.ca
	if parent == nil {
		parent = c
	}
	cert, err := x509.CreateCertificate(rand.Reader, c, parent, key, f.key)
	if err != nil {
		t.Error(err)
	}
	return cert
}

// serve passes connections on to the server.
func (f *fakeCloudSQL) serve() {
	for {
		in, err := f.entry.Accept()
		if err != nil {
			return
		}
		f.conns.Add(1)
		out, err := net.Dial("unix", f.socket)
		if err != nil {
			in.Close()
			continue
		}
		for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
			f.all.Go(func() {
				_, _ = io.Copy(way[0], way[1])
				way[0].Close()
				way[1].Close()
			})
		}
	}
}

// options lead the connector to the fake.
func (f *fakeCloudSQL) options(iam bool) []cloudsqlconn.Option {
	token := func(name string) oauth2.TokenSource {
		return oauth2.StaticTokenSource(&oauth2.Token{AccessToken: name, Expiry: time.Now().Add(time.Hour)})
	}
	own := []cloudsqlconn.Option{
		cloudsqlconn.WithAdminAPIEndpoint(f.api.URL), cloudsqlconn.WithHTTPClient(f.api.Client()),
		cloudsqlconn.WithDialFunc(func(ctx context.Context, _, address string) (net.Conn, error) {
			f.dialled.Store(address)
			return (&net.Dialer{}).DialContext(ctx, "tcp", f.entry.Addr().String())
		}),
	}
	if iam {
		return append(own, cloudsqlconn.WithIAMAuthNTokenSources(token("api"), token("login")))
	}
	return append(own, cloudsqlconn.WithTokenSource(token("api")))
}

// TestCloudSQL opens a store through the connector: a certificate from Google's API, TLS to the
// instance's address, and PostgreSQL behind it.
func TestCloudSQL(t *testing.T) {
	t.Setenv("PGPASSWORD", "")
	for _, test := range []struct{ name, user, ip, address, login string }{
		{"a password", "postgres:any", "", "192.0.2.1:3307", ""},
		{"a service account, private", "postgres", "private", "10.0.0.1:3307", "login"},
	} {
		t.Run(test.name, func(t *testing.T) {
			u, err := url.Parse(postgrestest.Start(t))
			if err != nil {
				t.Fatal(err)
			}
			f := newFakeCloudSQL(t, u.Query().Get("host")+"/.s.PGSQL.5432")
			dsn := fmt.Sprintf("postgres://%s@%s?host=/cloudsql/my-project:europe-west1:main", test.user, u.Path)
			if test.ip != "" {
				dsn += "&cloudsql_ip=" + test.ip
			}
			config, sql, err := parse(dsn)
			if err != nil {
				t.Fatal(err)
			}
			sql.options = append(sql.options, f.options(sql.iam)...)
			s, err := open(t.Context(), config, sql)
			if err != nil {
				t.Fatal(err)
			}
			defer closeStore(t, s)
			c := save(t, s, "a")
			done := wait(t.Context(), s, c)
			eventually(t, "it listens", func() bool { return s.pool.Stat().AcquiredConns() == 1 })
			if err := s.Update(t.Context(), after(c)); err != nil {
				t.Fatal(err)
			}
			ends(t, done, nil)
			if f.conns.Load() == 0 || f.dialled.Load() != test.address || f.login.Load() != test.login {
				t.Errorf("%d connections, to %v, logged in by %q", f.conns.Load(), f.dialled.Load(), f.login.Load())
			}
		})
	}
	t.Run("an instance that is not there", func(t *testing.T) {
		f := newFakeCloudSQL(t, "/nowhere")
		config, sql, err := parse("postgres://u:hunter2@/d?host=/cloudsql/my-project:europe-west1:other")
		if err != nil {
			t.Fatal(err)
		}
		sql.options = append(sql.options, f.options(false)...)
		if s, err := open(t.Context(), config, sql); err == nil ||
			!strings.Contains(err.Error(), "my-project:europe-west1:other") ||
			strings.Contains(err.Error(), "hunter2") {
			t.Errorf("opened %v, error %v", s, err)
		}
	})
}
