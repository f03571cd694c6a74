// Package contract holds tests of the tree itself: that imports go downwards only, that nothing resident lives in what is
// deployed, that the settings are documented, and that what would be uploaded builds and boots as Google's buildpack builds
// and boots it. It has no code of its own.
package contract
