package googlefake

import (
	"bytes"
	"crypto/md5" // the checksum of Cloud Storage
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"regexp"
	"strings"
)

func storageAPI() *api {
	get := func(r *request) (any, error) { return r.state.get(r.key()) }
	list := func(r *request) (any, error) {
		found := []any{}
		for _, bucket := range r.state.list("storage/b") {
			if strings.HasPrefix(text(bucket, "name"), r.query.Get("prefix")) {
				found = append(found, bucket)
			}
		}
		return obj{"kind": "storage#buckets", "items": found}, nil
	}
	create := func(r *request) (any, error) {
		name := text(r.body, "name")
		return r.state.create("storage/b/"+name, with(r.body, obj{
			"kind": "storage#bucket", "id": name, "projectNumber": r.opts.Number, "storageClass": "STANDARD", "timeCreated": r.now(),
		}))
	}
	object := func(r *request) (any, error) {
		return r.state.get("storage/b/" + r.vars["b"] + "/o/" + unescape(r.vars["o"]))
	}
	return &api{routes: []route{
		{http.MethodGet, "b", list},
		{http.MethodPost, "b", create},
		{http.MethodGet, "b/{b}", get},
		{http.MethodPatch, "b/{b}", get},
		{http.MethodGet, "b/{b}/o/{o...}", object},
	}}
}

var uploadPath = regexp.MustCompile(`b/([^/]+)/o$`)

// uploadObject keeps an object that is uploaded: at once, or with its metadata before it.
func uploadObject(r *request) (any, error) {
	m := uploadPath.FindStringSubmatch(r.path)
	if m == nil {
		return nil, invalid("the fake knows no upload to %s", r.path)
	}
	data, name := r.raw, r.query.Get("name")
	if kind, params, err := mime.ParseMediaType(strings.ReplaceAll(r.ctype, "'", "\"")); err == nil && strings.HasPrefix(kind, "multipart/") {
		reader := multipart.NewReader(bytes.NewReader(r.raw), params["boundary"])
		for range 2 { // the metadata, then the object
			part, err := reader.NextPart()
			if err != nil {
				return nil, invalid("upload: %v", err)
			}
			if data, err = io.ReadAll(part); err != nil {
				return nil, invalid("upload: %v", err)
			}
		}
	}
	r.uploads = append(r.uploads, Upload{Bucket: m[1], Object: name, Data: data})
	sum := md5.Sum(data)
	stored := obj{
		"kind": "storage#object", "bucket": m[1], "name": name, "generation": fmt.Sprint(r.next("generation")), "size": fmt.Sprint(len(data)),
		"md5Hash": base64.StdEncoding.EncodeToString(sum[:]), "timeCreated": r.now(),
	}
	r.state["storage/b/"+m[1]+"/o/"+name] = stored
	return stored, nil
}

func cloudBuildAPI() *api {
	create := func(r *request) (any, error) {
		build, err := r.build(r.name, r.body)
		if err != nil {
			return nil, err
		}
		return r.buildOperation(build), nil
	}
	get := func(r *request) (any, error) { return r.state.get(r.key()) }
	list := func(r *request) (any, error) { return obj{"builds": r.state.list(r.key())}, nil }
	account := func(r *request) (any, error) {
		return obj{"name": r.name, "serviceAccountEmail": fmt.Sprintf("projects/%s/serviceAccounts/%s-compute@developer.gserviceaccount.com", r.opts.Project, r.opts.Number)}, nil
	}
	return &api{service: "cloudbuild.googleapis.com", routes: []route{
		{http.MethodPost, "projects/{p}/locations/{l}/builds", create},
		{http.MethodGet, "projects/{p}/locations/{l}/builds", list},
		{http.MethodGet, "projects/{p}/locations/{l}/builds/{b}", get},
		{http.MethodPost, "projects/{p}/builds", create},
		{http.MethodGet, "projects/{p}/builds", list},
		{http.MethodGet, "projects/{p}/builds/{b}", get},
		{http.MethodGet, "projects/{p}/locations/{l}/defaultServiceAccount", account},
	}}
}

// build runs a build to its end: what it read must have been uploaded, and its images are pushed. It fails, as a build does, where their repository
// does not exist.
func (r *request) build(builds string, wanted obj) (obj, error) {
	if source, ok := at(wanted, "source", "storageSource").(obj); ok {
		if _, err := r.state.get(fmt.Sprintf("storage/b/%s/o/%s", text(source, "bucket"), text(source, "object"))); err != nil {
			return nil, err
		}
	}
	account := text(wanted, "serviceAccount")
	if err := r.actAs(last(account)); err != nil {
		return nil, err
	}
	id := uuid(r.next("build"))
	name := builds + "/" + id
	build := with(wanted, obj{
		"id": id, "name": name, "projectId": r.opts.Project, "status": "SUCCESS", "createTime": r.now(), "startTime": r.now(), "finishTime": r.now(),
		"logUrl": "https://console.cloud.google.com/cloud-build/builds/" + id + "?project=" + r.opts.Number,
	})
	// gcloud would read the log of the build from a bucket by HTTPS; of this one it does not ask for any.
	build["options"] = with(objAt(build, "options"), obj{"logging": "CLOUD_LOGGING_ONLY"})
	results := []any{}
	for _, image := range imagesOf(wanted) {
		digest, err := r.pushImage(image)
		if err != nil {
			build["status"], build["statusDetail"] = "FAILURE", err.Error()
			build["failureInfo"] = obj{"type": "PUSH_FAILED", "detail": err.Error()}
			break
		}
		results = append(results, obj{"name": image, "digest": digest})
	}
	build["results"] = obj{"images": results, "buildStepOutputs": []any{}}
	r.state["cloudbuild/"+name] = build
	return build, nil
}

// imagesOf are the images that a build pushes: those it lists, and those that pack makes.
func imagesOf(build obj) []string {
	var images []string
	for _, image := range items(build, "images") {
		if name, ok := image.(string); ok {
			images = append(images, name)
		}
	}
	return images
}

// buildOperation is the operation of a build that has ended.
func (r *request) buildOperation(build obj) obj {
	const kind = "type.googleapis.com/google.devtools.cloudbuild.v1."
	name := location(text(build, "name")) + "/operations/" + text(build, "id")
	op := obj{
		"name": name, "done": true,
		"metadata": obj{"@type": kind + "BuildOperationMetadata", "build": build},
		"response": with(build, obj{"@type": kind + "Build"}),
	}
	if text(build, "status") != "SUCCESS" {
		delete(op, "response")
		op["error"] = obj{"code": 9, "message": text(build, "statusDetail")}
	}
	r.ops["cloudbuild/"+name] = op
	return op
}
