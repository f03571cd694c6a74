//go:build !nopostgres

package app

import (
	"github.com/casewatch/casewatch/shared/store"
	"github.com/casewatch/casewatch/shared/store/drivers"
	"github.com/casewatch/casewatch/shared/store/postgres"
)

func init() { linked[drivers.Postgres] = store.OpenerOf(postgres.Open) }
