// Package openapi holds the OpenAPI description of the HTTP interface of the public functions and
// the console.
package openapi

import _ "embed"

// YAML is an OpenAPI 3.0.3 document in UTF-8. Callers must not change it. A test checks real
// requests and responses of every route against it.
//
//go:embed openapi.yaml
var YAML []byte
