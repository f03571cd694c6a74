package app

import "github.com/casewatch/casewatch/shared/store"

// linked are the store drivers of a deployed program, by name: each file of this package that is named
// as a driver adds it. A deployment leaves out those that it does not use, by their build tags.
var linked = map[string]store.Opener{}
