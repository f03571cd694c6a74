// Package apis has servers that speak the protocols of the presets, each as its public
// documentation describes it. What the jobs do is the caller's: see [Jobs]. The servers are for
// tests and for the sample pipeline; they are never deployed.
package apis

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"cloud.google.com/go/firestore/apiv1/admin/adminpb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// State is how far a job is.
type State int

// The states of a job.
const (
	Queued State = iota
	Running
	Succeeded
	Failed
	Cancelled
)

// Ended reports whether the job is over.
func (s State) Ended() bool { return s >= Succeeded }

// Job is a job as its API shows it.
type Job struct {
	ID               string // digits
	State            State
	Completed, Total int
	Current          string
	Result           json.RawMessage // of a job that succeeded: an object
	Error            string          // of a job that failed
}

// Jobs does the work. Its methods are safe for concurrent use.
type Jobs interface {
	// Start begins a job and returns its id. An error is answered 503.
	Start(form []byte, callbackURL string) (id string, err error)
	// Job returns a job, if there is one of that id.
	Job(id string) (Job, bool)
	// Cancel cancels a job. It reports false if the job is over.
	Cancel(id string) bool
}

// Names are the protocols that there are servers of: the presets, and azure, which is location as
// Azure's services speak it.
var Names = []string{"operation", "location", "azure", "prediction", "job"}

// New returns a server of that protocol. base returns its address, without a slash at the end. New
// panics if there is no such protocol.
func New(name string, base func() string, jobs Jobs) http.Handler {
	s := &server{base: base, jobs: jobs, mux: http.NewServeMux()}
	switch name {
	case "operation":
		s.mux.HandleFunc("POST /v1/{name...}", s.operationPost)
		s.mux.HandleFunc("GET /v1/projects/sample/operations/{id}", s.shown(Operation))
	case "location":
		s.mux.HandleFunc("POST /documents", s.locationStart)
		s.mux.HandleFunc("GET /documents/{id}/status", s.locationPoll)
		s.mux.HandleFunc("GET /documents/{id}", s.locationResult)
		s.mux.HandleFunc("DELETE /documents/{id}/status", s.cancel(http.StatusAccepted))
	case "azure":
		s.mux.HandleFunc("POST /documents:analyze", s.azureStart)
		s.mux.HandleFunc("GET /operations/{id}", s.shown(Azure))
		s.mux.HandleFunc("DELETE /operations/{id}", s.cancel(http.StatusNoContent))
	case "prediction":
		prediction := func(j Job) []byte { return Prediction(base(), j) }
		s.mux.HandleFunc("POST /v1/predictions", s.predictionStart)
		s.mux.HandleFunc("GET /v1/predictions/{id}", s.shown(prediction))
		s.mux.HandleFunc("POST /v1/predictions/{id}/cancel", s.cancel(http.StatusOK))
	case "job":
		s.mux.HandleFunc("POST /jobs", s.jobStart)
		s.mux.HandleFunc("GET /jobs/{id}", s.shown(JobStatus))
		s.mux.HandleFunc("DELETE /jobs/{id}", s.cancel(http.StatusNoContent))
	default:
		panic("apis: there is no protocol " + name)
	}
	return s.mux
}

// Report returns what an API of that protocol sends to a webhook: what a poll would be answered.
func Report(name, base string, j Job) []byte {
	switch name {
	case "operation":
		return Operation(j)
	case "azure":
		return Azure(j)
	case "prediction":
		return Prediction(base, j)
	default:
		return JobStatus(j)
	}
}

type server struct {
	base func() string
	jobs Jobs
	mux  *http.ServeMux
}

const maxBody = 2 << 20

// start begins a job and returns it. It answers the request itself if there is none.
func (s *server) start(
	w http.ResponseWriter,
	r *http.Request,
	form func(body []byte) (form []byte, callbackURL string),
) (Job, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil || !json.Valid(body) {
		problem(w, http.StatusBadRequest, "the body is no JSON")
		return Job{}, false
	}
	text, callbackURL := form(body)
	if len(text) == 0 || text[0] != '{' {
		problem(w, http.StatusUnprocessableEntity, "the input is no object")
		return Job{}, false
	}
	id, err := s.jobs.Start(text, callbackURL)
	if err != nil {
		w.Header().Set("Retry-After", "1")
		problem(w, http.StatusServiceUnavailable, err.Error())
		return Job{}, false
	}
	return s.jobs.Job(id)
}

