package googlefake

import (
	"net/url"
	"slices"
	"strings"
)

// request is one call of an API.
type request struct {
	*Fake
	api    string // as in the override's name: cloudtasks, run, ...
	host   string
	method string
	path   string // without the API, with the version
	query  url.Values
	body   obj
	raw    []byte
	ctype  string

	name string            // the path without version and verb
	verb string            // what follows the last colon
	vars map[string]string // of the route's pattern
}

// key is the place in the store of what the call names.
func (r *request) key() string { return r.api + "/" + r.name }

// route says what answers a method on names of a form: "projects/{p}/topics/{id}". A segment {x...} takes the rest, slashes and all. What
// follows a colon is the verb. The version before the name does not count.
type route struct {
	method  string
	pattern string
	answer  func(*request) (any, error)
}

// apis are the APIs that the fake knows, by the name of their override.
var apis map[string]*api

// api is one API.
type api struct {
	service string // that must be enabled in the project; "": none
	routes  []route
	// policies says whether resources of the API have IAM policies, at :getIamPolicy and :setIamPolicy.
	policies bool
}

func init() {
	apis = map[string]*api{
		"cloudresourcemanager": resourceManagerAPI(),
		"serviceusage":         serviceUsageAPI(),
		"iam":                  serviceAccountAPI(),
		"artifactregistry":     artifactRegistryAPI(),
		"cloudbuild":           cloudBuildAPI(),
		"storage":              storageAPI(),
		"run":                  runAPI(),
		"iap":                  {service: "iap.googleapis.com", policies: true},
		"cloudtasks":           tasksAPI(),
		"pubsub":               pubsubAPI(),
		"cloudscheduler":       schedulerAPI(),
		"secretmanager":        secretsAPI(),
		"firestore":            firestoreAPI(),
		"sql":                  sqlAPI(),
		"logging":              loggingAPI(),
		"monitoring":           monitoringAPI(),
		"containeranalysis":    containerAnalysisAPI(),
	}
}

// match reports whether a name has the form of a pattern, and what its variables are.
func match(pattern, name string) (map[string]string, bool) {
	vars := map[string]string{}
	segments := strings.Split(name, "/")
	parts := strings.Split(pattern, "/")
	for i, part := range parts {
		if id, ok := strings.CutSuffix(part, "...}"); ok {
			if len(segments) <= i {
				return nil, false
			}
			vars[id[1:]] = strings.Join(segments[i:], "/")
			return vars, true
		}
		if i >= len(segments) {
			return nil, false
		}
		if strings.HasPrefix(part, "{") {
			if segments[i] == "" {
				return nil, false
			}
			vars[part[1:len(part)-1]] = segments[i]
		} else if part != segments[i] {
			return nil, false
		}
	}
	return vars, len(segments) == len(parts)
}

// split takes a path apart: "v2/projects/P/queues/Q:pause" is a version, a name and a verb. Escaped slashes stay so.
func split(path string) (name, verb string) {
	name = strings.TrimPrefix(path, "sql/") // before the version of Cloud SQL's API
	if version, rest, ok := strings.Cut(name, "/"); ok && isVersion(version) {
		name = rest
	}
	// The verb is after the last colon; digests in names have colons too, but what follows them begins with no letter of a verb's.
	if before, after, ok := cutLast(name, ":"); ok && isVerb(after) {
		name, verb = before, after
	}
	return unescape(strings.ReplaceAll(name, "%2F", escapedSlash)), verb
}

// escapedSlash stays an escaped slash when it is unescaped: it is one in an id, not between two.
const escapedSlash = "%252F"

// idOf is a name as an id of one segment.
func idOf(name string) string { return strings.ReplaceAll(name, "/", "%2F") }

// unescape undoes the escaping of a path.
func unescape(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func isVersion(s string) bool { return len(s) >= 2 && s[0] == 'v' && s[1] >= '0' && s[1] <= '9' }

// verbs are the custom methods that the fake may be asked for; anything else after a colon belongs to a name.
var verbs = []string{
	"getIamPolicy", "setIamPolicy", "testIamPermissions", "enable", "disable", "batchEnable", "batchGet", "generateServiceIdentity",
	"getServiceIdentity", "pause", "resume", "purge", "run", "publish", "addVersion", "access", "destroy", "list", "write", "submit", "cancel", "wait", "buffer",
	"generateUploadUrl", "undelete", "modifyPushConfig", "detach", "importDocuments", "exportDocuments",
}

func isVerb(s string) bool { return slices.Contains(verbs, s) }
