package config_test

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/store/drivers"
)

// values are, per setting, texts that are accepted and texts that are not, where nothing is on
// Google Cloud.
var values = map[string]struct{ good, bad []string }{
	"PIPELINE_API_URL": {
		good: []string{
			"http://127.0.0.1:8000",
			"http://localhost",
			"https://p.example/base/",
			"http://[::1]:8000",
			"http://my_host:1",
			"https://10.0.0.7",
		},
		bad: []string{
			"http://[fe80::1%25eth0]:8000",
			"p.example",
			"/api",
			"ftp://p",
			"http://",
			"http://:8000",
			"https:p",
			"http://u@h",
			"http://h?x=1",
			"http://h?",
			"http://h#x",
			"http://h#",
			"http://h:0",
			"http://h:65536",
			"http://h:",
			"http://h:x",
			"http://h h",
			"http://127.1",
			"http://2130706433",
			"http://0x7f.1",
			"http://1.2.3.4.5",
			"http://-h",
			"http://%zz",
		},
	},
	"PIPELINE_API_KEY":    {good: []string{"k", "a,b=c;"}, bad: []string{"a b", "ö", "a\tb"}},
	"PIPELINE_AUTH":       {good: []string{"none", "oidc"}, bad: []string{"None", "basic"}},
	"PIPELINE_IDEMPOTENT": {good: []string{"true", "false"}, bad: []string{"TRUE", "1", "yes", "t"}},
	"PIPELINE_TIMEOUT": {
		good: []string{"1ms", "30m"},
		bad:  []string{"30m1s", "0", "-1s", "1", "1us", "inf", "NaN", "1d", "99999999999h"},
	},
	"CASE_DEADLINE":      {good: []string{"1s", "24h"}, bad: []string{"0s", "-1h", "697h", "x"}},
	"MAX_DEADLINE":       {good: []string{"1h", "696h"}, bad: []string{"0s", "697h"}},
	"CHECK_MIN_INTERVAL": {good: []string{"100ms", "30s"}, bad: []string{"0s", "25h"}},
	"CHECK_MAX_INTERVAL": {good: []string{"2s", "24h"}, bad: []string{"0s", "25h"}},
	"CHECK_TIMEOUT":      {good: []string{"1s", "30m"}, bad: []string{"0s", "31m"}},
	"START_GRACE":        {good: []string{"1s"}, bad: []string{"0s", "697h"}},
	"COMPLETION_GRACE":   {good: []string{"1s"}, bad: []string{"0s", "697h"}},
	"STALL_AFTER":        {good: []string{"1s"}, bad: []string{"0s", "697h"}},
	"UNREACHABLE_AFTER":  {good: []string{"1s"}, bad: []string{"0s", "697h"}},
	"STREAM_HOLD":        {good: []string{"1s", "1h"}, bad: []string{"0s", "61m"}},
	"RETENTION":          {good: []string{"48h", "43800h"}, bad: []string{"47h59m", "43801h"}},
	"FORM_RETENTION":     {good: []string{"1h"}, bad: []string{"0s", "43801h"}},
	"STORE": {
		good: []string{
			"firestore:",
			"firestore:(default)",
			"firestore:cases-1",
			"postgres://u:p@h/db",
			"postgresql://h:5432/db?sslmode=require",
			"postgres://u@/db?host=/cloudsql/p:r:i",
			"postgres://localhost/db",
			"sqlite:x",
			"sqlite:/var/lib/x.db",
		},
		bad: []string{
			"firestore",
			"firestore:UP",
			"firestore:a/b",
			"memory",
			"mysql://h/db",
			"postgres:h",
			"postgres:///db",
			"postgres://h",
			"postgres://h/",
			"postgres://h:99999/db",
			"postgres://127.1/db",
			"postgres://h/db?host=%zz",
			"postgres://h/db#x",
			"postgres://u:p@h h/db",
			"postgres:///db?host=",
			"postgres:///db?hostaddr=10.1.2.3",
			"postgres://h/db?hostaddr=10.1.2.3",
			"sqlite:",
		},
	},
	"GOOGLE_CLOUD_PROJECT": {
		good: []string{"demo-p", "p", "example.com:proj"},
		bad:  []string{"Demo", "1p", "p-", "p/q", "p q"},
	},
	"TASKS_LOCATION":       {good: []string{"us-central1"}, bad: []string{"US", "us_central1", "u", "us/1"}},
	"CHECK_QUEUE":          {good: []string{"Q-1"}, bad: []string{"q_1", "q/1", strings.Repeat("q", 97)}},
	"DISPATCH_QUEUE":       {good: []string{"Q-2"}, bad: []string{"q_2", "é", strings.Repeat("q", 97)}},
	"QUEUE_SHARDS":         {good: []string{"1", "1000"}, bad: []string{"0", "1001", "-1", "1.5", "0x1"}},
	"DISPATCH_RATE":        {good: []string{"0.1", "500"}, bad: []string{"0", "-1", "500.1", "NaN", "Inf", "x"}},
	"DISPATCH_CONCURRENCY": {good: []string{"1", "5000"}, bad: []string{"0", "5001", "x"}},
	"PIPELINE_EVENTS_TOPIC": {
		good: []string{"abc"},
		bad:  []string{"ab", "1abc", "google-x", "a/b/c", "projects/p/topics/t"},
	},
	"ENDED_TOPIC":       {good: []string{"a.b_c~d+e%f-1"}, bad: []string{"ab", "goog", "a b c"}},
	"DEAD_LETTER_TOPIC": {good: []string{"dead"}, bad: []string{"no", strings.Repeat("x", 256)}},
	"START_URL": {
		good: []string{"http://localhost:8080/start", "https://s.example"},
		bad:  []string{"start", "https://s/?x", "ws://s"},
	},
	"STATUS_URL": {
		good: []string{"http://localhost:8080/status"},
		bad:  []string{"/status", "https://u:p@s"},
	},
	"CALLBACK_URL": {good: []string{"http://localhost:8080/callback"}, bad: []string{"callback", "https://s/?x"}},
	"CANCEL_URL":   {good: []string{"http://localhost:8080/cancel"}, bad: []string{"//s", "https://s/#x"}},
	"CHECK_URL":    {good: []string{"http://localhost:8080/check"}, bad: []string{"s:8080", "https://"}},
	"DISPATCH_URL": {
		good: []string{"http://localhost:8080/dispatch"},
		bad:  []string{"http:///x", "https://s:"},
	},
	"SWEEP_URL": {good: []string{"http://localhost:8080/sweep"}, bad: []string{"localhost"}},
	"TASKS_SERVICE_ACCOUNT": {
		good: []string{"a@b.iam.gserviceaccount.com"},
		bad:  []string{"a", "a@b", "serviceAccount:a@b.c", "a@b.c,d@e.f"},
	},
	"INVOKER_SERVICE_ACCOUNTS": {
		good: []string{"", "a@b.iam.gserviceaccount.com", "a@b.c, d@e.f,a@b.c"},
		bad:  []string{",", "a", "a@b", "a@b.c,", "serviceAccount:a@b.c", "a@b.c;d@e.f", "a b@c.d"},
	},
	"INVOKER_AUDIENCES": {good: []string{"", "https://x", "http://127.0.0.1:8080", "https://x/, https://y.example/z"},
		bad: []string{
			",",
			"x",
			"https://x,",
			"https://x,y",
			"/check",
			"https://u@x",
			"https://x?y",
			"https://x#y",
			"ftp://x",
			"https://",
		}},
	"INVOKER_ISSUER": {
		good: []string{
			"https://accounts.google.com",
			"http://127.0.0.1:8080/issuer",
			"http://localhost:1",
			"https://issuer.example/t/",
		},
		bad: []string{
			"accounts.google.com",
			"http://issuer.example",
			"https://issuer.example?x",
			"https://u@issuer.example",
			"https://a,https://b",
		},
	},
	"CONSOLE_USERS": {
		good: []string{"", "Operator@example.com", "a@b.c, d@e.f"},
		bad:  []string{"a@b.c,", "*", "somebody"},
	},
	"CONSOLE_AUDIENCES": {
		good: []string{
			"",
			"https://console.example.run.app",
			"/projects/1/locations/l/services/s,32555940559.apps.googleusercontent.com",
		},
		bad: []string{"a,", "a b", "ä"},
	},
	"ALLOWED_ORIGINS": {
		good: []string{"*", "https://a.example,http://localhost:3000", "https://a.example , https://b.example"},
		bad: []string{
			"*,https://a",
			"https://a/",
			"a.example",
			"https://A.example",
			"https://a:443",
			"http://a:80",
			"null",
			"https://a,,https://b",
			"https://*.example",
			"https://u@a",
			"https://a?x",
			"ftp://a",
		},
	},
	"ALLOW_ANONYMOUS": {good: []string{"true"}, bad: []string{"True", "on"}},
	"API_KEYS": {
		good: []string{
			strings.Repeat("k", 20),
			strings.Repeat("k", 20) + ", " + strings.Repeat("l", 21),
			"sha256:" + strings.Repeat("Ab", 32),
		},
		bad: []string{
			",",
			strings.Repeat("k", 20) + ",",
			strings.Repeat("k", 10) + " " + strings.Repeat("k", 10),
			"sha256:",
			"sha256:ab",
			"sha256:" + strings.Repeat("g", 64),
			strings.Repeat(
				"é",
				20,
			),
			strings.Repeat("k", 19),
			strings.Repeat("k", 20) + ",short",
			"sha256:" + strings.Repeat("Ab", 32) + ",k",
		},
	},
	"OIDC_ISSUER": {
		good: []string{
			"https://securetoken.google.com/demo-p",
			"https://tenant.eu.auth0.com/",
			"http://127.0.0.1:9099/x",
		},
		bad: []string{
			"securetoken.google.com/demo-p",
			"http://issuer.example",
			"https://issuer.example/?x=1",
			"https://issuer.example/#x",
			"https://u:p@issuer.example",
			"https:issuer.example",
			"https://accounts.google.com",
			"https://accounts.google.com/",
			"https://Accounts.Google.com",
			"https://accounts.google.com:443",
			"https://accounts.google.com.",
		},
	},
	"OIDC_AUDIENCE": {
		good: []string{"demo-p", "https://api.example/,client.id-1", "a, b"},
		bad:  []string{",", "a,", "a b", "é"},
	},
	"TOKEN_SECRET": {
		good: []string{strings.Repeat("x", 32), strings.Repeat("x", 32) + "," + strings.Repeat("y", 40)},
		bad:  []string{strings.Repeat("x", 31), strings.Repeat("x", 32) + ",y", strings.Repeat("x", 32) + ","},
	},
	"CLOUD_RUN_TIMEOUT_SECONDS": {good: []string{"3600"}, bad: []string{"0", "3601", "60s", "1e3", "-5"}},
	"CLOUD_TASKS_EMULATOR_HOST": {
		good: []string{"127.0.0.1:8123", "[::1]:1"},
		bad:  []string{"localhost", ":8123", "h:0", "h:x", "http://h:1"},
	},
	"PUBSUB_EMULATOR_HOST":    {good: []string{"localhost:8085"}, bad: []string{"localhost", "h:99999"}},
	"FIRESTORE_EMULATOR_HOST": {good: []string{"localhost:8086"}, bad: []string{"8086", "::1:8086"}},
}

