package status

import (
	"embed"
	"net/http"
	"strings"
	"sync"

	openapi "github.com/casewatch/casewatch/functions"
	"github.com/casewatch/casewatch/functions/internal/answer"
	"github.com/casewatch/casewatch/shared/fault"
)

// filesPath is the path of the files. It cannot be the path of a case, whose id begins with a
// letter or digit.
const filesPath = "/-/"

//go:embed files
var embedded embed.FS

// files are all files by name. They are read at the first request, because every function links
// this package.
var files = sync.OnceValue(func() map[string]answer.File {
	return map[string]answer.File{
		"casewatch.js":   answer.NewFile("text/javascript; charset=utf-8", read("casewatch.js")),
		"casewatch.d.ts": answer.NewFile("application/typescript; charset=utf-8", read("casewatch.d.ts")),
		"openapi.yaml":   answer.NewFile("application/yaml; charset=utf-8", openapi.YAML), // RFC 9512
	}
})

func read(name string) []byte {
	data, err := embedded.ReadFile("files/" + name)
	if err != nil {
		panic(err) // the file is embedded, so every test would fail
	}
	return data
}

// serveFile serves the files to every caller and to pages of every origin, because their content is
// public. Clients use a newer revision after at most five minutes.
func serveFile(rw http.ResponseWriter, r *http.Request) error {
	h := rw.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	f, ok := files()[strings.TrimPrefix(r.URL.Path, filesPath)]
	if !ok {
		return fault.New(fault.NotFound, "there is no such file")
	}
	h.Set("Cache-Control", "public, max-age=300")
	if known := noneMatch(r); known != "" {
		r = r.Clone(r.Context())
		r.Header.Set("If-None-Match", known)
	}
	f.ServeHTTP(rw, r)
	return nil
}
