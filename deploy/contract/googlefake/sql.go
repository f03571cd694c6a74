package googlefake

import (
	"fmt"
	"net/http"
	"strconv"
)

// sqlAPI is Cloud SQL's administration: https://cloud.google.com/sql/docs/postgres/admin-api/rest/v1beta4.
func sqlAPI() *api {
	get := func(r *request) (any, error) { return r.state.get(r.key()) }
	list := func(kind string) func(*request) (any, error) {
		return func(r *request) (any, error) {
			if instance := r.vars["i"]; instance != "" {
				if _, err := r.state.get(r.instanceKey(instance)); err != nil {
					return nil, err
				}
			}
			return obj{"kind": "sql#" + kind + "List", "items": r.state.list(r.key())}, nil
		}
	}
	createInstance := func(r *request) (any, error) {
		name := text(r.body, "name")
		region := text(r.body, "region")
		if region == "" {
			region = r.opts.Region
		}
		instance := clone(with(r.body, obj{
			"kind": "sql#instance", "state": "RUNNABLE", "project": r.opts.Project, "region": region, "connectionName": r.opts.Project + ":" + region + ":" + name, "backendType": "SECOND_GEN",
			"selfLink": "https://sqladmin.googleapis.com/sql/v1beta4/projects/" + r.opts.Project + "/instances/" + name, "createTime": r.now(), "serviceAccountEmailAddress": r.agent("sqladmin"),
			"ipAddresses": []any{obj{"type": "PRIMARY", "ipAddress": "192.0.2.1"}}, "gceZone": region + "-a",
		}))
		delete(instance, "rootPassword")
		defaults(instance, obj{"instanceType": "CLOUD_SQL_INSTANCE", "settings": obj{"settingsVersion": "1", "kind": "sql#settings"}})
		if _, err := r.state.create(r.instanceKey(name), instance); err != nil {
			return nil, err
		}
		r.state[r.instanceKey(name)+"/databases/postgres"] = obj{"kind": "sql#database", "name": "postgres", "instance": name, "project": r.opts.Project, "charset": "UTF8", "collation": "en_US.UTF8"}
		r.state[r.instanceKey(name)+"/users/postgres"] = obj{"kind": "sql#user", "name": "postgres", "instance": name, "project": r.opts.Project}
		return r.sqlOperation("CREATE", name), nil
	}
	patchInstance := func(r *request) (any, error) {
		instance, err := r.state.get(r.key())
		if err != nil {
			return nil, err
		}
		merge(instance, clone(r.body))
		version, _ := strconv.Atoi(text(instance, "settings", "settingsVersion"))
		objAt(instance, "settings")["settingsVersion"] = strconv.Itoa(version + 1)
		return r.sqlOperation("UPDATE", last(r.name)), nil
	}
	deleteInstance := func(r *request) (any, error) {
		instance, err := r.state.get(r.key())
		if err != nil {
			return nil, err
		}
		if protected, _ := at(instance, "settings", "deletionProtectionEnabled").(bool); protected {
			return nil, invalid("The instance is protected. Please disable the deletion protection and try again.")
		}
		if err := r.state.remove(r.key()); err != nil {
			return nil, err
		}
		return r.sqlOperation("DELETE", last(r.name)), nil
	}
	createChild := func(kind string) func(*request) (any, error) {
		return func(r *request) (any, error) {
			instance := r.vars["i"]
			if _, err := r.state.get(r.instanceKey(instance)); err != nil {
				return nil, err
			}
			child := clone(with(r.body, obj{"kind": "sql#" + kind, "instance": instance, "project": r.opts.Project}))
			delete(child, "password")
			if _, err := r.state.create(r.key()+"/"+text(child, "name"), child); err != nil {
				return nil, err
			}
			return r.sqlOperation("CREATE_"+kind, instance), nil
		}
	}
	updateUser := func(r *request) (any, error) {
		if _, err := r.state.get(r.key() + "/" + r.query.Get("name")); err != nil {
			return nil, err
		}
		return r.sqlOperation("UPDATE_USER", r.vars["i"]), nil
	}
	deleteUser := func(r *request) (any, error) {
		if err := r.state.remove(r.key() + "/" + r.query.Get("name")); err != nil {
			return nil, err
		}
		return r.sqlOperation("DELETE_USER", r.vars["i"]), nil
	}
	deleteDatabase := func(r *request) (any, error) {
		if err := r.state.remove(r.key()); err != nil {
			return nil, err
		}
		return r.sqlOperation("DELETE_DATABASE", r.vars["i"]), nil
	}
	const instances = "projects/{p}/instances"
	return &api{service: "sqladmin.googleapis.com", routes: []route{
		{http.MethodGet, instances, list("instances")},
		{http.MethodPost, instances, createInstance},
		{http.MethodGet, instances + "/{i}", get},
		{http.MethodPatch, instances + "/{i}", patchInstance},
		{http.MethodDelete, instances + "/{i}", deleteInstance},
		{http.MethodGet, instances + "/{i}/databases", list("databases")},
		{http.MethodPost, instances + "/{i}/databases", createChild("database")},
		{http.MethodGet, instances + "/{i}/databases/{d}", get},
		{http.MethodDelete, instances + "/{i}/databases/{d}", deleteDatabase},
		{http.MethodGet, instances + "/{i}/users", list("users")},
		{http.MethodPost, instances + "/{i}/users", createChild("user")},
		{http.MethodGet, instances + "/{i}/users/{u}", get},
		{http.MethodPut, instances + "/{i}/users", updateUser},
		{http.MethodDelete, instances + "/{i}/users", deleteUser},
	}}
}

func (r *request) instanceKey(name string) string {
	return fmt.Sprintf("sql/projects/%s/instances/%s", r.opts.Project, name)
}

// sqlOperation is an operation in the form of this API, which has ended.
func (r *request) sqlOperation(kind, instance string) obj {
	id := uuid(r.next("operation"))
	op := obj{
		"kind": "sql#operation", "name": id, "status": "DONE", "operationType": kind, "targetId": instance, "targetProject": r.opts.Project, "insertTime": r.now(), "endTime": r.now(),
	}
	r.ops[fmt.Sprintf("sql/projects/%s/operations/%s", r.opts.Project, id)] = op
	return op
}
