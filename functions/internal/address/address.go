// Package address reads which run of which case a URL means.
package address

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/fault"
)

// Address names a run.
type Address struct {
	CaseID string
	Run    int // 0: the current one
}

// Parse reads /{case_id}?run=N. Errors: NotFound for a path that names no case, Invalid with each fault.
func Parse(r *http.Request) (Address, error) {
	id := strings.TrimPrefix(r.URL.Path, "/")
	if id == "" || strings.Contains(id, "/") {
		return Address{}, fault.New(fault.NotFound, "the path must be /{case_id}")
	}
	a := Address{CaseID: id}
	var faults []fault.Fault
	if !cases.ValidID(id) {
		faults = append(faults, fault.Fault{Pointer: "case_id", Detail: InvalidID})
	}
	if runs := r.URL.Query()["run"]; len(runs) > 0 {
		var err error
		if a.Run, err = strconv.Atoi(runs[0]); err != nil || a.Run < 1 || len(runs) > 1 {
			faults = append(faults, fault.Fault{Pointer: "run", Detail: "must be a positive number, given once"})
		}
	}
	if len(faults) > 0 {
		return Address{}, &fault.Error{Kind: fault.Invalid, Detail: "the address is not valid", Faults: faults}
	}
	return a, nil
}

// InvalidID is what is said of an id that names no case.
const InvalidID = "must be a letter or digit, then up to 127 of A-Z a-z 0-9 . _ : -"
