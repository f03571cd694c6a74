package answer

import (
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/casewatch/casewatch/shared/fault"
)

// Body reads a whole body of at most limit bytes. Errors: TooLarge, Invalid if it ends early.
func Body(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, fault.New(fault.TooLarge, "the body is larger than %d bytes", limit)
	case err != nil:
		return nil, fault.Wrap(fault.Invalid, err, "the body could not be read to its end")
	}
	return data, nil
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
