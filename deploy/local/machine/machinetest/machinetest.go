// Package machinetest serves the functions of a machine to tests.
package machinetest

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Listen returns a listener on loopback, whose address a machine has to know before it is opened.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// Serve serves handlers by path on a listener. The caller closes the server: before or after the
// machine, as the test needs it.
func Serve(listener net.Listener, handlers map[string]http.Handler) *httptest.Server {
	mux := http.NewServeMux()
	for path, h := range handlers {
		mux.Handle(path, h)
	}
	server := httptest.NewUnstartedServer(mux)
	_ = server.Listener.Close()
	server.Listener = listener
	server.Start()
	return server
}
