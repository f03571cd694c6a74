package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/casewatch/casewatch/deploy/bench/peers/stub"
	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/ctxtime"
	"github.com/casewatch/casewatch/shared/identity/identitytest"
	"github.com/casewatch/casewatch/shared/store"
	postgresstore "github.com/casewatch/casewatch/shared/store/postgres"
	"github.com/casewatch/casewatch/shared/store/sqlite"
)

// The project, the topic, and the accounts that call the private functions.
const (
	project          = "casewatch-bench"
	eventsTopic      = "pipeline-events"
	tasksAccount     = "tasks@bench.iam.gserviceaccount.com"
	pushAccount      = "push@bench.iam.gserviceaccount.com"
	schedulerAccount = "scheduler@bench.iam.gserviceaccount.com"
)

// sweepEvery is the time between two sweeps. Cloud Scheduler calls a deployed sweep as often, or
// less often.
const sweepEvery = time.Minute

// casewatch boots all functions in one process, the Cloud Tasks server and the Pub/Sub server in
// one process each, and the store.
func casewatch(onPostgres bool) boot {
	return func(ctx context.Context, b *bench, dir, pipeline string, _ stub.Mode) (_ *system, err error) {
		s := &system{parts: map[string]part{}}
		defer func() {
			if err != nil {
				err = errors.Join(err, s.close())
			}
		}()
		var addrs [3]string
		for i := range addrs {
			if addrs[i], err = freeAddr(); err != nil {
				return nil, err
			}
		}
		functions, tasks, topics := addrs[0], addrs[1], addrs[2]
		base := "http://" + functions
		issuer, signer := startIssuer(s)

		location, program := "sqlite:"+filepath.Join(dir, "cases.db"), "functions-sqlite"
		if onPostgres {
			program = "functions-postgres"
			if location, err = s.withPostgres(ctx); err != nil {
				return nil, err
			}
		}
		queues := "projects/" + project + "/locations/us-central1/queues/"
		for _, server := range []struct {
			name, addr string
			env        []string
		}{
			{queuePart, tasks, []string{
				"SERVE=tasks",
				"DIR=" + filepath.Join(dir, "tasks"),
				"QUEUES=" + queues + "check " + queues + "dispatch",
			}},
			{pubsubPart, topics, []string{
				"SERVE=pubsub",
				"PROJECT=" + project,
				"EVENTS=" + eventsTopic,
				"TOPICS=ended dead-letter",
				"TARGET=" + base + "/complete",
				"ACCOUNT=" + pushAccount,
				"AUDIENCE=" + base,
			}},
		} {
			env := append(server.env, "ADDR="+server.addr, "SIGNER="+signer)
			if err := s.launch(ctx, server.name, dir, b.binary("servers"), server.addr, env); err != nil {
				return nil, err
			}
		}
		env := settings(base, location, pipeline, issuer.URL, tasks, topics)
		if err := s.launch(ctx, programPart, dir, b.binary(program), functions, env); err != nil {
			return nil, err
		}
		s.start = base + "/start"
		if s.publish, err = publisher(ctx, s, topics); err != nil {
			return nil, err
		}
		if err := s.openStore(ctx, onPostgres, location, filepath.Join(dir, "cases.db")); err != nil {
			return nil, err
		}
		s.sweep(ctx, base, issuer)
		return s, nil
	}
}

// settings returns the environment of the functions. It is that of a deployment, with the default
// times.
func settings(base, location, pipeline, issuer, tasks, topics string) []string {
	invokers := []string{tasksAccount, pushAccount, schedulerAccount}
	env := []string{
		"PORT=" + base[strings.LastIndexByte(base, ':')+1:],
		"STORE=" + location,
		"PIPELINE_API_URL=" + pipeline,
		"GOOGLE_CLOUD_PROJECT=" + project,
		"TASKS_LOCATION=us-central1",
		"CHECK_QUEUE=check",
		"DISPATCH_QUEUE=dispatch",
		"PIPELINE_EVENTS_TOPIC=" + eventsTopic,
		"ENDED_TOPIC=ended",
		"DEAD_LETTER_TOPIC=dead-letter",
		"CLOUD_TASKS_EMULATOR_HOST=" + tasks,
		"PUBSUB_EMULATOR_HOST=" + topics,
		"ALLOW_ANONYMOUS=true",
		"TOKEN_SECRET=" + strings.Repeat("s", 32),
		"TASKS_SERVICE_ACCOUNT=" + tasksAccount,
		"INVOKER_SERVICE_ACCOUNTS=" + strings.Join(invokers, ","),
		"INVOKER_AUDIENCES=" + base,
		"INVOKER_ISSUER=" + issuer,
	}
	for function, name := range config.URLSettings() {
		env = append(env, name+"="+base+"/"+function)
	}
	return env
}

