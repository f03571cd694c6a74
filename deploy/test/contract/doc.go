// Package contract holds tests of the tree itself: that imports go downwards only, that nothing
// resident lives in what is deployed, that the settings are documented, that alerts, metrics and
// runbooks fit the log, that what would be uploaded builds and boots as Google's buildpack builds
// and boots it. The scripts of a deployment have their tests beside them, in deploy/gcp. It has no
// code of its own.
package contract