func whole(body []byte) ([]byte, string) {
	var asked struct {
		Webhook string `json:"webhook"`
	}
	_ = json.Unmarshal(body, &asked) // a form may have another webhook, or none
	return body, asked.Webhook
}

// shown answers with what is shown of a job.
func (s *server) shown(show func(Job) []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		j, ok := s.jobs.Job(r.PathValue("id"))
		if !ok {
			problem(w, http.StatusNotFound, "there is no such job")
			return
		}
		answer(w, http.StatusOK, show(j))
	}
}

// cancel cancels a job and answers with a status. A job that is over is a conflict.
func (s *server) cancel(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		j, ok := s.jobs.Job(r.PathValue("id"))
		switch {
		case !ok:
			problem(w, http.StatusNotFound, "there is no such job")
		case !s.jobs.Cancel(j.ID):
			problem(w, http.StatusConflict, "the job is over")
		default:
			w.WriteHeader(status)
		}
	}
}

func answer(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may have gone
}

// problem answers as Google's and Azure's APIs do: https://google.aip.dev/193.
func problem(w http.ResponseWriter, code int, message string) {
	answer(w, code, encode(map[string]any{"error": map[string]any{"code": code, "message": message}}))
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("apis: " + err.Error()) // a result that is no JSON
	}
	return text
}

func (j Job) percent() int {
	if j.Total <= 0 {
		return 0
	}
	return 100 * j.Completed / j.Total
}

// operationPrefix is the collection of operations. Their names have slashes.
const operationPrefix = "projects/sample/operations/"

// Operation returns a job as a long-running operation (https://google.aip.dev/151), with the
// metadata that Firestore's operations have.
func Operation(j Job) []byte {
	metadata := &adminpb.ExportDocumentsMetadata{
		ProgressDocuments: &adminpb.Progress{EstimatedWork: int64(j.Total), CompletedWork: int64(j.Completed)},
	}
	op := &longrunningpb.Operation{Name: operationPrefix + j.ID, Metadata: packed(metadata), Done: j.State.Ended()}
	failure := func(code codes.Code, message string) {
		op.Result = &longrunningpb.Operation_Error{Error: &status.Status{Code: int32(code), Message: message}}
	}
	switch j.State {
	case Succeeded:
		response := &structpb.Struct{}
		if err := protojson.Unmarshal(j.Result, response); err != nil {
			panic("apis: " + err.Error())
		}
		op.Result = &longrunningpb.Operation_Response{Response: packed(response)}
	case Failed:
		failure(codes.Internal, j.Error)
	case Cancelled:
		failure(codes.Canceled, "the operation was cancelled")
	}
	text, err := protojson.Marshal(op)
	if err != nil {
		panic("apis: " + err.Error())
	}
	return text
}

func (s *server) operationPost(w http.ResponseWriter, r *http.Request) {
	name, method, _ := strings.Cut(r.PathValue("name"), ":")
	switch id, isOperation := strings.CutPrefix(name, operationPrefix); {
	case isOperation && method == "cancel":
		// https://cloud.google.com/storage-transfer/docs/reference/rest/v1/transferOperations/cancel: success is not
		// guaranteed, the answer is empty, and an operation that is over stays as it is.
		if _, ok := s.jobs.Job(id); !ok {
			problem(w, http.StatusNotFound, "there is no such operation")
			return
		}
		s.jobs.Cancel(id)
		answer(w, http.StatusOK, []byte("{}"))
	case isOperation:
		problem(w, http.StatusNotFound, "an operation has no method "+strconv.Quote(method))
	default:
		if j, ok := s.start(w, r, whole); ok {
			answer(w, http.StatusOK, Operation(j))
		}
	}
}

// locationStart is the start of the asynchronous request-reply pattern
// (https://learn.microsoft.com/azure/architecture/patterns/asynchronous-request-reply): 202 with a
// Location, which may be relative (RFC 9110, section 10.2.2).
func (s *server) locationStart(w http.ResponseWriter, r *http.Request) {
	if j, ok := s.start(w, r, whole); ok {
		w.Header().Set("Location", "documents/"+j.ID+"/status")
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusAccepted)
	}
}

