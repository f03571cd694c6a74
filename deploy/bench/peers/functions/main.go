// Command functions is every function of Casewatch in one process, at PORT, over the SQLite or
// PostgreSQL store that STORE names. It speaks to Cloud Tasks and Pub/Sub servers of other
// processes.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"github.com/GoogleCloudPlatform/functions-framework-go/functions"

	"github.com/casewatch/casewatch/functions/registry"
	"github.com/casewatch/casewatch/shared/app"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/store"
)

// stores are the drivers there are; nil for those of what is deployed. Each build is for one store,
// as what is deployed is.
var stores map[string]store.Opener

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "functions:", err)
		os.Exit(1)
	}
}

func serve() error {
	p := app.New(config.Local, app.Options{Stores: stores})
	if err := p.Open(); err != nil {
		return err
	}
	for path, h := range registry.Handlers(p.Handler) {
		functions.HTTP(strings.TrimPrefix(path, "/"), h.ServeHTTP)
	}
	return funcframework.StartHostPort("127.0.0.1", os.Getenv("PORT"))
}
