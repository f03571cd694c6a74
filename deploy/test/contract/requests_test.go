package contract

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// requesters are the files of what is deployed that make requests or connections themselves, and to
// whom: nothing that a caller says is among that. Google's clients and the database's make the
// others, to addresses of the settings. Stores and queues of one machine are not deployed.
var requesters = map[string]string{
	"shared/pipeline/client.go": "the described pipelines",
	"shared/pipeline/poll.go": "the described pipelines: their url, and addresses that they give, " +
		"at that origin or at one of `also`",
	"shared/pipeline/wire.go": "the described pipelines",
	"shared/identity/fetch.go": "OIDC_ISSUER, INVOKER_ISSUER, the keys of Identity-Aware Proxy; and where " +
		"the issuer says that its keys are",
	"shared/identity/identity.go":            "names the client of fetch.go",
	"shared/identity/keys.go":                "names the client of fetch.go",
	"shared/store/firestore/firestoretest/*": "an emulator, in tests",
	"functions/internal/functiontest/*":      "a server, in tests",
}

// makers are what makes a request or a connection.
var makers = map[string][]string{
	"net/http": {"NewRequest", "NewRequestWithContext", "Client", "Transport", "DefaultClient",
		"DefaultTransport", "Get", "Post", "Head", "PostForm"},
	"net":               {"Dial", "DialTimeout", "Dialer"},
	"net/http/httputil": {"ReverseProxy", "NewSingleHostReverseProxy"},
	"net/rpc":           {"Dial", "DialHTTP"},
}

// TestWhoMakesRequests: only the files above do, so that an address which a caller gives has no way to be asked.
func TestWhoMakesRequests(t *testing.T) {
	top := root(t)
	found := map[string]bool{}
	for _, dir := range []string{"functions", "shared"} {
		err := filepath.WalkDir(filepath.Join(top, dir), func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, name, nil, 0)
			if err != nil {
				return err
			}
			below, err := filepath.Rel(top, name)
			if err != nil {
				return err
			}
			below = filepath.ToSlash(below)
			for _, at := range making(file, fset) {
				known := below
				if requesters[known] == "" {
					known = path.Dir(below) + "/*"
				}
				if requesters[known] == "" {
					t.Errorf("%s:%s may make requests: say to whom, in requesters", below, at)
				}
				found[known] = true
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	for name := range requesters {
		if !found[name] {
			t.Errorf("%s makes no requests any more", name)
		}
	}
}

// making returns where a file refers to what makes requests, as "line: what".
func making(file *ast.File, fset *token.FileSet) (found []string) {
	imports := map[string]string{}
	for _, spec := range file.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		local := path.Base(p)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		imports[local] = p
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && slices.Contains(makers[imports[x.Name]], s.Sel.Name) {
				found = append(found, strconv.Itoa(fset.Position(n.Pos()).Line)+": "+x.Name+"."+s.Sel.Name)
			}
		}
		return true
	})
	return found
}
