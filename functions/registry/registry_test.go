package registry_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/casewatch/casewatch/functions/registry"
	"github.com/casewatch/casewatch/shared/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The functions are those whose settings there are.
func TestEveryFunction(t *testing.T) {
	var names []string
	for _, f := range registry.All() {
		names = append(names, f.Name)
		if got, ok := registry.Named(f.Name); !ok || got.Name != f.Name || got.New == nil {
			t.Errorf("Named(%q) is %+v, %v", f.Name, got, ok)
		}
	}
	if diff := cmp.Diff(config.Functions(), names); diff != "" {
		t.Errorf("functions (-of config +of the registry):\n%s", diff)
	}
	if _, ok := registry.Named("starts"); ok {
		t.Error("there is a function of a name that is none")
	}
}

func TestHandlersServeAtTheRoot(t *testing.T) {
	built := 0
	all := registry.Handlers(func(registry.Build) http.Handler {
		built++
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.URL.Path)) })
	})
	if built != len(config.Functions()) || len(all) != built {
		t.Errorf("%d functions are built and %d served, there are %d", built, len(all), len(config.Functions()))
	}
	for path, test := range map[string]struct{ ask, want string }{
		"/start": {"/start", ""}, "/status/": {"/status/c", "/c"}, "/console/": {"/console/", "/"},
	} {
		w := httptest.NewRecorder()
		all[path].ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, test.ask, http.NoBody))
		if w.Code != http.StatusOK || w.Body.String() != test.want {
			t.Errorf("%s is served by %s as %q with %d, want %q with 200", test.ask, path, w.Body, w.Code, test.want)
		}
	}
}
