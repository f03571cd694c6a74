package main

import "slices"

// guards are all that are tried, in the order in which a run meets them.
func guards() []guard {
	return slices.Concat(ruleGuards, checkGuards, endGuards, watchGuards, freshGuards, repairGuards, nameGuards)
}
