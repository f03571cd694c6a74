package app

import (
	"errors"
	"slices"
	"testing"
)

// What was opened last may use what was opened before, and is closed first; one that fails keeps
// none from being closed.
func TestCloseAllInReverse(t *testing.T) {
	var order []int
	first, third := errors.New("first"), errors.New("third")
	err := closeAll([]func() error{
		func() error { order = append(order, 1); return first },
		func() error { order = append(order, 2); return nil },
		func() error { order = append(order, 3); return third },
	})
	if !slices.Equal(order, []int{3, 2, 1}) || !errors.Is(err, first) || !errors.Is(err, third) {
		t.Errorf("%v %v", order, err)
	}
	if err := closeAll(nil); err != nil {
		t.Error(err)
	}
}
