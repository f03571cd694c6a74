// Package task serves the HTTP requests by which Cloud Tasks delivers tasks.
package task

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/fault"
	"github.com/casewatch/casewatch/shared/queue"
)

// maxBody is the limit of a request body in bytes, far above the largest body that Casewatch
// creates.
const maxBody = 4 << 10

// Handler returns a handler that calls deliver with the task and the X-CloudTasks-TaskRetryCount of
// the delivery. A missing or invalid count is 0.
//
// An error of allowed is sent before the body is read. A task of an unknown run gets 200, because
// no retry would find the run. A body that is not a task gets 400, and one that is not JSON gets
// 415.
func Handler(
	log *slog.Logger,
	allowed func(*http.Request) error,
	deliver func(r *http.Request, body queue.Body, retryCount int) error,
) http.Handler {
	return answer.Handler(log, func(w http.ResponseWriter, r *http.Request) error {
		if err := allowed(r); err != nil {
			return err
		}
		if err := answer.RequireJSONIfAny(r); err != nil {
			return err
		}
		data, err := answer.Body(w, r, maxBody)
		if err != nil {
			return err
		}
		body, err := queue.DecodeBody(data)
		if err != nil {
			return fault.New(fault.Invalid, "%s", strings.TrimPrefix(err.Error(), "queue: "))
		}
		err = deliver(r, body, retryCount(r))
		if err != nil && fault.KindOf(err) == fault.NotFound {
			log.WarnContext(
				r.Context(), "task names an unknown run",
				"case_id", body.CaseID, "run", body.Run, "seq", body.Seq,
			)
			err = nil
		}
		if err != nil {
			return err
		}
		answer.JSON(w, http.StatusOK, struct{}{})
		return nil
	}, http.MethodPost)
}

func retryCount(r *http.Request) int {
	n, err := strconv.Atoi(r.Header.Get("X-CloudTasks-TaskRetryCount"))
	if err != nil || n < 0 {
		return 0
	}
	return n
}