func (s *server) locationPoll(w http.ResponseWriter, r *http.Request) {
	j, ok := s.jobs.Job(r.PathValue("id"))
	switch {
	case !ok, j.State == Cancelled:
		problem(w, http.StatusNotFound, "there is no such job")
	case j.State == Succeeded:
		w.Header().Set("Location", s.base()+"/documents/"+j.ID)
		w.WriteHeader(http.StatusSeeOther)
	case j.State == Failed:
		answer(w, http.StatusOK, Azure(j))
	default:
		// https://hl7.org/fhir/uv/bulkdata/export.html#response---in-progress-status
		w.Header().Set("X-Progress", fmt.Sprintf("%d%%", j.percent()))
		w.WriteHeader(http.StatusAccepted)
	}
}

func (s *server) locationResult(w http.ResponseWriter, r *http.Request) {
	if j, ok := s.jobs.Job(r.PathValue("id")); ok && j.State == Succeeded {
		answer(w, http.StatusOK, j.Result)
		return
	}
	problem(w, http.StatusNotFound, "there is no result")
}

// Azure returns a job as a status monitor of Azure's services shows it
// (https://github.com/microsoft/api-guidelines/blob/vNext/azure/Guidelines.md#long-running-operations--jobs).
func Azure(j Job) []byte {
	names := map[State]string{
		Queued: "NotStarted", Running: "Running", Succeeded: "Succeeded", Failed: "Failed", Cancelled: "Canceled",
	}
	monitor := map[string]any{"id": j.ID, "status": names[j.State], "percentComplete": j.percent()}
	switch j.State {
	case Succeeded:
		monitor["result"] = j.Result
	case Failed:
		monitor["error"] = map[string]any{"code": "InternalServerError", "message": j.Error}
	}
	return encode(monitor)
}

func (s *server) azureStart(w http.ResponseWriter, r *http.Request) {
	if j, ok := s.start(w, r, whole); ok {
		w.Header().Set("Operation-Location", s.base()+"/operations/"+j.ID+"?api-version=2024-11-30")
		w.WriteHeader(http.StatusAccepted)
	}
}

// Prediction returns a job as Replicate's API shows it (https://replicate.com/docs/reference/http).
func Prediction(base string, j Job) []byte {
	names := map[State]string{
		Queued: "starting", Running: "processing", Succeeded: "succeeded", Failed: "failed", Cancelled: "canceled",
	}
	url := base + "/v1/predictions/" + j.ID
	prediction := map[string]any{
		"id": j.ID, "status": names[j.State], "urls": map[string]any{"get": url, "cancel": url + "/cancel"},
		"output": nil, "error": nil, "logs": "",
	}
	switch j.State {
	case Succeeded:
		prediction["output"] = j.Result
	case Failed:
		prediction["error"] = j.Error
	}
	return encode(prediction)
}

func (s *server) predictionStart(w http.ResponseWriter, r *http.Request) {
	j, ok := s.start(w, r, func(body []byte) ([]byte, string) {
		var asked struct {
			Input   json.RawMessage `json:"input"`
			Webhook string          `json:"webhook"`
		}
		_ = json.Unmarshal(body, &asked) // an input that is none is answered 422
		return asked.Input, asked.Webhook
	})
	if ok {
		answer(w, http.StatusCreated, Prediction(s.base(), j))
	}
}

// JobStatus returns a job as a service with {id, status} shows it. Its id is a number.
func JobStatus(j Job) []byte {
	names := map[State]string{
		Queued: "queued", Running: "running", Succeeded: "completed", Failed: "failed", Cancelled: "cancelled",
	}
	shown := map[string]any{
		"id": json.Number(j.ID), "status": names[j.State],
		"progress": map[string]any{"completed": j.Completed, "total": j.Total, "current": j.Current},
	}
	switch j.State {
	case Succeeded:
		shown["result"] = j.Result
	case Failed:
		shown["error"] = j.Error
	}
	return encode(shown)
}

func (s *server) jobStart(w http.ResponseWriter, r *http.Request) {
	if j, ok := s.start(w, r, whole); ok {
		answer(w, http.StatusAccepted, JobStatus(j))
	}
}

func packed(m proto.Message) *anypb.Any {
	packed, err := anypb.New(m)
	if err != nil {
		panic("apis: " + err.Error())
	}
	return packed
}
