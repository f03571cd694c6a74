package contract

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
)

// decodeEvents reads a stream of server-sent events into what the document describes: a list of
// events, each with its name, id and data. It knows only what our streams have: retry in the block
// of the first event or as the last line, comments, and events with their data on one line. A block
// without data is refused: many libraries deliver it as an empty message.
func decodeEvents(r io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	events := []any{}
	blocks := strings.Split(string(text), "\n\n")
	for i, block := range blocks {
		last := i == len(blocks)-1 // no empty line ends it
		event := map[string]any{}
		for line := range strings.Lines(block) {
			name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
			value = strings.TrimPrefix(value, " ")
			_, again := event[name]
			switch {
			case !ok || again:
				return nil, fmt.Errorf("a line of a stream is %q", line)
			case name == "": // a comment
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
		retry, hasRetry := event["retry"]
		delete(event, "retry")
		switch {
		case last && (len(event) > 0 || hasRetry && retry != "5000"):
			return nil, fmt.Errorf("a stream ends within %q", block)
		case last:
		case event["data"] == nil:
			return nil, fmt.Errorf("a block without data is %q", block)
		case hasRetry != (i == 0) || hasRetry && retry != "2000" && retry != "5000":
			return nil, fmt.Errorf("retry is %v in event %d of a stream", retry, i+1)
		default:
			events = append(events, event)
		}
	}
	return events, nil
}
