package googlefake

import (
	"fmt"
	"strings"
)

// done makes a long-running operation that has ended, with what it made. gcloud asks for it again by its name.
func (r *request) done(parent string, response obj, kind string) obj {
	name := fmt.Sprintf("operations/op-%d", r.next("operation"))
	if parent != "" {
		name = parent + "/" + name
	}
	answer := clone(response)
	if answer == nil {
		answer = obj{}
	}
	answer["@type"] = "type.googleapis.com/" + kind
	op := obj{"name": name, "done": true, "metadata": obj{"@type": "type.googleapis.com/google.protobuf.Struct"}, "response": answer}
	r.ops[r.api+"/"+name] = op
	return op
}

// location is the part of a name that operations are below: projects/P/locations/L.
func location(name string) string {
	parts := strings.Split(name, "/")
	return strings.Join(parts[:min(4, len(parts))], "/")
}

const empty = "google.protobuf.Empty"