// together is the least that works on one machine, with the settings that need one another.
func together() environment {
	return onePlace().with("INVOKER_AUDIENCES", "https://x", "OIDC_ISSUER", "https://issuer.example",
		"OIDC_AUDIENCE", "a", "CONSOLE_AUDIENCES", "a")
}

func TestEverySetting(t *testing.T) {
	for _, s := range config.Settings() {
		if s.Name == "PIPELINES" || s.Name == "PIPELINES_FILE" { // see pipelines_test.go
			continue
		}
		v, ok := values[s.Name]
		if !ok || len(v.good) == 0 || len(v.bad) == 0 {
			t.Errorf("%s has no good or no bad values here", s.Name)
		}
		for _, good := range v.good {
			if _, err := config.Load(config.Local, together().with(s.Name, good).lookup); err != nil {
				t.Errorf("%s=%q: %v", s.Name, good, err)
			}
		}
		bad := append(
			v.bad,
			" ",
			"\t",
			" "+v.good[0]+" x",
			v.good[0]+"\n",
			" "+v.good[0],
			v.good[0]+"\x00",
			v.good[0]+"\xff",
		)
		if !slices.Contains(v.good, "") {
			bad = append(bad, "")
		}
		for _, b := range bad {
			_, err := config.Load(config.Local, together().with(s.Name, b).lookup)
			if err == nil {
				t.Errorf("%s=%q is accepted", s.Name, b)
				continue
			}
			if got := faultNames(t, err); !slices.Contains(got, s.Name) || len(got) > 1 {
				t.Errorf("%s=%q: faults of %v", s.Name, b, got)
			}
			if !strings.Contains(err.Error(), "; expected "+s.Expected) {
				t.Errorf("%s=%q: the error does not say what is expected: %v", s.Name, b, err)
			}
		}
	}
	if len(values) != len(config.Settings())-2 {
		t.Errorf("%d settings are tested, %d exist", len(values), len(config.Settings()))
	}
}

