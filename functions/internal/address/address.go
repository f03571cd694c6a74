// Package address reads the case and the run that a URL names.
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
	Run    int // 0: the current run
}

// Parse reads /{case_id}?run=N. The error is NotFound if the path has not this form, and Invalid,
// with every field error, if the id or the run is not valid.
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

// InvalidID is the detail of the field error for an id that is not valid.
const InvalidID = "must be a letter or digit, then up to 127 of A-Z a-z 0-9 . _ : -"
