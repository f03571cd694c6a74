package app

import (
	"net/http"
	"os"
)

// Function returns an entry point for the functions framework. If FUNCTION_TARGET names this
// function, invalid settings end the process immediately, with a log line that names each.
// Otherwise settings are read at the first request.
func Function(name string, build Build) func(http.ResponseWriter, *http.Request) {
	p := New(name, Options{})
	if os.Getenv("FUNCTION_TARGET") == name {
		if _, err := p.Config(); err != nil {
			newLog(os.Stderr, "").Error("the settings are faulty", "error", err.Error())
			os.Exit(1)
		}
	}
	return p.Handler(build).ServeHTTP
}
