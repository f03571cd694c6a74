// Command embedded serves one function, FUNCTION_TARGET, at PORT over an SQLite store, which no
// deployed program links.
package main

import (
	"fmt"
	"net/http"
	"os"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"github.com/GoogleCloudPlatform/functions-framework-go/functions"

	"github.com/casewatch/casewatch/functions/registry"
	"github.com/casewatch/casewatch/shared/app"
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/drivers"
	"github.com/casewatch/casewatch/shared/store/sqlite"
)

func main() {
	if err := serve(os.Getenv("FUNCTION_TARGET")); err != nil {
		fmt.Fprintln(os.Stderr, "embedded:", err)
		os.Exit(1)
	}
}

func serve(name string) error {
	function, ok := registry.Named(name)
	if !ok {
		return fmt.Errorf("FUNCTION_TARGET %q is no function", name)
	}
	p := app.New(name, app.Options{Stores: map[string]store.Opener{drivers.SQLite: store.OpenerOf(sqlite.Open)}})
	if _, err := p.Config(); err != nil {
		return err
	}
	h := p.Handler(function.New)
	functions.HTTP(name, func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) })
	return funcframework.StartHostPort("127.0.0.1", os.Getenv("PORT"))
}
