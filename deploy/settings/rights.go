package main

import (
	"fmt"
	"slices"
)

// Policy is who may do what to one resource: a project, account, secret, topic, subscription, queue or service; of the kind iap, who may pass
// Identity-Aware Proxy to a service.
type Policy struct {
	Kind     string    `json:"kind"`
	Name     string    `json:"name"` // as gcloud takes it
	Bindings []Binding `json:"bindings"`
}

// Binding gives a role to members.
type Binding struct {
	Role      string     `json:"role"`
	Members   []string   `json:"members"`
	Condition *Condition `json:"condition,omitempty"`
	exact     bool       // nobody else may have the role
}

// Condition limits a binding (https://cloud.google.com/iam/docs/conditions-overview).
type Condition struct {
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
	Expression  string `json:"expression"`
}

// rights plans who may do what. They follow from the settings: who is told of a queue, a topic or a secret may use it, and nobody else; and
// always at the resource, unless there is none to put them on.
func (p *Plan) rights(f envFile) {
	var store []Binding
	var tasks []string
	every := map[string]*Policy{}
	var order []string
	give := func(kind, name, role, member string) {
		key := kind + " " + name
		if every[key] == nil {
			every[key] = &Policy{Kind: kind, Name: name}
			order = append(order, key)
		}
		every[key].Bindings = bind(every[key].Bindings, role, member)
	}
	for _, function := range p.functions() {
		member := "serviceAccount:" + p.account(function)
		// The store can only be granted by the project; for Firestore with a condition on the database
		// (https://cloud.google.com/firestore/docs/security/iam).
		switch {
		case p.Firestore != nil:
			store = bind(store, "roles/datastore.user", member)
		case p.CloudSQL != nil:
			store = bind(store, "roles/cloudsql.client", member)
		}
		for _, secret := range p.Secrets {
			if used(secret.Setting, function) {
				give("secret", secret.Name, "roles/secretmanager.secretAccessor", member)
			}
		}
		if used("ENDED_TOPIC", function) {
			give("topic", p.derived(f, "ENDED_TOPIC"), "roles/pubsub.publisher", member)
		}
		if used("DEAD_LETTER_TOPIC", function) {
			give("topic", p.derived(f, "DEAD_LETTER_TOPIC"), "roles/pubsub.publisher", member)
		}
		if used("CHECK_QUEUE", function) {
			tasks = append(tasks, member)
			for _, q := range p.Queues {
				if q.Name == p.derived(f, "DISPATCH_QUEUE") && !used("DISPATCH_QUEUE", function) {
					continue
				}
				// The enqueuer may only create, and only the viewer may ask for a task, which sweep and the console's page of health do
				// (https://cloud.google.com/iam/docs/roles-permissions/cloudtasks).
				give("queue", q.Name, "roles/cloudtasks.enqueuer", member)
				give("queue", q.Name, "roles/cloudtasks.taskDeleter", member)
				if function == "sweep" || function == console {
					give("queue", q.Name, "roles/cloudtasks.viewer", member)
				}
			}
		}
	}
	for _, member := range tasks { // whoever creates a task with the token of an account acts as that account
		give("account", p.account("tasks"), "roles/iam.serviceAccountUser", member)
	}
	for _, publisher := range split(f.values["PIPELINE_PUBLISHERS"]) {
		give("topic", p.derived(f, "PIPELINE_EVENTS_TOPIC"), "roles/pubsub.publisher", "serviceAccount:"+publisher)
	}
	// Pub/Sub itself moves dead letters (https://cloud.google.com/pubsub/docs/handling-failures#grant_forwarding_permissions).
	give("topic", p.derived(f, "DEAD_LETTER_TOPIC"), "roles/pubsub.publisher", p.agent("pubsub"))
	give("subscription", p.Prefix+"-complete", "roles/pubsub.subscriber", p.agent("pubsub"))
	for _, s := range p.Services {
		for _, member := range p.invokers(s) {
			give("service", s.Name, "roles/run.invoker", member)
		}
		if s.IAP {
			for _, user := range p.operators {
				give("iap", s.Name, "roles/iap.httpsResourceAccessor", member(user))
			}
		}
	}
	for i := range store {
		if p.Firestore != nil {
			store[i].Condition = &Condition{Title: p.Prefix + "-database", Expression: fmt.Sprintf("resource.name==%q", p.full("databases", p.Firestore.Database))}
		}
	}
	// The account that builds unless another is named may be the project's editor, or have no right at all
	// (https://cloud.google.com/build/docs/cloud-build-service-account-updates).
	builder := Binding{Role: "roles/cloudbuild.builds.builder", Members: []string{"serviceAccount:" + p.account("build")}}
	p.Policies = append(p.Policies, Policy{Kind: "project", Name: p.Project, Bindings: append(store, builder)})
	for _, key := range order {
		p.Policies = append(p.Policies, *every[key])
	}
}

