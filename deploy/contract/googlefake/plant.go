package googlefake

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// fault is an answer that is to be an error.
type fault struct {
	pattern *regexp.Regexp
	left    int // calls that match until then
	status  int
}

// Fail makes the nth call (from 1) that matches from now on fail once with an HTTP status, without having done anything. match is a regular
// expression, tried on the call's line. Use a status that gcloud does not repeat by itself: 400, 403, 404, 409 or 412; it does repeat 429 and 5xx,
// for up to half a minute.
func (f *Fake) Fail(match string, n, status int) {
	pattern, err := regexp.Compile(match)
	if err != nil || n < 1 || status < 400 {
		f.fatalf("Fail(%q, %d, %d): %v", match, n, status, err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, &fault{pattern: pattern, left: n, status: status})
}

// inject returns the fault of a call, if it has one.
func (f *Fake) inject(c Call) error {
	for i, fault := range f.faults {
		if !fault.pattern.MatchString(c.String()) {
			continue
		}
		if fault.left--; fault.left > 0 {
			continue
		}
		f.faults = slices.Delete(f.faults, i, i+1)
		status := statuses[fault.status]
		if status == "" {
			status = "UNKNOWN"
		}
		return &apiError{code: fault.status, status: status, message: "injected: " + http.StatusText(fault.status)}
	}
	return nil
}

// Edit changes what exists behind everybody's back. name is the API and the resource's name, or as much of their end as is
// unique: "queues/check". ":iamPolicy" after it is the resource's policy, which is there as soon as the resource is. The test fails if there is no
// such resource, or more than one.
func (f *Fake) Edit(name string, change func(resource map[string]any)) {
	f.mu.Lock()
	key, problem := f.find(name)
	if problem == "" {
		if _, ok := f.state[key]; !ok {
			f.state[key] = obj{"version": 1, "bindings": []any{}}
		}
		edited := clone(f.state[key])
		change(edited)
		f.state[key] = clone(edited) // so that []string and the like are as they are in JSON
	}
	f.mu.Unlock()
	if problem != "" {
		f.fatalf("%s", problem)
	}
}

// Get returns a copy of a resource, named as for Edit.
func (f *Fake) Get(name string) map[string]any {
	f.mu.Lock()
	key, problem := f.find(name)
	found := clone(f.state[key])
	f.mu.Unlock()
	if problem != "" {
		f.fatalf("%s", problem)
	}
	return found
}

// Put makes a resource, or replaces it. key is the API and the whole name.
func (f *Fake) Put(key string, resource map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state[key] = clone(resource)
}

// Delete removes a resource, named as for Edit, and what is below it.
func (f *Fake) Delete(name string) {
	f.mu.Lock()
	key, problem := f.find(name)
	if problem == "" {
		_ = f.state.remove(key) // find saw it
	}
	f.mu.Unlock()
	if problem != "" {
		f.fatalf("%s", problem)
	}
}

// Has reports whether a resource exists, named as for Edit.
func (f *Fake) Has(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, problem := f.find(name)
	return problem == ""
}

// Names returns the keys of what exists below a prefix, sorted; "" for all.
func (f *Fake) Names(prefix string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.keys(prefix)
}

// find returns the key that a name means, or what is wrong with it.
func (f *Fake) find(name string) (key, problem string) {
	base, ofPolicy := strings.CutSuffix(name, policySuffix)
	var found []string
	for k := range f.state {
		if k == base {
			found = []string{k}
			break
		}
		if strings.HasSuffix(k, "/"+base) {
			found = append(found, k)
		}
	}
	switch {
	case len(found) == 0:
		return "", "there is no " + base
	case len(found) > 1:
		slices.Sort(found)
		return "", base + " may be " + strings.Join(found, " or ")
	case ofPolicy:
		return found[0] + policySuffix, ""
	}
	return found[0], ""
}

// SetURL makes a Cloud Run service report another URL than the one it would have on Google Cloud, now and when it is deployed again:
// where a test serves it. In recorded calls the usual URL stands for it.
func (f *Fake) SetURL(service, url string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.urls[service] = url
	for key := range f.state {
		if isService(key) && last(key) == service {
			f.refreshService(key)
		}
	}
}
