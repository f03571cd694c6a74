package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
)

// decodeEvents reads a stream of server-sent events into what the document describes: a list of events, each with its name, id and data. It knows only what
// our streams have: retry on its own, comments, and events with their data on one line.
func decodeEvents(r io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	events := []any{}
	blocks := strings.Split(string(text), "\n\n")
	if !regexp.MustCompile(`^retry: (2000|5000)$`).MatchString(blocks[0]) {
		return nil, fmt.Errorf("a stream begins with %q, not when to come back", blocks[0])
	}
	if blocks[len(blocks)-1] != "" {
		return nil, errors.New("a stream ends within an event")
	}
	for _, block := range blocks[1 : len(blocks)-1] {
		event := map[string]any{}
		for line := range strings.SplitSeq(block, "\n") {
			name, value, ok := strings.Cut(line, ":")
			value = strings.TrimPrefix(value, " ")
			_, again := event[name]
			switch {
			case !ok || again:
				return nil, fmt.Errorf("a line of a stream is %q", line)
			case name == "": // a comment
			case name == "retry" && value == "5000":
			case name == "data":
				var data any
				if err := json.Unmarshal([]byte(value), &data); err != nil {
					return nil, err
				}
				event["data"] = data
			default:
				event[name] = value
			}
		}
		if len(event) > 0 {
			events = append(events, event)
		}
	}
	return events, nil
}
