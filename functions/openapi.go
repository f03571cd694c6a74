// Package openapi holds the description of what is spoken over HTTP by the public functions and the console, for people and for generators of clients.
package openapi

import _ "embed"

// YAML is an OpenAPI 3.0.3 document, in UTF-8. It is not to be changed. A test holds real requests and answers of every route against it.
//
//go:embed openapi.yaml
var YAML []byte
