//go:build !nofirestore

package app

import (
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/drivers"
	"github.com/casewatch/casewatch/shared/store/firestore"
)

func init() { linked[drivers.Firestore] = store.OpenerOf(firestore.Open) }