// bind adds a member to the binding of a role.
func bind(bindings []Binding, role, member string) []Binding {
	for i := range bindings {
		if bindings[i].Role == role {
			bindings[i].Members = append(bindings[i].Members, member)
			return bindings
		}
	}
	return append(bindings, Binding{Role: role, Members: []string{member}, exact: slices.Contains(doors, role)})
}

// doors are the roles by which a service is reached: nobody but those planned may have one.
var doors = []string{"roles/run.invoker", "roles/iap.httpsResourceAccessor"}

// invokers are who may call a service.
func (p *Plan) invokers(s Service) []string {
	switch {
	case s.Public:
		return []string{"allUsers"}
	case s.IAP: // whoever it lets pass comes as the proxy (https://cloud.google.com/run/docs/securing/identity-aware-proxy-cloud-run)
		return []string{p.agent("iap")}
	case s.Function == console:
		members := []string{}
		for _, user := range p.operators {
			members = append(members, member(user))
		}
		return members
	}
	return []string{"serviceAccount:" + p.account(callers[s.Function])}
}

// agent is the account that a Google service itself works as.
func (p *Plan) agent(service string) string {
	return fmt.Sprintf("serviceAccount:service-%s@gcp-sa-%s.iam.gserviceaccount.com", p.Number, service)
}

// livePolicy is a policy as gcloud shows and takes it. What else a binding holds is kept.
type livePolicy struct {
	Bindings []liveBinding `json:"bindings"`
	Etag     string        `json:"etag,omitempty"`
	Version  int           `json:"version,omitempty"`
}

type liveBinding struct {
	Role      string     `json:"role"`
	Members   []string   `json:"members"`
	Condition *Condition `json:"condition,omitempty"`
}

// is reports whether a live binding is what b is about: the same role, under the same condition.
func (l liveBinding) is(b Binding) bool {
	if l.Role != b.Role || (l.Condition == nil) != (b.Condition == nil) {
		return false
	}
	return b.Condition == nil || l.Condition.Expression == b.Condition.Expression
}

// holders returns who has what b gives.
func (l *livePolicy) holders(b Binding) []string {
	var members []string
	for _, have := range l.Bindings {
		if have.is(b) {
			members = append(members, have.Members...)
		}
	}
	return members
}

// public are the members that mean anyone.
var public = []string{"allUsers", "allAuthenticatedUsers"}

// compare reports what of wanted is missing, who has an exact role beside the wanted, and what is open to anyone and should not be.
func (l *livePolicy) compare(wanted Policy, differs func(field, is, want string)) {
	for _, b := range wanted.Bindings {
		have := l.holders(b)
		for _, member := range b.Members {
			if !slices.Contains(have, member) {
				differs(b.Role, "not granted to "+member, "granted")
			}
		}
	}
	for _, have := range l.Bindings {
		for _, member := range have.Members {
			if !wanted.allows(have.Role, member) {
				differs(have.Role, "granted to "+member, "not granted")
			}
		}
	}
}

// allows reports whether a live grant may stay: those of other roles are others' business, unless they are to anyone.
func (p Policy) allows(role, member string) bool {
	exact := false
	for _, b := range p.Bindings {
		if b.Role == role {
			if slices.Contains(b.Members, member) {
				return true
			}
			exact = exact || b.exact
		}
	}
	return !exact && !slices.Contains(public, member)
}

// merge returns l with what wanted adds and without what it does not allow. The etag stays, so that writing it back fails if the policy has
// changed since.
func (l *livePolicy) merge(wanted Policy) livePolicy {
	merged := livePolicy{Etag: l.Etag, Version: l.Version, Bindings: []liveBinding{}}
	for _, have := range l.Bindings {
		members := slices.DeleteFunc(slices.Clone(have.Members), func(m string) bool { return !wanted.allows(have.Role, m) })
		if len(members) > 0 {
			merged.Bindings = append(merged.Bindings, liveBinding{have.Role, members, have.Condition})
		}
	}
	for _, b := range wanted.Bindings {
		have := merged.holders(b)
		missing := slices.DeleteFunc(slices.Clone(b.Members), func(m string) bool { return slices.Contains(have, m) })
		if i := slices.IndexFunc(merged.Bindings, func(l liveBinding) bool { return l.is(b) }); i >= 0 {
			merged.Bindings[i].Members = append(merged.Bindings[i].Members, missing...)
		} else {
			merged.Bindings = append(merged.Bindings, liveBinding{b.Role, missing, b.Condition})
		}
	}
	return merged
}
