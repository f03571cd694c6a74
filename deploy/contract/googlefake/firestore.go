package googlefake

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

const firestoreKind = "google.firestore.admin.v1."

// firestoreAPI has databases, composite indexes and single-field settings, TTL policies among them, not documents:
// https://cloud.google.com/firestore/docs/reference/rest/v1/projects.databases.
func firestoreAPI() *api {
	createDatabase := func(r *request) (any, error) {
		key := r.key() + "/" + r.query.Get("databaseId")
		if strings.HasSuffix(text(r.body, "pointInTimeRecoveryEnablement"), "_UNSPECIFIED") {
			delete(r.body, "pointInTimeRecoveryEnablement")
		}
		database, err := r.state.create(key, defaults(with(clone(r.body), obj{"name": nameOf(key), "uid": uuid(r.next("database")), "createTime": r.now(), "etag": "e"}), obj{
			"concurrencyMode": "PESSIMISTIC", "deleteProtectionState": "DELETE_PROTECTION_DISABLED", "pointInTimeRecoveryEnablement": "POINT_IN_TIME_RECOVERY_DISABLED",
		}))
		if err != nil {
			return nil, err
		}
		return r.done(nameOf(key), database, firestoreKind+"Database"), nil
	}
	updateDatabase := func(r *request) (any, error) {
		database, err := r.state.get(r.key())
		if err != nil {
			return nil, err
		}
		patch(database, r.body, r.query.Get("updateMask"))
		return r.done(r.name, database, firestoreKind+"Database"), nil
	}
	deleteDatabase := func(r *request) (any, error) {
		database, err := r.state.get(r.key())
		if err != nil {
			return nil, err
		}
		if text(database, "deleteProtectionState") == "DELETE_PROTECTION_ENABLED" {
			return nil, precondition("Delete protection is enabled for database %s.", last(r.name))
		}
		if err := r.state.remove(r.key()); err != nil {
			return nil, err
		}
		return r.done(r.name, database, firestoreKind+"Database"), nil
	}
	get := func(r *request) (any, error) { return r.state.get(r.key()) }
	const database = "projects/{p}/databases/{d}"
	return &api{service: "firestore.googleapis.com", routes: []route{
		{http.MethodGet, "projects/{p}/databases", func(r *request) (any, error) { return obj{"databases": r.state.list(r.key())}, nil }},
		{http.MethodPost, "projects/{p}/databases", createDatabase},
		{http.MethodGet, database, get},
		{http.MethodPatch, database, updateDatabase},
		{http.MethodDelete, database, deleteDatabase},
		{http.MethodGet, database + "/operations", listOperations},
		{http.MethodPost, database + "/collectionGroups/{c}/indexes", createIndex},
		{http.MethodGet, database + "/collectionGroups/{c}/indexes", listIndexes},
		{http.MethodGet, database + "/collectionGroups/{c}/indexes/{i}", get},
		{http.MethodDelete, database + "/collectionGroups/{c}/indexes/{i}", func(r *request) (any, error) { return obj{}, r.state.remove(r.key()) }},
		{http.MethodGet, database + "/collectionGroups/{c}/fields", listFields},
		{http.MethodGet, database + "/collectionGroups/{c}/fields/{f...}", getField},
		{http.MethodPatch, database + "/collectionGroups/{c}/fields/{f...}", updateField},
	}}
}

// databaseOf returns the database that a call is about, or that it does not exist.
func (r *request) databaseOf() (string, error) {
	name := fmt.Sprintf("projects/%s/databases/%s", r.vars["p"], r.vars["d"])
	_, err := r.state.get("firestore/" + name)
	return name, err
}

func listOperations(r *request) (any, error) {
	if _, err := r.databaseOf(); err != nil {
		return nil, err
	}
	found := []any{}
	for _, key := range slices.Sorted(maps.Keys(r.ops)) {
		if strings.HasPrefix(key, r.key()+"/") {
			found = append(found, r.ops[key])
		}
	}
	return obj{"operations": found}, nil
}

func createIndex(r *request) (any, error) {
	database, err := r.databaseOf()
	if err != nil {
		return nil, err
	}
	fields := []any{}
	for _, field := range items(r.body, "fields") {
		if text(field, "fieldPath") != "__name__" {
			fields = append(fields, field)
		}
	}
	if len(fields) < 2 {
		return nil, invalid("this index is not necessary, configure using single field index controls")
	}
	for _, index := range r.state.list(r.key()) {
		if fmt.Sprint(at(index, "fields")) == fmt.Sprint(withName(items(r.body, "fields"))) && text(index, "queryScope") == text(r.body, "queryScope") {
			return nil, exists(text(index, "name"))
		}
	}
	key := fmt.Sprintf("%s/CICAg%05d", r.key(), r.next("index "+r.key()))
	r.state[key] = clone(with(r.body, obj{"name": nameOf(key), "state": "READY", "fields": withName(items(r.body, "fields"))}))
	return r.done(database, r.state[key], firestoreKind+"Index"), nil
}

