package googlefake

import (
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"net/http"
	"strconv"
	"strings"
)

func secretsAPI() *api {
	list := func(field string) func(*request) (any, error) {
		return func(r *request) (any, error) {
			found := r.state.list(r.key())
			return obj{field: found, "totalSize": len(found)}, nil
		}
	}
	get := func(r *request) (any, error) { return r.state.get(r.key()) }
	create := func(r *request) (any, error) {
		key := r.key() + "/" + r.query.Get("secretId")
		return r.state.create(key, with(r.body, obj{"name": fmt.Sprintf("projects/%s/secrets/%s", r.opts.Number, last(key)), "createTime": r.now(), "etag": `"1"`}))
	}
	update := func(r *request) (any, error) {
		secret, err := r.state.get(r.key())
		if err == nil {
			patch(secret, r.body, r.query.Get("updateMask"))
		}
		return secret, err
	}
	// gcloud sends a checksum and wants to be told that it was checked.
	add := func(r *request) (any, error) {
		if _, err := r.state.get(r.key()); err != nil {
			return nil, err
		}
		payload, err := decode(text(r.body, "payload", "data"))
		if err != nil {
			return nil, invalid("payload.data: %v", err)
		}
		checksum := strconv.FormatUint(uint64(crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli))), 10)
		if sent := text(r.body, "payload", "dataCrc32c"); sent != "" && sent != checksum {
			return nil, invalid("The checksum of the payload is %s, not %s", checksum, sent)
		}
		versions := r.key() + "/versions"
		number := len(r.state.list(versions)) + 1
		r.state[fmt.Sprintf("%s/%d", versions, number)] = obj{
			"name": fmt.Sprintf("projects/%s/secrets/%s/versions/%d", r.opts.Number, r.vars["s"], number), "state": "ENABLED", "createTime": r.now(), "etag": `"1"`,
			"clientSpecifiedPayloadChecksum": true,
		}
		r.secrets[fmt.Sprintf("%s/versions/%d", r.name, number)] = obj{"data": base64.StdEncoding.EncodeToString(payload), "dataCrc32c": checksum}
		return r.state[fmt.Sprintf("%s/%d", versions, number)], nil
	}
	version := func(r *request) (any, error) {
		return r.secretVersion("projects/"+r.vars["p"]+"/secrets/"+r.vars["s"], r.vars["v"])
	}
	access := func(r *request) (any, error) {
		found, err := r.secretVersion("projects/"+r.vars["p"]+"/secrets/"+r.vars["s"], r.vars["v"])
		if err != nil {
			return nil, err
		}
		if state := text(found, "state"); state != "ENABLED" {
			return nil, precondition("Secret Version [%s] is in %s state.", text(found, "name"), state)
		}
		payload := r.secrets[fmt.Sprintf("projects/%s/secrets/%s/versions/%s", r.vars["p"], r.vars["s"], last(text(found, "name")))]
		return obj{"name": found["name"], "payload": payload}, nil
	}
	set := func(state string) func(*request) (any, error) {
		return func(r *request) (any, error) {
			found, err := r.secretVersion("projects/"+r.vars["p"]+"/secrets/"+r.vars["s"], r.vars["v"])
			if err == nil {
				found["state"] = state
			}
			return found, err
		}
	}
	const secret = "projects/{p}/secrets/{s}"
	return &api{service: "secretmanager.googleapis.com", policies: true, routes: []route{
		{http.MethodGet, "projects/{p}/secrets", list("secrets")},
		{http.MethodPost, "projects/{p}/secrets", create},
		{http.MethodGet, secret, get},
		{http.MethodPatch, secret, update},
		{http.MethodDelete, secret, func(r *request) (any, error) { return obj{}, r.state.remove(r.key()) }},
		{http.MethodPost, secret + ":addVersion", add},
		{http.MethodGet, secret + "/versions", list("versions")},
		{http.MethodGet, secret + "/versions/{v}", version},
		{http.MethodGet, secret + "/versions/{v}:access", access},
		{http.MethodPost, secret + "/versions/{v}:enable", set("ENABLED")},
		{http.MethodPost, secret + "/versions/{v}:disable", set("DISABLED")},
		{http.MethodPost, secret + "/versions/{v}:destroy", set("DESTROYED")},
	}}
}

// decode decodes base64 in either of its alphabets: gcloud sends the one for URLs.
func decode(text string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(text))
}

// secretVersion finds a version by its number, or the latest.
func (f *Fake) secretVersion(secret, version string) (obj, error) {
	versions := "secretmanager/" + secret + "/versions"
	if version == "latest" {
		version = strconv.Itoa(len(f.state.list(versions)))
	}
	return f.state.get(versions + "/" + version)
}
