package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/shared/pipeline/description"
)

// TestGuide: every description of the guide is right, and has at most 15 lines.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile("../../docs/your-pipeline.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(guide), -1)
	if len(blocks) < 4 {
		t.Errorf("the guide has %d descriptions", len(blocks))
	}
	presets := map[string]bool{}
	for _, block := range blocks {
		set, err := description.Parse([]byte(block[1]), description.Options{
			Secret: func(string) (string, bool) { return "a secret", true }, RefuseLoopback: true,
		})
		if err != nil {
			t.Errorf("%s\n%v", block[1], err)
			continue
		}
		presets[set.Default().Preset] = true
		if lines := strings.Count(block[1], "\n"); lines > 15 {
			t.Errorf("%s has %d lines", set.Default().Name, lines)
		}
	}
	if len(presets) < 4 {
		t.Errorf("the guide shows the presets %v", presets)
	}
}
