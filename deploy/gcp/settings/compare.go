package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// compare prints a line for each value of the file wanted that the file live does not have. A
// member that wanted does not have is not compared. Lists are compared as a whole; if all their
// entries have names, by name. It returns errDifferences if it printed a line.
func compare(out io.Writer, name, wanted, live string) error {
	var docs [2]any
	for i, path := range []string{wanted, live} {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := yaml.Unmarshal(data, &docs[i]); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	found := differences("", docs[0], docs[1])
	for _, line := range found {
		fmt.Fprintf(out, "%s: %s\n", name, line)
	}
	if len(found) > 0 {
		return errDifferences
	}
	return nil
}

// differences returns a text for each value of wanted that live does not have.
func differences(path string, wanted, live any) []string {
	switch w := wanted.(type) {
	case nil:
		return nil
	case map[string]any:
		l, _ := live.(map[string]any)
		var found []string
		for _, name := range slices.Sorted(maps.Keys(w)) {
			found = append(found, differences(join(path, name), w[name], l[name])...)
		}
		return found
	case []any:
		return listDifferences(path, w, live)
	}
	if w, l := scalar(path, wanted), scalar(path, live); w != l {
		return []string{fmt.Sprintf("%s is %s, should be %s", path, shown(l), shown(w))}
	}
	return nil
}

// listDifferences is differences for a list.
func listDifferences(path string, wanted []any, live any) []string {
	l, _ := live.([]any)
	w, named := byName(wanted)
	if ln, ok := byName(l); named && ok {
		found := differences(path, w, ln)
		for _, name := range slices.Sorted(maps.Keys(ln)) {
			if _, ok := w[name]; !ok {
				found = append(found, fmt.Sprintf("%s is there, should not be", join(path, name)))
			}
		}
		return found
	}
	if len(wanted) != len(l) {
		return []string{fmt.Sprintf("%s has %d entries, should have %d", path, len(l), len(wanted))}
	}
	var found []string
	for i := range wanted {
		found = append(found, differences(fmt.Sprintf("%s[%d]", path, i), wanted[i], l[i])...)
	}
	return found
}

// byName returns the entries of a list by their names. It fails if the list is empty or an entry
// has no name.
func byName(list []any) (map[string]any, bool) {
	found := map[string]any{}
	for _, entry := range list {
		m, _ := entry.(map[string]any)
		name, ok := m["name"].(string)
		if !ok {
			return nil, false
		}
		found[name] = entry
	}
	return found, len(list) > 0
}

// join appends a name to a path.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// scalar returns one text for all spellings of a value. Google's APIs leave out zero values and
// write some numbers as strings. A quantity has several spellings
// (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/).
func scalar(path string, value any) string {
	text := strings.TrimSpace(fmt.Sprint(value))
	switch {
	case value == nil || text == "0" || text == "0s" || strings.EqualFold(text, "false"):
		return ""
	case strings.EqualFold(text, "true"):
		return "true"
	case strings.HasSuffix(path, "limits.cpu"):
		return strings.TrimSuffix(text, "000m")
	case strings.HasSuffix(path, "limits.memory"):
		return fmt.Sprintf("%dMi", kib(text)>>10)
	}
	return text
}

func shown(text string) string {
	if text == "" {
		return "not set"
	}
	return text
}
