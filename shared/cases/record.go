package cases

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
)

// Shape is the number of the layout of stored records. It grows when records of the layout before
// can no longer be read.
const Shape = 2

// caseFields has Case's fields without its methods.
type caseFields Case

// stored is a record as it is kept.
type stored struct {
	Shape int `json:"shape"`
	caseFields
}

// MarshalJSON encodes c as the stores keep it, together with the members of its record that this
// program does not know.
func (c Case) MarshalJSON() ([]byte, error) {
	known, err := json.Marshal(stored{Shape, caseFields(c)})
	if err != nil || c.unknown == nil {
		return known, err
	}
	return c.unknown.addTo(known)
}

// UnmarshalJSON decodes a record. It keeps the members that this program does not know, at every
// level but in the elements of lists and maps, so that an older revision of this program can update
// a record of a newer one. A record of another [Shape] is an error that says what to do.
func (c *Case) UnmarshalJSON(data []byte) error {
	var s stored
	// As a rule all is known, and one pass is enough.
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err == nil && s.Shape == Shape && d.InputOffset() == int64(len(data)) {
		*c = Case(s.caseFields)
		return nil
	}
	var shape struct {
		Shape int `json:"shape"`
	}
	if err := json.Unmarshal(data, &shape); err != nil {
		return err
	}
	if shape.Shape != Shape {
		return fmt.Errorf("the record has shape %d, and this program reads shape %d: empty the store, "+
			"or run the revision of this program that wrote it", shape.Shape, Shape)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	unknown, err := unknownIn(reflect.TypeFor[stored](), data)
	if err != nil {
		return err
	}
	s.unknown = unknown
	*c = Case(s.caseFields)
	return nil
}

// unknownMembers are the members of a JSON object that its struct has no field for.
type unknownMembers struct {
	members  map[string]json.RawMessage
	objects  map[string]*unknownMembers // of the members that are structs
	optional bool                       // the struct is behind a pointer: without it nothing is kept
}

// unknownIn returns what t has no field for in a JSON object; nil if there is nothing.
func unknownIn(t reflect.Type, object []byte) (*unknownMembers, error) {
	u := &unknownMembers{objects: map[string]*unknownMembers{}}
	if err := json.Unmarshal(object, &u.members); err != nil {
		return nil, err
	}
	for name, field := range jsonFields(t) {
		raw, ok := u.members[name]
		delete(u.members, name)
		optional := field.Kind() == reflect.Pointer
		if optional {
			field = field.Elem()
		}
		if !ok || field.Kind() != reflect.Struct || raw[0] != '{' {
			continue
		}
		inside, err := unknownIn(field, raw)
		if err != nil {
			return nil, err
		}
		if inside != nil {
			inside.optional = optional
			u.objects[name] = inside
		}
	}
	if len(u.members) == 0 && len(u.objects) == 0 {
		return nil, nil
	}
	return u, nil
}

// jsonFields returns the types of a struct's fields by their names in JSON.
func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name != "":
			fields[name] = f.Type
		case f.Anonymous:
			maps.Copy(fields, jsonFields(f.Type))
		}
	}
	return fields
}

// addTo adds u to a JSON object.
func (u *unknownMembers) addTo(object []byte) ([]byte, error) {
	all := maps.Clone(u.members)
	if err := json.Unmarshal(object, &all); err != nil {
		return nil, err
	}
	for name, inside := range u.objects {
		known, ok := all[name]
		switch {
		case !ok && inside.optional:
			continue
		case !ok: // omitted, being zero
			known = []byte("{}")
		}
		merged, err := inside.addTo(known)
		if err != nil {
			return nil, err
		}
		all[name] = merged
	}
	return json.Marshal(all)
}
