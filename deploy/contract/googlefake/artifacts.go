package googlefake

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

func artifactRegistryAPI() *api {
	create := func(r *request) (any, error) {
		key := r.key() + "/" + r.query.Get("repositoryId")
		repository, err := r.state.create(key, with(r.body, obj{"name": nameOf(key), "createTime": r.now()}))
		if err != nil {
			return nil, err
		}
		return r.done(location(r.name), repository, "google.devtools.artifactregistry.v1.Repository"), nil
	}
	remove := func(r *request) (any, error) {
		if err := r.state.remove(r.key()); err != nil {
			return nil, err
		}
		return r.done(location(r.name), nil, empty), nil
	}
	update := func(r *request) (any, error) {
		repository, err := r.state.get(r.key())
		if err == nil {
			patch(repository, r.body, r.query.Get("updateMask"))
		}
		return repository, err
	}
	get := func(r *request) (any, error) { return r.state.get(r.key()) }
	list := func(field string) func(*request) (any, error) {
		return func(r *request) (any, error) {
			parent := r.key()[:strings.LastIndexByte(r.key(), '/')]
			if strings.Count(parent, "/") > 4 { // below a repository, which must be there, as must the package
				if _, err := r.state.get(parent); err != nil {
					return nil, err
				}
			}
			return obj{field: r.state.list(r.key())}, nil
		}
	}
	settings := func(r *request) (any, error) {
		return obj{"name": r.name, "legacyRedirectionState": "REDIRECTION_FROM_GCR_IO_ENABLED"}, nil
	}
	const repository = "projects/{p}/locations/{l}/repositories/{r}"
	return &api{service: "artifactregistry.googleapis.com", policies: true, routes: []route{
		{http.MethodGet, "projects/{p}/projectSettings", settings},
		{http.MethodPost, "projects/{p}/locations/{l}/repositories", create},
		{http.MethodGet, "projects/{p}/locations/{l}/repositories", list("repositories")},
		{http.MethodGet, repository, get},
		{http.MethodPatch, repository, update},
		{http.MethodDelete, repository, remove},
		{http.MethodGet, repository + "/dockerImages", list("dockerImages")},
		{http.MethodGet, repository + "/dockerImages/{i}", get},
		{http.MethodGet, repository + "/packages", list("packages")},
		{http.MethodGet, repository + "/packages/{k}", get},
		{http.MethodGet, repository + "/packages/{k}/tags", list("tags")},
		{http.MethodGet, repository + "/packages/{k}/tags/{t}", get},
		{http.MethodGet, repository + "/packages/{k}/versions", list("version")},
		{http.MethodGet, repository + "/packages/{k}/versions/{v}", get},
	}}
}

// containerAnalysisAPI knows nothing of any image. gcloud asks it for more whenever it describes one.
func containerAnalysisAPI() *api {
	none := func(*request) (any, error) { return obj{"occurrences": []any{}}, nil }
	return &api{routes: []route{
		{http.MethodGet, "projects/{p}/occurrences", none},
		{http.MethodGet, "projects/{p}/locations/{l}/occurrences", none},
	}}
}

// imageName is REGION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE, with a tag, a digest or neither.
var imageName = regexp.MustCompile(`^([a-z0-9-]+)-docker\.pkg\.dev/([^/]+)/([^/]+)/([^@:]+)(?::([\w.-]+))?(?:@(sha256:[0-9a-f]{64}))?$`)

// image is an image's name taken apart.
type image struct {
	uri                 string // without tag and digest
	repository, key     string // of the store
	tag, digest, escape string
}

// parseImage takes an image's name apart; ok is false for one that is not in the project's own registry.
func (f *Fake) parseImage(name string) (image, bool) {
	m := imageName.FindStringSubmatch(name)
	if m == nil || m[2] != f.opts.Project {
		return image{}, false
	}
	i := image{uri: fmt.Sprintf("%s-docker.pkg.dev/%s/%s/%s", m[1], m[2], m[3], m[4]), tag: m[5], digest: m[6], escape: idOf(m[4])}
	if i.tag == "" && i.digest == "" {
		i.tag = "latest"
	}
	i.repository = fmt.Sprintf("artifactregistry/projects/%s/locations/%s/repositories/%s", m[2], m[1], m[3])
	i.key = i.repository + "/packages/" + i.escape
	return i, true
}

// resolveImage returns the digest of an image in the project's registry, or "" if it is not there.
func (f *Fake) resolveImage(i image) string {
	if i.digest != "" {
		if _, ok := f.state[i.key+"/versions/"+i.digest]; ok {
			return i.digest
		}
		return ""
	}
	return last(text(f.state[i.key+"/tags/"+i.tag], "version"))
}

// pushImage puts an image into its repository, which must exist, and returns its digest: another one each time, the same in every run.
func (f *Fake) pushImage(name string) (digest string, err error) {
	i, ok := f.parseImage(name)
	if !ok {
		return "", invalid("%s is not an image of the project's registry", name)
	}
	if _, err := f.state.get(i.repository); err != nil {
		return "", err
	}
	builds := len(f.state.list(i.key + "/versions"))
	sum := sha256.Sum256(fmt.Appendf(nil, "%s:%s#%d", i.uri, i.tag, builds))
	digest = "sha256:" + hex.EncodeToString(sum[:])
	now := f.now()
	version, tag := i.key+"/versions/"+digest, i.key+"/tags/"+i.tag
	f.state[i.key] = obj{"name": nameOf(i.key), "createTime": now, "updateTime": now}
	if before, ok := f.state[tag]; ok {
		delete(f.state["artifactregistry/"+text(before, "version")], "relatedTags")
	}
	f.state[tag] = obj{"name": nameOf(tag), "version": nameOf(version)}
	f.state[version] = obj{
		"name": nameOf(version), "createTime": now, "updateTime": now, "relatedTags": []any{f.state[tag]},
		"metadata": obj{"imageSizeBytes": "1000000", "mediaType": "application/vnd.docker.distribution.manifest.v2+json"},
	}
	for _, other := range f.state.list(i.repository + "/dockerImages") { // the tag leaves the image that had it
		if docker, ok := other.(obj); ok && strings.HasPrefix(text(docker, "uri"), i.uri+"@") {
			var tags []any
			for _, t := range items(docker, "tags") {
				if t != i.tag {
					tags = append(tags, t)
				}
			}
			docker["tags"] = tags
		}
	}
	docker := i.repository + "/dockerImages/" + i.escape + "@" + digest
	f.state[docker] = obj{
		"name": nameOf(docker), "uri": i.uri + "@" + digest, "tags": []any{i.tag}, "imageSizeBytes": "1000000", "uploadTime": now, "updateTime": now, "buildTime": now,
		"mediaType": "application/vnd.docker.distribution.manifest.v2+json",
	}
	return digest, nil
}
