package answer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"time"
)

// File is a file that is served as it is.
type File struct {
	contentType, etag string
	data              []byte
}

// NewFile returns a file of that type. The data is not to be changed.
func NewFile(contentType string, data []byte) File {
	sum := sha256.Sum256(data)
	return File{contentType, `"` + hex.EncodeToString(sum[:12]) + `"`, data}
}

// ServeHTTP answers with the file, a range of it, or 304 if the caller has it. What else its answer says, how long it may be kept above all, is set before.
func (f File) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("ETag", f.etag)
	within(w, len(f.data))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.data))
}
