// Command river follows cases with River (https://riverqueue.com), as its documentation shows. One
// job dispatches a case to the pipeline. Another polls its progress and snoozes for two seconds.
// The command serves start and events at PORT, on the PostgreSQL database of DSN, and works on the
// jobs itself.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const interval = 2 * time.Second

const schema = `CREATE TABLE cases (
	id text PRIMARY KEY, form jsonb NOT NULL, status text NOT NULL DEFAULT 'pending',
	completed integer NOT NULL DEFAULT 0, total integer NOT NULL DEFAULT 0,
	created_at timestamptz NOT NULL DEFAULT now(), ended_at timestamptz)`

// app holds what the workers and handlers share.
type app struct {
	pool     *pgxpool.Pool
	river    *river.Client[pgx.Tx]
	http     *http.Client
	pipeline string
	informed bool // an answer or an event reports the end, not only the progress
}

// end saves the end of a case, unless it is saved already.
func (a *app) end(ctx context.Context, id string) error {
	const update = `UPDATE cases SET status = 'succeeded', ended_at = $2 WHERE id = $1 AND ended_at IS NULL`
	_, err := a.pool.Exec(ctx, update, id, time.Now())
	return err
}

// dispatchArgs describes a job that dispatches a case.
type dispatchArgs struct {
	CaseID string `json:"case_id"`
}

func (dispatchArgs) Kind() string { return "dispatch" }

type dispatcher struct {
	river.WorkerDefaults[dispatchArgs]
	*app
}

// Timeout is longer than the pipeline takes to answer when a case has ended. River's default is a
// minute.
func (d *dispatcher) Timeout(*river.Job[dispatchArgs]) time.Duration { return 10 * time.Minute }

func (d *dispatcher) Work(ctx context.Context, job *river.Job[dispatchArgs]) error {
	var form []byte
	if err := d.pool.QueryRow(ctx, `SELECT form FROM cases WHERE id = $1`, job.Args.CaseID).Scan(&form); err != nil {
		return err
	}
	code, err := d.call(ctx, http.MethodPost, "/api/normalize", form, nil)
	if err != nil {
		return err
	}
	if code == http.StatusOK {
		return d.end(ctx, job.Args.CaseID)
	}
	return nil
}

// followArgs describes a job that polls a case until it has ended.
type followArgs struct {
	CaseID string `json:"case_id"`
}

func (followArgs) Kind() string { return "follow" }

type follower struct {
	river.WorkerDefaults[followArgs]
	*app
}

func (f *follower) Work(ctx context.Context, job *river.Job[followArgs]) error {
	id := job.Args.CaseID
	if f.informed {
		var ended bool
		err := f.pool.QueryRow(ctx, `SELECT ended_at IS NOT NULL FROM cases WHERE id = $1`, id).Scan(&ended)
		if err != nil || ended {
			return err
		}
	}
	var progress struct {
		Completed, Total int
		Status           string
	}
	code, err := f.call(ctx, http.MethodGet, "/api/progress/"+id, nil, &progress)
	switch {
	case err != nil || code != http.StatusOK: // poll again
	case progress.Status == "succeeded":
		return f.end(ctx, id)
	default:
		const update = `UPDATE cases SET status = 'running', completed = $2, total = $3
			WHERE id = $1 AND ended_at IS NULL`
		if _, err := f.pool.Exec(ctx, update, id, progress.Completed, progress.Total); err != nil {
			return err
		}
	}
	return river.JobSnooze(interval)
}

// call sends a request to the pipeline and returns the status. An answer of 200 is decoded into
// into, unless that is nil.
func (a *app) call(ctx context.Context, method, path string, body []byte, into any) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.pipeline+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := a.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err == nil && into != nil && res.StatusCode == http.StatusOK {
		err = json.Unmarshal(data, into)
	}
	return res.StatusCode, err
}

// start accepts a case: it inserts its row and both jobs in one transaction.
func (a *app) start(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var form struct {
		CaseID string `json:"case_id"`
	}
	if err != nil || json.Unmarshal(body, &form) != nil || form.CaseID == "" {
		http.Error(w, "no case_id", http.StatusBadRequest)
		return
	}
	if err := pgx.BeginFunc(r.Context(), a.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(r.Context(), `INSERT INTO cases (id, form) VALUES ($1, $2)`, form.CaseID, body)
		if err != nil {
			return err
		}
		_, err = a.river.InsertManyTx(r.Context(), tx, []river.InsertManyParams{
			{Args: dispatchArgs{form.CaseID}, InsertOpts: &river.InsertOpts{Queue: "dispatch"}},
			{Args: followArgs{form.CaseID}, InsertOpts: &river.InsertOpts{ScheduledAt: time.Now().Add(interval)}},
		})
		return err
	}); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// events accepts the pipeline's event of an end.
func (a *app) events(w http.ResponseWriter, r *http.Request) {
	var event struct {
		CaseID string `json:"case_id"`
	}
	if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := a.end(r.Context(), event.CaseID); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

func main() {
	if err := serve(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "river:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context) error {
	config, err := pgxpool.ParseConfig(os.Getenv("DSN"))
	if err != nil {
		return err
	}
	config.MaxConns = 10
	a := &app{
		http:     &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}},
		pipeline: os.Getenv("PIPELINE_API_URL"), informed: os.Getenv("MODE") != "polling",
	}
	if a.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return err
	}
	driver := riverpgxv5.New(a.pool)
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return err
	}
	_, migrated := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	_, made := a.pool.Exec(ctx, schema)
	if err := errors.Join(migrated, made); err != nil {
		return err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &dispatcher{app: a})
	river.AddWorker(workers, &follower{app: a})
	if a.river, err = river.NewClient(driver, &river.Config{
		Queues: map[string]river.QueueConfig{
			river.QueueDefault: {MaxWorkers: 100},
			"dispatch":         {MaxWorkers: river.QueueNumWorkersMax}, // a dispatch may last as long as its case
		},
		Workers: workers,
	}); err != nil {
		return err
	}
	if err := a.river.Start(ctx); err != nil {
		return err
	}
	http.HandleFunc("POST /start", a.start)
	http.HandleFunc("POST /events", a.events)
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}
