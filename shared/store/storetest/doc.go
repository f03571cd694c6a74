// Package storetest is the conformance suite of [store.Store]. Every driver passes it:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Harness {
//			return storetest.Harness{Store: open(t)}
//		})
//	}
//
// The suite knows nothing of how a driver keeps its data. Each test uses case ids of its own, and reads what concerns all
// cases (CountOpen, CountByState, Overdue, List) so that records of others do not disturb it: a driver whose databases are dear may hand the
// same one to every test, as long as nobody else writes to it meanwhile. Tests run one after the other; within one, many
// goroutines work at once, on two instances where the driver can open a second.
//
// What drivers may differ in (how many contenders they bear, how long a waiter may take to wake, which goroutines their
// clients keep) is said in the [Harness]. What the interface promises is not.
package storetest
