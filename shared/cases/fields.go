package cases

import (
	"reflect"
	"strings"
)

// fieldNames are the JSON names of Case's fields.
var fieldNames = func() []string {
	var names []string
	for f := range reflect.TypeFor[Case]().Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	return names
}()
