// Package firestoretest starts Google's Firestore emulator for tests.
//
//	func TestStore(t *testing.T) {
//		addr := firestoretest.Start(t)
//		…firestore.Open(ctx, store.Options{Project: firestoretest.Project(), EmulatorHost: addr})
//	}
//
// One emulator, a Java process of about 125 MB that takes a second or two to start, serves all
// tests of a test binary; tests keep apart by project, which cost nothing there. There is nothing
// to stop and no goroutine to wait for: a shell beside the emulator reads from a pipe that the test
// binary holds, and kills the emulator when that ends, however it ends.
//
// What the emulator does not do: it takes any query, whether there is an index for it or not,
// deletes nothing by a TTL policy, and takes two seconds and more for each conflict of locks
// (https://firebase.google.com/docs/emulator-suite/connect_firestore).
package firestoretest
