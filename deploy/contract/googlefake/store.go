package googlefake

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// obj is a JSON object.
type obj = map[string]any

// store holds what exists, by API and name: "cloudtasks/projects/P/locations/R/queues/Q". The IAM policy of a resource is beside it, under its key
// and ":iamPolicy".
type store map[string]obj

// get returns what is at key, or the API's not-found error.
func (s store) get(key string) (obj, error) {
	if found, ok := s[key]; ok {
		return found, nil
	}
	return nil, notFound(nameOf(key))
}

// create puts a new resource at key, or returns the API's error for one that is there already.
func (s store) create(key string, r obj) (obj, error) {
	if _, ok := s[key]; ok {
		return nil, exists(nameOf(key))
	}
	s[key] = r
	return r, nil
}

// remove deletes what is at key with its policy and all that is below it.
func (s store) remove(key string) error {
	if _, ok := s[key]; !ok {
		return notFound(nameOf(key))
	}
	maps.DeleteFunc(s, func(k string, _ obj) bool { return k == key || k == key+policySuffix || strings.HasPrefix(k, key+"/") })
	return nil
}

// list returns the resources directly below a collection, by name.
func (s store) list(collection string) []any {
	items := []any{}
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if id, ok := strings.CutPrefix(key, collection+"/"); ok && !strings.Contains(id, "/") && !strings.HasSuffix(id, policySuffix) {
			items = append(items, s[key])
		}
	}
	return items
}

// keys are the keys of the store with a prefix, sorted.
func (s store) keys(prefix string) []string {
	var keys []string
	for key := range s {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// nameOf is the name in a key: what follows the API.
func nameOf(key string) string {
	_, name, _ := strings.Cut(key, "/")
	return name
}

// last is the last segment of a name.
func last(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// clone copies r, so that what is answered is not what is kept.
func clone[T any](r T) T {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // it came from JSON
	}
	var c T
	if err := json.Unmarshal(data, &c); err != nil {
		panic(err)
	}
	return c
}

// with returns r with the given fields besides.
func with(r obj, fields obj) obj {
	all := maps.Clone(r)
	if all == nil {
		all = obj{}
	}
	maps.Copy(all, fields)
	return all
}

// defaults fills in what r lacks, objects below it too.
func defaults(r, values obj) obj {
	for name, value := range values {
		have, ok := r[name]
		if !ok {
			r[name] = clone(value)
			continue
		}
		if inner, ok := have.(obj); ok {
			if below, ok := value.(obj); ok {
				defaults(inner, below)
			}
		}
	}
	return r
}

// merge puts the fields of from into into, object by object.
func merge(into, from obj) {
	for name, value := range from {
		inner, ok := into[name].(obj)
		if below, isObject := value.(obj); ok && isObject {
			merge(inner, below)
			continue
		}
		into[name] = value
	}
}

// patch applies an update as Google's APIs do: the fields of the mask are taken from the update, or cleared where it lacks them. Without a
// mask all fields that the update has are taken.
func patch(into, from obj, mask string) {
	if mask == "" {
		maps.Copy(into, from)
		return
	}
	for path := range strings.SplitSeq(mask, ",") {
		setPath(into, from, strings.Split(camel(path), "."))
	}
}

func setPath(into, from obj, path []string) {
	name := path[0]
	if len(path) > 1 {
		inner, ok := into[name].(obj)
		if !ok {
			inner = obj{}
			into[name] = inner
		}
		below, _ := from[name].(obj)
		setPath(inner, below, path[1:])
		return
	}
	if value, ok := from[name]; ok {
		into[name] = value
	} else {
		delete(into, name)
	}
}

// camel turns the field names of a mask into those of JSON.
func camel(path string) string {
	var b strings.Builder
	upper := false
	for _, r := range path {
		switch {
		case r == '_':
			upper = true
		case upper:
			b.WriteString(strings.ToUpper(string(r)))
			upper = false
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// at returns the value at a path of fields, or nil.
func at(r any, path ...string) any {
	for _, name := range path {
		o, ok := r.(obj)
		if !ok {
			return nil
		}
		r = o[name]
	}
	return r
}

// text returns the string at a path of fields, or "".
func text(r any, path ...string) string {
	s, _ := at(r, path...).(string)
	return s
}

// items returns the list at a path of fields, or none.
func items(r any, path ...string) []any {
	l, _ := at(r, path...).([]any)
	return l
}
