package answer

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"time"

	"github.com/casewatch/casewatch/shared/fault"
)

const (
	// bodyTime is how long a body may take to arrive. It is enough for the largest form at 30
	// KiB/s.
	bodyTime = 30 * time.Second
	// minRead is how many bytes of a response a caller must read in each bodyTime.
	minRead = 64 << 10
)

// limit sets the deadline by which the body must arrive, and returns the body. The deadline ends
// with the body.
//
// The server of the functions framework has no time limits (see funcframework/framework.go in
// https://github.com/GoogleCloudPlatform/functions-framework-go). A caller that announces a body
// and sends none would occupy the instance until the platform ends the request. Rejected callers
// could do that too, because net/http reads the rest of a body before it sends a response.
func limit(w http.ResponseWriter, r *http.Request) io.ReadCloser {
	if r.Body == nil || r.Body == http.NoBody {
		// Without a body, the server watches the connection meanwhile. A deadline would look like
		// its end.
		return r.Body
	}
	deadlines := http.NewResponseController(w)
	// The writers of tests have no deadlines.
	_ = deadlines.SetReadDeadline(time.Now().Add(bodyTime))
	return &body{ReadCloser: r.Body, deadlines: deadlines}
}

// within sets the deadline by which the client must have read a response of that many bytes. Then
// the connection is closed.
func within(w http.ResponseWriter, size int) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(bodyTime * time.Duration(1+size/minRead)))
}

// body is a request body with a deadline.
type body struct {
	io.ReadCloser
	deadlines *http.ResponseController
	ended     bool
}

// Read implements [io.Reader]. It removes the deadline at the end of the body.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) && !b.ended {
		b.ended = true
		_ = b.deadlines.SetReadDeadline(time.Time{})
	}
	return n, err
}

// hasUnreadBody reports whether a part of the body was not read.
func hasUnreadBody(r *http.Request) bool {
	b, ok := r.Body.(*body)
	return ok && !b.ended
}

// Body reads the whole body. The error is TooLarge if it has more than limit bytes, and Invalid if
// it is incomplete or does not arrive in time.
func Body(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, fault.New(fault.TooLarge, "the body is larger than %d bytes", limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fault.Wrap(fault.Invalid, err, "the body did not arrive within "+bodyTime.String())
	case err != nil:
		return nil, fault.Wrap(fault.Invalid, err, "the body could not be read to its end")
	}
	return data, nil
}

// RequireJSONIfAny is [RequireJSON] for a request that need not have a body. Without a body, it
// accepts every content type.
func RequireJSONIfAny(r *http.Request) error {
	err := RequireJSON(r)
	if err == nil || r.ContentLength == 0 {
		return nil
	}
	if r.ContentLength < 0 { // chunked: only a read shows whether there is a body
		if n, end := io.ReadFull(r.Body, make([]byte, 1)); n == 0 && errors.Is(end, io.EOF) {
			return nil
		}
	}
	return err
}

// RequireJSON returns MediaType unless the headers declare an unencoded JSON body.
func RequireJSON(r *http.Request) error {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" {
		return fault.New(fault.MediaType, "the body must be sent as application/json")
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return fault.New(fault.MediaType, "the body must not be encoded")
	}
	return nil
}
