package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// readReasons reads survivors.txt: the key of a mutant on a line, and below it, indented, why it
// may survive. Lines that begin with # are comments.
func readReasons(file string) (map[string]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	reasons := map[string]string{}
	key := ""
	for i, line := range strings.Split(string(data), "\n") {
		text := strings.TrimSpace(line)
		switch {
		case text == "" || strings.HasPrefix(text, "#"):
		case text == line:
			if _, twice := reasons[text]; twice || key != "" && reasons[key] == "" {
				return nil, fmt.Errorf("%s:%d: the mutant above has no reason, or this one is listed twice", file, i+1)
			}
			key, reasons[text] = text, ""
		case key == "":
			return nil, fmt.Errorf("%s:%d: a reason without a mutant", file, i+1)
		default:
			reasons[key] = strings.TrimSpace(reasons[key] + " " + text)
		}
	}
	if key != "" && reasons[key] == "" {
		return nil, errors.New(file + ": the last mutant has no reason")
	}
	return reasons, nil
}
