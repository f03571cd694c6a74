package app

import (
	"net/http"
	"os"
)

// Function returns an entry point for the functions framework. When the process is deployed as that
// function (FUNCTION_TARGET), wrong settings stop it here, at its start, with a log line that names
// each. Otherwise no setting is read before the first request.
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
