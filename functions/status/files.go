package status

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	openapi "github.com/casewatch/casewatch/functions"
	"github.com/casewatch/casewatch/shared/fault"
)

// filesPath is where the files are. No case is there: its id begins with a letter or digit.
const filesPath = "/-/"

//go:embed files
var embedded embed.FS

// file is what is served, always the same.
type file struct {
	contentType string
	data        []byte
	etag        string
}

// files are all there are, by name.
var files = map[string]file{
	"casewatch.js":   newFile("text/javascript; charset=utf-8", read("casewatch.js")),
	"casewatch.d.ts": newFile("application/typescript; charset=utf-8", read("casewatch.d.ts")),
	"openapi.yaml":   newFile("application/yaml; charset=utf-8", openapi.YAML), // RFC 9512
}

func read(name string) []byte {
	data, err := embedded.ReadFile("files/" + name)
	if err != nil {
		panic(err) // it is embedded: any test would tell
	}
	return data
}

func newFile(contentType string, data []byte) file {
	sum := sha256.Sum256(data)
	return file{contentType, data, `"` + hex.EncodeToString(sum[:12]) + `"`}
}

// serveFile serves the files to anybody, and to pages of every origin: there is nothing in them that is not public. A newer revision's are
// used after five minutes at the latest.
func serveFile(rw http.ResponseWriter, r *http.Request) error {
	name := strings.TrimPrefix(r.URL.Path, filesPath)
	h := rw.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	f, ok := files[name]
	if !ok {
		return fault.New(fault.NotFound, "there is no such file")
	}
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("Content-Type", f.contentType)
	h.Set("ETag", f.etag)
	http.ServeContent(rw, r, name, time.Time{}, bytes.NewReader(f.data))
	return nil
}
