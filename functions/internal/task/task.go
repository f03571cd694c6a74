// Package task receives the deliveries of Cloud Tasks.
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

// maxBody is far above the largest body of a task of ours.
const maxBody = 4 << 10

// Handler serves deliveries with deliver, which is given the task and the delivery's X-CloudTasks-TaskRetryCount. What allowed returns an error for
// is answered with that, its body unread. An unknown run is answered 200, since no repetition would find it; what is not a task 400, or 415 if it is not even JSON.
func Handler(log *slog.Logger, allowed func(*http.Request) error, deliver func(r *http.Request, body queue.Body, retryCount int) error) http.Handler {
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
			log.WarnContext(r.Context(), "a task is about no run that is kept", "case_id", body.CaseID, "run", body.Run, "seq", body.Seq)
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