// startIssuer serves the issuer of the ID tokens that the private functions verify. signer is an
// address that returns such a token.
func startIssuer(s *system) (issuer *identitytest.Issuer, signer string) {
	server := httptest.NewUnstartedServer(nil)
	issuer = identitytest.New("http://" + server.Listener.Addr().String())
	mux := http.NewServeMux()
	mux.HandleFunc("/sign", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, issuer.Sign(r.FormValue("account"), r.FormValue("audience")))
	})
	mux.Handle("/", issuer)
	server.Config.Handler = mux
	server.Start()
	s.onClose(func() error { server.Close(); return nil })
	return issuer, issuer.URL + "/sign"
}

// publisher returns a function that publishes the pipeline's event of an end.
func publisher(ctx context.Context, s *system, topics string) (func(ctx context.Context, caseID string) error, error) {
	client, err := pubsub.NewTopicAdminClient(ctx,
		option.WithEndpoint(topics), option.WithoutAuthentication(), option.WithTelemetryDisabled(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		return nil, err
	}
	s.onClose(client.Close)
	return func(ctx context.Context, caseID string) error {
		_, err := client.Publish(ctx, &pubsubpb.PublishRequest{
			Topic:    "projects/" + project + "/topics/" + eventsTopic,
			Messages: []*pubsubpb.PubsubMessage{{Data: stub.Event(caseID)}},
		})
		return err
	}, nil
}

// openStore lets the benchmark read the records, with the driver that the functions use. It also
// lets it count the transactions of the store, and the bytes that store and queue write.
func (s *system) openStore(ctx context.Context, onPostgres bool, dsn, file string) error {
	var records store.Store
	var err error
	if onPostgres {
		records, err = postgresstore.Open(ctx, store.Options{Location: dsn})
	} else {
		records, err = sqlite.Open(ctx, store.Options{Location: file})
	}
	if err != nil {
		return err
	}
	s.onClose(records.Close)
	s.open = records.CountOpen
	s.ends = func(ctx context.Context, ids []string) (map[string]time.Time, error) {
		ends := map[string]time.Time{}
		for _, id := range ids {
			c, err := records.Get(ctx, id, 1)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
			if c.State == cases.Succeeded {
				ends[id] = c.Outcome.EndedAt
			}
		}
		return ends, nil
	}
	inPostgres := s.counters
	s.counters = func(ctx context.Context) (commits, bytes float64, err error) {
		if onPostgres {
			commits, bytes, err = inPostgres(ctx)
		} else {
			commits, err = transactions(file)
			bytes = written(s.parts[programPart].pid)
		}
		return commits, bytes + written(s.parts[queuePart].pid), err
	}
	return nil
}

// transactions returns the number of transactions, modulo 2³², that have written to an open SQLite
// file in WAL mode. SQLite counts them in the header of the index of its log
// (https://www.sqlite.org/walformat.html#the_wal_index_file_format, iChange).
func transactions(file string) (float64, error) {
	f, err := os.Open(file + "-shm")
	if err != nil {
		return math.NaN(), err
	}
	defer func() { _ = f.Close() }()
	var header [12]byte
	if _, err := io.ReadFull(f, header[:]); err != nil {
		return math.NaN(), err
	}
	return float64(binary.NativeEndian.Uint32(header[8:])), nil
}

// sweep calls the function sweep every sweepEvery, as Cloud Scheduler does, until the system is
// closed.
func (s *system) sweep(ctx context.Context, base string, issuer *identitytest.Issuer) {
	s.background(ctx, func(ctx context.Context) {
		for ctxtime.Sleep(ctx, sweepEvery) == nil {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/sweep", http.NoBody)
			if err != nil {
				continue // only an invalid URL is an error
			}
			req.Header.Set("Authorization", "Bearer "+issuer.Sign(schedulerAccount, base))
			res, err := plain.Do(req)
			if err == nil && res.StatusCode != http.StatusOK {
				err = errors.New(res.Status)
			}
			if res != nil {
				_ = res.Body.Close()
			}
			if err != nil && ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "sweep:", err)
			}
		}
	})
}
