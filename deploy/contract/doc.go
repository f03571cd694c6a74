// Package contract holds tests of the tree itself: that imports go downwards only, that nothing resident lives in what is
// deployed, that the settings are documented, that alerts, metrics and runbooks fit the log, that what would be uploaded builds and
// boots as Google's buildpack builds and boots it, and what the deploy scripts do, with the real gcloud and a fake of Google's APIs.
// It has no code of its own.
package contract