// withName adds the document's name to an index's fields, which always ends with it.
func withName(fields []any) []any {
	if len(fields) > 0 && text(fields[len(fields)-1], "fieldPath") == "__name__" {
		return fields
	}
	order := "ASCENDING"
	if len(fields) > 0 && text(fields[len(fields)-1], "order") != "" {
		order = text(fields[len(fields)-1], "order")
	}
	return append(clone(fields), obj{"fieldPath": "__name__", "order": order})
}

// listIndexes lists the composite indexes of a collection group, or of all ("-").
func listIndexes(r *request) (any, error) {
	database, err := r.databaseOf()
	if err != nil {
		return nil, err
	}
	found := []any{}
	for _, key := range r.state.keys("firestore/" + database + "/collectionGroups/") {
		if vars, ok := match(database+"/collectionGroups/{c}/indexes/{i}", nameOf(key)); ok && (r.vars["c"] == "-" || vars["c"] == r.vars["c"]) {
			found = append(found, r.state[key])
		}
	}
	return obj{"indexes": found}, nil
}

// inherited are the indexes that a field has when nothing else was said.
func inherited(field string) obj {
	ancestor := field[:strings.Index(field, "/collectionGroups/")] + "/collectionGroups/__default__/fields/*"
	single := func(mode obj) obj {
		return obj{"queryScope": "COLLECTION", "state": "READY", "fields": []any{with(obj{"fieldPath": last(field)}, mode)}}
	}
	return obj{"name": field, "indexConfig": obj{"usesAncestorConfig": true, "ancestorField": ancestor, "indexes": []any{
		single(obj{"order": "ASCENDING"}), single(obj{"order": "DESCENDING"}), single(obj{"arrayConfig": "CONTAINS"}),
	}}}
}

func getField(r *request) (any, error) {
	if _, err := r.databaseOf(); err != nil {
		return nil, err
	}
	if field, ok := r.state[r.key()]; ok {
		return field, nil
	}
	return inherited(r.name), nil
}

// updateField sets or clears a field's TTL policy or its exemption from indexes. A field of which nothing is left that differs from the others is as they are.
func updateField(r *request) (any, error) {
	database, err := r.databaseOf()
	if err != nil {
		return nil, err
	}
	field, ok := r.state[r.key()]
	if !ok {
		field = inherited(r.name)
	}
	field = clone(field)
	mask := r.query.Get("updateMask")
	if strings.Contains(mask, "indexConfig") || (mask == "" && r.body["indexConfig"] != nil) {
		if config, ok := r.body["indexConfig"].(obj); ok {
			config = clone(config)
			for _, index := range items(config, "indexes") {
				if index, ok := index.(obj); ok {
					index["state"] = "READY"
				}
			}
			field["indexConfig"] = config
		} else {
			field["indexConfig"] = inherited(r.name)["indexConfig"]
		}
	}
	if strings.Contains(mask, "ttlConfig") || (mask == "" && r.body["ttlConfig"] != nil) {
		if _, ok := r.body["ttlConfig"]; ok {
			field["ttlConfig"] = obj{"state": "ACTIVE"}
		} else {
			delete(field, "ttlConfig")
		}
	}
	field["name"] = r.name
	r.state[r.key()] = field
	if uses, _ := at(field, "indexConfig", "usesAncestorConfig").(bool); uses && field["ttlConfig"] == nil {
		delete(r.state, r.key())
	}
	return r.done(database, field, firestoreKind+"Field"), nil
}

// listFields lists the fields that differ from the others: in their indexes, or by a TTL policy.
func listFields(r *request) (any, error) {
	database, err := r.databaseOf()
	if err != nil {
		return nil, err
	}
	filter := r.query.Get("filter")
	found := []any{}
	for _, key := range r.state.keys("firestore/" + database + "/collectionGroups/") {
		vars, ok := match(database+"/collectionGroups/{c}/fields/{f...}", nameOf(key))
		if !ok || (r.vars["c"] != "-" && vars["c"] != r.vars["c"]) {
			continue
		}
		uses, _ := at(r.state[key], "indexConfig", "usesAncestorConfig").(bool)
		hasTTL := r.state[key]["ttlConfig"] != nil
		if (strings.Contains(filter, "ttlConfig") && hasTTL) || (strings.Contains(filter, "usesAncestorConfig") && !uses) || filter == "" {
			found = append(found, r.state[key])
		}
	}
	return obj{"fields": found}, nil
}
