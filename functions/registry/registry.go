// Package registry lists the functions for programs that serve several of them in one process, such
// as `make run`. What is deployed does not use it: function.go registers each function by name,
// since Google's buildpack reads that file, and a test holds the two to each other.
package registry

import (
	"net/http"
	"slices"
	"strings"

	"github.com/casewatch/casewatch/functions/callback"
	"github.com/casewatch/casewatch/functions/cancel"
	"github.com/casewatch/casewatch/functions/check"
	"github.com/casewatch/casewatch/functions/complete"
	"github.com/casewatch/casewatch/functions/console"
	"github.com/casewatch/casewatch/functions/dispatch"
	"github.com/casewatch/casewatch/functions/start"
	"github.com/casewatch/casewatch/functions/status"
	"github.com/casewatch/casewatch/functions/sweep"
	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// Build makes a function of its settings and the watcher.
type Build = func(*config.Config, *reconcile.Reconciler) http.Handler

// Function is one function.
type Function struct {
	Name string // as config.Functions names it
	New  Build
	// Below says that the function serves the paths below its own, such as /status/{case_id}.
	Below bool
}

// Path is where a process of several functions serves f; one that ends in a slash stands for all
// paths below it.
func (f Function) Path() string {
	if f.Below {
		return "/" + f.Name + "/"
	}
	return "/" + f.Name
}

var table = []Function{
	{"start", start.New, false},
	{"status", status.New, true},
	{"cancel", cancel.New, true},
	{"callback", callback.New, true},
	{"dispatch", dispatch.New, false},
	{"check", check.New, false},
	{"complete", complete.New, false},
	{"sweep", sweep.New, false},
	{"console", console.New, true},
}

// All returns every function, in the order of [config.Functions].
func All() []Function { return slices.Clone(table) }

// Named returns the function of that name.
func Named(name string) (Function, bool) {
	i := slices.IndexFunc(table, func(f Function) bool { return f.Name == name })
	if i < 0 {
		return Function{}, false
	}
	return table[i], true
}

// Handlers returns every function by its path, each served as when it is deployed alone: at the
// root. handler serves what a Build makes.
func Handlers(handler func(Build) http.Handler) map[string]http.Handler {
	all := make(map[string]http.Handler, len(table))
	for _, f := range table {
		all[f.Path()] = http.StripPrefix(strings.TrimSuffix(f.Path(), "/"), handler(f.New))
	}
	return all
}
