package main

import "testing"

// TestGuardsAreThere: each guard is found in its file, once, so that the list follows the code.
func TestGuardsAreThere(t *testing.T) {
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, g := range guards {
		if _, err := g.without(root); err != nil {
			t.Errorf("%s: %v", g.name, err)
		}
		if names[g.name] {
			t.Errorf("%s is named twice", g.name)
		}
		names[g.name] = true
	}
}
