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
	// bodyTime is how long a body may take to come: the largest form at 30 KiB a second.
	bodyTime = 30 * time.Second
	// leastRead is how many bytes of an answer a caller has to read in bodyTime.
	leastRead = 64 << 10
)

// limit bounds how long a request may keep its handler waiting for its caller. The functions framework's server has no limits of time
// (https://github.com/GoogleCloudPlatform/functions-framework-go/blob/main/funcframework/framework.go), so whoever announces a body and sends none
// would hold a place in the instance until the platform cuts the request. That goes for refused callers too: net/http waits for
// what is left of a body before it answers.
//
// It returns the body with its limit, which ends with it.
func limit(w http.ResponseWriter, r *http.Request) io.ReadCloser {
	if r.Body == nil || r.Body == http.NoBody {
		return r.Body // the server watches the connection meanwhile, and would take a deadline for its end
	}
	deadlines := http.NewResponseController(w)
	_ = deadlines.SetReadDeadline(time.Now().Add(bodyTime)) // not every writer has deadlines: those of tests have none
	return &body{ReadCloser: r.Body, deadlines: deadlines}
}

// within bounds how long an answer of that many bytes may take to be read: who does not read is cut off.
func within(w http.ResponseWriter, size int) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(bodyTime * time.Duration(1+size/leastRead)))
}

// body is a body that has to come in time.
type body struct {
	io.ReadCloser
	deadlines *http.ResponseController
	ended     bool
}

// Read implements [io.Reader]. The limit is lifted at the end of the body.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) && !b.ended {
		b.ended = true
		_ = b.deadlines.SetReadDeadline(time.Time{})
	}
	return n, err
}

// left reports whether a part of the body was not read.
func left(r *http.Request) bool {
	b, ok := r.Body.(*body)
	return ok && !b.ended
}

// Body reads a whole body of at most limit bytes. Errors: TooLarge, Invalid if it ends early or does not come in time.
func Body(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, fault.New(fault.TooLarge, "the body is larger than %d bytes", limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fault.Wrap(fault.Invalid, err, "the body did not come within "+bodyTime.String())
	case err != nil:
		return nil, fault.Wrap(fault.Invalid, err, "the body could not be read to its end")
	}
	return data, nil
}

// RequireJSONIfAny is RequireJSON for a request that need not have a body, and then says nothing of its type, or anything.
func RequireJSONIfAny(r *http.Request) error {
	err := RequireJSON(r)
	if err == nil || r.ContentLength == 0 {
		return nil
	}
	if r.ContentLength < 0 { // in chunks: whether there are any shows when the first is read
		if n, end := io.ReadFull(r.Body, make([]byte, 1)); n == 0 && errors.Is(end, io.EOF) {
			return nil
		}
	}
	return err
}

// RequireJSON returns MediaType unless the request says that its body is JSON.
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