func TestThisMachineIsRefusedOnGoogleCloud(t *testing.T) {
	hosts := []string{
		"localhost",
		"LOCALHOST",
		"localhost.",
		"a.localhost",
		"127.0.0.1",
		"127.8.9.10",
		"[::1]",
		"0.0.0.0",
		"0.1.2.3",
		"[::]",
		"[::ffff:127.0.0.1]",
		"[::ffff:7f00:1]",
		"[0:0:0:0:0:0:0:1]",
		"[::ffff:0.0.0.0]",
		"localhost.localdomain",
		"ip6-localhost",
	}
	urls := []string{}
	for _, s := range config.Settings() {
		if strings.HasSuffix(s.Name, "_URL") {
			urls = append(urls, s.Name)
		}
	}
	if len(urls) != 8 {
		t.Fatalf("URL settings: %v", urls)
	}
	for _, host := range hosts {
		for _, name := range urls {
			for _, port := range []string{"", ":8000"} {
				value := "https://" + host + port
				_, err := config.Load(config.Local, onCloud().with(name, value).lookup)
				if err == nil || !slices.Equal(faultNames(t, err), []string{name}) ||
					!strings.Contains(err.Error(), "this machine") {
					t.Errorf("%s=%s: %v", name, value, err)
				}
				if _, err := config.Load(config.Local, onePlace().with(name, value).lookup); err != nil {
					t.Errorf("elsewhere %s=%s: %v", name, value, err)
				}
			}
		}
		for _, dsn := range []string{
			"postgres://u:p@" + host + "/db", "postgres://h/db?host=" + strings.Trim(host, "[]"),
			"postgres://" + host + "/db?hostaddr=10.1.2.3",
		} {
			if _, err := config.Load("sweep", onCloud().with("STORE", dsn).lookup); err == nil {
				t.Errorf("STORE=%s is accepted on Google Cloud", dsn)
			}
		}
	}
	for _, folder := range []string{"/var/run/postgresql", "/tmp", "@abstract", "/cloudsql"} {
		env := onCloud().with("STORE", "postgres://u:p@/db?host="+folder)
		if _, err := config.Load("sweep", env.lookup); err == nil {
			t.Errorf("a socket in %s is accepted on Google Cloud", folder)
		}
	}
	for _, host := range []string{"localhost.example.com", "notlocalhost", "128.0.0.1", "[2001:db8::1]", "10.1.2.3"} {
		if _, err := config.Load("check", onCloud().with("PIPELINE_API_URL", "http://"+host).lookup); err != nil {
			t.Errorf("PIPELINE_API_URL of %s: %v", host, err)
		}
	}
	for _, name := range []string{"CLOUD_TASKS_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST"} {
		_, err := config.Load("sweep", onCloud().with(name, "emulator:8085").lookup)
		if err == nil || !slices.Equal(faultNames(t, err), []string{name}) {
			t.Errorf("%s on Google Cloud: %v", name, err)
		}
	}
	for _, name := range []string{"INVOKER_ISSUER", "OIDC_ISSUER", "INVOKER_AUDIENCES"} {
		for _, value := range []string{
			"http://127.0.0.1:8080", "https://127.0.0.1:8080", "https://localhost", "http://issuer.example",
		} {
			_, err := config.Load(config.Local, onCloud().with(name, value).lookup)
			if err == nil || !slices.Equal(faultNames(t, err), []string{name}) {
				t.Errorf("%s=%s on Google Cloud: %v", name, value, err)
			}
		}
	}
	_, err := config.Load("check", onCloud().with("INVOKER_ISSUER", "https://issuer.example").lookup)
	if err == nil || !slices.Equal(faultNames(t, err), []string{"INVOKER_ISSUER"}) ||
		!strings.Contains(err.Error(), "https://accounts.google.com") {
		t.Errorf("another issuer than Google on Google Cloud: %v", err)
	}
	for _, dsn := range []string{
		"postgres://casewatch@/cases?host=/cloudsql/example-project:us-central1:main",
		"postgres://u:p%23@/cases?host=/cloudsql/example.com:proj:europe-west1:main&sslmode=disable",
	} {
		c, err := config.Load("sweep", onCloud().with("STORE", dsn).lookup)
		if err != nil || c.Store.Driver != drivers.Postgres || c.Store.Location.Reveal() != dsn {
			t.Errorf("STORE=%s: %+v, %v", dsn, c, err)
		}
	}
	for _, name := range urls[1:] {
		if _, err := config.Load(config.Local, onCloud().with(name, "http://x.example.com").lookup); err == nil {
			t.Errorf("%s is accepted without TLS on Google Cloud", name)
		}
	}
}

