// Package system tests the whole: every function as processes of its own, two instances of each,
// over each store, with Google's emulators of Firestore and Pub/Sub, a PostgreSQL server and the
// local Cloud Tasks server between them. `make system` runs it.
package system
