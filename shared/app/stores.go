package app

import "github.com/casewatch/casewatch/shared/store"

// linked holds the store drivers of the program by name. The file of each driver in this package
// adds it. A build tag in that file leaves the driver out of a deployment.
var linked = map[string]store.Opener{}
