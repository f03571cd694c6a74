// Command program is what the buildpack makes of this module: the functions framework over the
// functions that the root package registers. FUNCTION_TARGET says which it serves, PORT where.
package main

import (
	"fmt"
	"os"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"

	_ "github.com/casewatch/casewatch"
)

func main() {
	if err := funcframework.StartHostPort("127.0.0.1", os.Getenv("PORT")); err != nil {
		fmt.Fprintln(os.Stderr, "program:", err)
		os.Exit(1)
	}
}
