// Package postgrestest starts a PostgreSQL server for tests, from the binaries that are installed
// on this machine: no container and no network. It runs on Unix.
//
//	func TestMain(m *testing.M) {
//		code := m.Run()
//		postgrestest.Stop()
//		os.Exit(code)
//	}
//
//	func TestX(t *testing.T) {
//		s, err := postgres.Open(t.Context(), store.Options{Location: postgrestest.Start(t)})
//
// [Start] starts one server per test binary, at its first call, and hands out a fresh database at
// each. A test that restarts or stops its server has one of its own, of [New]. Where PostgreSQL is
// missing, tests are skipped, and say how to get it.
//
// A server listens on a Unix socket in a temporary folder only, and writes nothing to disk on
// purpose (fsync is off). PostgreSQL refuses to run as root: then it runs as the user postgres, or
// else nobody. It ends with [Stop] or with the test binary, whatever ends that, and takes its
// folder with it.
package postgrestest
