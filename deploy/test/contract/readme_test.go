package contract

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/shared/config"
)

// row is a setting's line in the README's table.
func row(s config.Setting) string {
	standard := "none"
	switch {
	case s.Required:
		standard = "required"
	case s.Default != "":
		standard = "`" + s.Default + "`"
	}
	var by string
	switch missing := without(config.Functions(), s.Functions); {
	case len(s.Functions) == 0:
		by = "deployments, `make run`"
	case len(missing) == 0:
		by = "all"
	case len(missing) == 1:
		by = "all but " + missing[0]
	default:
		by = strings.Join(s.Functions, ", ")
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |", s.Name, standard, s.Doc, by)
}

func without(list, drop []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(drop, s) })
}

// TestReadmeHasEverySetting: the README's table is the one in shared/config. What fails prints the table as it should be.
func TestReadmeHasEverySetting(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root(t), "README.md"))
	if err != nil {
		t.Error(err)
	}
	table := []string{"| setting | default | | used by |", "| --- | --- | --- | --- |"}
	for _, s := range config.Settings() {
		table = append(table, row(s))
	}
	if want := strings.Join(table, "\n"); !strings.Contains(string(data), want) {
		t.Errorf("the README's table of settings is not that of shared/config:\n%s", want)
	}
}
