//go:build !nosqlite

package main

import (
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/drivers"
	"github.com/casewatch/casewatch/shared/store/sqlite"
)

func init() { stores = map[string]store.Opener{drivers.SQLite: store.OpenerOf(sqlite.Open)} }
