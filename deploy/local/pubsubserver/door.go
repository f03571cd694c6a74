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

// Handler is a way to publish without a Pub/Sub client, for curl: the body of a POST, as it is, becomes the data of one message on the
// topic (its id or full name), and a valid traceparent header its traceparent attribute. What the data must be is for the
// receiver to say.
//
// It answers 200 {"messageId":"…"}; otherwise problem+json: 400 for an empty or unreadable body, 403 for a web page of another
// origin, 404 if there is no such topic, 405 with Allow, 413 above 10 MB, 503 when the server is closed.
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
			problem(w, http.StatusRequestEntityTooLarge, "A message has at most 10 MB.")
			return
		}
		if err != nil || len(data) == 0 {
			problem(w, http.StatusBadRequest, "The body, which is to be the message's data, is empty or cannot be read.")
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
		response, err := s.publish(r.Context(), &pubsubpb.PublishRequest{Topic: name, Messages: []*pubsubpb.PubsubMessage{message}}, s.fake.GServer.Publish)
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
	_ = json.NewEncoder(w).Encode(value) // the caller may be gone
}
