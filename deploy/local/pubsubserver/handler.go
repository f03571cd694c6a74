package pubsubserver

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Handler publishes without a Pub/Sub client, for example with curl. The body of a POST becomes the
// data of one message on the topic, which is given by its id or full name. A valid traceparent
// header becomes the message's traceparent attribute. The handler does not check the data: its
// receiver does.
//
// The answer is 200 {"messageId":"…"}, or an error as problem+json: 400 for an empty or unreadable
// body, 403 for a web page of another origin, 404 for an unknown topic, 405 with Allow, 413 above
// 10 MB, 503 when the server is closed.
func (s *Server) Handler(topic string) http.Handler {
	name := s.topicName(topic)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			problem(w, http.StatusMethodNotAllowed, "Publish with POST.")
			return
		}
		data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			problem(w, http.StatusRequestEntityTooLarge, "The message is too large: the limit is 10 MB.")
			return
		}
		if err != nil || len(data) == 0 {
			problem(w, http.StatusBadRequest, "The body is empty or cannot be read. It must contain the data.")
			return
		}
		if s.closed.Load() {
			problem(w, http.StatusServiceUnavailable, "The server is closed.")
			return
		}
		message := &pubsubpb.PubsubMessage{Data: data}
		if t := r.Header.Get("Traceparent"); traceParent.MatchString(t) {
			message.Attributes = map[string]string{"traceparent": t}
		}
		request := &pubsubpb.PublishRequest{Topic: name, Messages: []*pubsubpb.PubsubMessage{message}}
		response, err := s.publish(r.Context(), request, s.fake.GServer.Publish)
		switch {
		case status.Code(err) == codes.NotFound:
			problem(w, http.StatusNotFound, "There is no topic "+name+".")
		case err != nil:
			problem(w, http.StatusInternalServerError, "The message could not be published.")
		default:
			reply(w, http.StatusOK, "application/json", map[string]string{"messageId": response.MessageIds[0]})
		}
	})
	return http.NewCrossOriginProtection().Handler(handler)
}

func problem(w http.ResponseWriter, code int, detail string) {
	reply(w, code, "application/problem+json", map[string]any{
		"type": "about:blank", "title": http.StatusText(code), "status": code, "detail": detail,
	})
}

func reply(w http.ResponseWriter, code int, contentType string, value any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(value) // fails only if the client disconnected
}
