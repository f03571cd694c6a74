package googlefake

import (
	"fmt"
	"hash/fnv"
	"maps"
	"reflect"
	"regexp"
	"strconv"
)

var serviceName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,47}[a-z0-9])?$`)

// putService makes or replaces a service. A template that differs from the last makes a new revision; the traffic goes where it says.
func (r *request) putService(key string, wanted, before obj) (any, error) {
	if err := r.checkService(wanted); err != nil {
		return nil, err
	}
	service := clone(wanted)
	name := text(service, "metadata", "name")
	metadata, _ := service["metadata"].(obj)
	generation := 1
	if n, ok := at(before, "metadata", "generation").(float64); ok {
		generation = int(n) + 1
	}
	now := r.now()
	maps.Copy(metadata, obj{
		"generation": generation, "resourceVersion": "AAY" + strconv.Itoa(r.next("version")), "uid": uuid(r.next("service")),
		"namespace": r.opts.Number, "creationTimestamp": now, "selfLink": "/apis/serving.knative.dev/v1/namespaces/" + r.opts.Number + "/services/" + name,
	})
	if before != nil {
		metadata["uid"], metadata["creationTimestamp"] = text(before, "metadata", "uid"), text(before, "metadata", "creationTimestamp")
	}
	annotations := defaults(objAt(metadata, "annotations"), obj{"run.googleapis.com/ingress": "all"})
	annotations["run.googleapis.com/ingress-status"] = annotations["run.googleapis.com/ingress"]
	annotations["run.googleapis.com/operation-id"] = uuid(r.next("operation"))
	annotations["serving.knative.dev/lastModifier"] = "owner@example.com"
	defaults(annotations, obj{"serving.knative.dev/creator": "owner@example.com"})
	labels := objAt(metadata, "labels")
	labels["cloud.googleapis.com/location"] = r.region()

	status := obj{"observedGeneration": generation}
	for _, field := range []string{"latestReadyRevisionName", "latestCreatedRevisionName"} {
		if revision := text(before, "status", field); revision != "" {
			status[field] = revision
		}
	}
	r.defaultTemplate(service)
	if before == nil || !reflect.DeepEqual(clone(at(service, "spec", "template")), clone(at(before, "spec", "template"))) {
		revision, problem, err := r.newRevision(service, now)
		if err != nil {
			return nil, err
		}
		status["latestCreatedRevisionName"] = revision
		if problem == "" {
			status["latestReadyRevisionName"] = revision
		}
	}
	if len(items(service, "spec", "traffic")) == 0 {
		objAt(service, "spec")["traffic"] = []any{obj{"latestRevision": true, "percent": 100}}
	}
	service["status"] = status
	if err := r.checkTraffic(service); err != nil {
		return nil, err
	}
	r.state[key] = clone(service)
	r.refreshService(key)
	return r.state[key], nil
}

// objAt returns the object in a field, which it makes if it is not there.
func objAt(r obj, name string) obj {
	inner, ok := r[name].(obj)
	if !ok {
		inner = obj{}
		r[name] = inner
	}
	return inner
}

// defaultTemplate fills in what Cloud Run does when a template leaves it out.
func (r *request) defaultTemplate(service obj) {
	spec := objAt(objAt(objAt(service, "spec"), "template"), "spec")
	defaults(spec, obj{"containerConcurrency": 80, "timeoutSeconds": 300, "serviceAccountName": r.opts.Number + "-compute@developer.gserviceaccount.com"})
	for _, c := range items(spec, "containers") {
		if container, ok := c.(obj); ok {
			defaults(container, obj{
				"ports": []any{obj{"name": "http1", "containerPort": 8080}}, "resources": obj{"limits": obj{"cpu": "1000m", "memory": "512Mi"}},
				"startupProbe": obj{"failureThreshold": 1, "periodSeconds": 240, "tcpSocket": obj{"port": 8080}, "timeoutSeconds": 240},
			})
		}
	}
}

// newRevision makes a revision of a service's template. problem is why it cannot start.
func (r *request) newRevision(service obj, now string) (name, problem string, err error) {
	of := text(service, "metadata", "name")
	template, _ := at(service, "spec", "template").(obj)
	number := 1
	for _, key := range r.state.keys(r.revisionKey(of + "-")) {
		if text(r.state[key], "metadata", "labels", "serving.knative.dev/service") == of {
			number++
		}
	}
	name = text(template, "metadata", "name")
	if name == "" {
		name = revisionName(of, number)
	}
	key := r.revisionKey(name)
	if _, ok := r.state[key]; ok {
		return "", "", exists(name)
	}
	digest, problem := r.canStart(template)
	labels := obj{}
	maps.Copy(labels, objAt(objAt(clone(template), "metadata"), "labels"))
	maps.Copy(labels, obj{
		"serving.knative.dev/service": of, "serving.knative.dev/configuration": of, "serving.knative.dev/configurationGeneration": strconv.Itoa(number),
		"cloud.googleapis.com/location": r.region(),
	})
	ready := condition("Ready", problem, now)
	r.state[key] = clone(obj{
		"apiVersion": "serving.knative.dev/v1", "kind": "Revision",
		"metadata": obj{
			"name": name, "namespace": r.opts.Number, "labels": labels, "annotations": at(template, "metadata", "annotations"), "creationTimestamp": now, "generation": 1,
			"uid": uuid(r.next("revision")), "selfLink": "/apis/serving.knative.dev/v1/namespaces/" + r.opts.Number + "/revisions/" + name,
		},
		"spec": template["spec"],
		"status": obj{
			"observedGeneration": 1, "imageDigest": digest, "conditions": []any{ready, condition("ContainerHealthy", problem, now), condition("ResourcesAvailable", "", now), condition("Active", "", now)},
		},
	})
	return name, problem, nil
}

// revisionName is what Cloud Run would call a revision: the service, a number, and three letters that look like chance.
func revisionName(service string, number int) string {
	const letters = "bcdfghjklmnpqrstvwxz"
	sum := fnv.New32a()
	_, _ = fmt.Fprint(sum, service, number)
	n := sum.Sum32()
	suffix := make([]byte, 3)
	for i := range suffix {
		suffix[i] = letters[n%uint32(len(letters))]
		n /= uint32(len(letters))
	}
	return fmt.Sprintf("%s-%05d-%s", service, number, suffix)
}

func condition(kind, problem, now string) obj {
	if problem == "" {
		return obj{"type": kind, "status": "True", "lastTransitionTime": now}
	}
	return obj{"type": kind, "status": "False", "reason": "RevisionFailed", "message": problem, "lastTransitionTime": now}
}

// canStart says why a revision cannot start, if so: its image is not there, or a secret that its account may not read.
func (r *request) canStart(template obj) (digest, problem string) {
	account := text(template, "spec", "serviceAccountName")
	for _, c := range items(template, "spec", "containers") {
		name := text(c, "image")
		digest = name
		if i, ok := r.parseImage(name); ok {
			found := r.resolveImage(i)
			if found == "" {
				return "", fmt.Sprintf("Image '%s' not found.", name)
			}
			digest = i.uri + "@" + found
		}
		for _, e := range items(c, "env") {
			if ref, ok := at(e, "valueFrom", "secretKeyRef").(obj); ok {
				if problem := r.canRead(text(ref, "name"), text(ref, "key"), account); problem != "" {
					return "", problem
				}
			}
		}
	}
	for _, v := range items(template, "spec", "volumes") {
		for _, item := range items(v, "secret", "items") {
			if problem := r.canRead(text(v, "secret", "secretName"), text(item, "key"), account); problem != "" {
				return "", problem
			}
		}
	}
	return digest, ""
}

func (r *request) canRead(secret, version, account string) string {
	name := fmt.Sprintf("projects/%s/secrets/%s", r.opts.Project, secret)
	if !r.granted("secretmanager/"+name, "roles/secretmanager.secretAccessor", "serviceAccount:"+account) {
		return fmt.Sprintf("Permission denied on secret: %s/versions/%s for Revision service account %s. The service account used must be granted the 'Secret Manager Secret Accessor' role (roles/secretmanager.secretAccessor) at the secret, project or higher level.", name, version, account)
	}
	if _, err := r.secretVersion(name, version); err != nil {
		return fmt.Sprintf("Secret %s/versions/%s was not found", name, version)
	}
	return ""
}