func TestWhatValuesBecome(t *testing.T) {
	env := onePlace().with(
		"PIPELINE_API_URL", "https://p.example/base//", "STATUS_URL", "http://localhost:8080/status/",
		"STORE", "postgres://u:p@h/db",
		"API_KEYS", "plain-plain-plain-plain, sha256:"+fmt.Sprintf("%X", sha256.Sum256([]byte("hashed"))),
		"ALLOWED_ORIGINS", "https://a.example, https://b.example,https://a.example",
		"CONSOLE_USERS", "Operator@Example.com, a@b.c,operator@example.com",
		"CONSOLE_AUDIENCES", "https://console.example, /projects/1/locations/l/services/s",
		"INVOKER_SERVICE_ACCOUNTS", "a@b.c, d@e.f,a@b.c",
		"INVOKER_AUDIENCES", "https://x.example/,http://127.0.0.1:8080",
		"OIDC_ISSUER", "https://t.auth0.com/", "OIDC_AUDIENCE", "one, two",
		"DISPATCH_RATE", "2.5", "CLOUD_RUN_TIMEOUT_SECONDS", "3000",
		"PUBSUB_EMULATOR_HOST", "localhost:8085", "CASE_DEADLINE", "90m")
	c, err := config.Load(config.Local, env.lookup)
	if err != nil {
		t.Fatal(err)
	}
	got := []any{
		c.Pipeline.URL,
		c.URLs.Status,
		c.Store.Driver,
		c.Store.Location.Reveal(),
		c.Access.AllowedOrigins,
		c.Queue.Rate,
		c.RequestTimeout,
		c.Emulators.PubSub,
		c.Rules.CaseDeadline,
		c.Access.Invokers,
		c.Access.InvokerTokens,
		c.Access.OIDC,
		c.Access.ConsoleUsers,
		c.Access.ConsoleAudiences,
	}
	want := []any{"https://p.example/base", "http://localhost:8080/status", drivers.Postgres, "postgres://u:p@h/db",
		[]string{"https://a.example", "https://b.example"}, 2.5, 50 * time.Minute, "localhost:8085", 90 * time.Minute,
		[]string{
			"a@b.c",
			"d@e.f",
		}, config.Tokens{
			Issuer:    "https://accounts.google.com",
			Audiences: []string{"https://x.example/", "http://127.0.0.1:8080"},
		},
		config.Tokens{Issuer: "https://t.auth0.com/", Audiences: []string{"one", "two"}},
		[]string{
			"operator@example.com",
			"a@b.c",
		}, []string{"https://console.example", "/projects/1/locations/l/services/s"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for key, want := range map[string]bool{
		"plain-plain-plain-plain": true, "hashed": true, "": false, "Plain-plain-plain-plain": false,
		"plain-plain-plain-plain ": false,
	} {
		if got := c.Access.APIKeys.Match(key); got != want {
			t.Errorf("Match(%q) = %v", key, got)
		}
	}
	if c.Access.APIKeys.Len() != 2 || (config.APIKeys{}).Match("plain-plain-plain-plain") ||
		(config.APIKeys{}).Len() != 0 {
		t.Error("the number of keys is not what was given")
	}
	if !c.Pipeline.APIKey.IsZero() || c.Pipeline.APIKey.Reveal() != "" || c.Store.Location.IsZero() {
		t.Error("an unset secret is not zero, or a set one is")
	}
	for store, database := range map[string]string{"firestore:": "(default)", "firestore:cases-1": "cases-1"} {
		c, err := config.Load("status", onCloud().with("STORE", store).lookup)
		if err != nil || c.Store.Driver != drivers.Firestore || c.Store.Location.Reveal() != database {
			t.Errorf("STORE=%s: %+v, %v", store, c, err)
		}
	}
}

// FuzzPlaces: whatever an address looks like, loading neither panics nor accepts this machine on
// Google Cloud.
func FuzzPlaces(f *testing.F) {
	for _, s := range []string{
		"https://localhost", "postgres://u:p@h/db?host=/x", "http://[::1%25lo]:1", "firestore:", "http://127.1",
		"https://a@b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, name := range []string{"PIPELINE_API_URL", "STATUS_URL", "STORE"} {
			c, err := config.Load(config.Local, onCloud().with(name, text).lookup)
			if err != nil {
				continue
			}
			for _, address := range []string{c.Pipeline.URL, c.URLs.Status} {
				u, err := url.Parse(address)
				if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
					t.Errorf("%s=%q is accepted as %q: %v", name, text, address, err)
					continue
				}
				ip, _ := netip.ParseAddr(u.Hostname())
				if ip.IsLoopback() || ip.Unmap().IsLoopback() || strings.EqualFold(u.Hostname(), "localhost") {
					t.Errorf("%s=%q is accepted as %q", name, text, address)
				}
			}
		}
	})
}

// A key that can be guessed opens every case. The message says which entry it is, and not what it
// is.
func TestShortAPIKey(t *testing.T) {
	_, err := config.Load(config.Local, onePlace().with("API_KEYS", strings.Repeat("k", 20)+",hunter2-hunter2").lookup)
	if err == nil || !strings.Contains(err.Error(), "number 2, of 15 characters") ||
		!strings.Contains(err.Error(), "at least 20 characters") {
		t.Errorf("%v", err)
	}
	if err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the key is told: %v", err)
	}
}

func TestGoogleIsNoIssuerOfCallers(t *testing.T) {
	_, err := config.Load("status", onCloud().with("OIDC_ISSUER", "https://accounts.google.com").lookup)
	if err == nil || !strings.Contains(err.Error(), "every person with a Google account") {
		t.Errorf("%v", err)
	}
}
