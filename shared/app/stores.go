package app

import "github.com/casewatch/casewatch/shared/config"

// stores are the drivers that are linked: those of a deployed function. A deployment that uses one
// leaves the other out by a build tag, nofirestore or nopostgres, since what is linked is started
// too: its packages' variables are made before the first request.
var stores = map[config.StoreKind]OpenStore{}
