package googlefake

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
)

// policySuffix follows the key of a resource in that of its IAM policy.
const policySuffix = ":iamPolicy"

// isPolicyVerb tells the calls about IAM policies, which are alike in all APIs.
func isPolicyVerb(verb string) bool {
	return verb == "getIamPolicy" || verb == "setIamPolicy" || verb == "testIamPermissions"
}

// policyCall answers them.
func (f *Fake) policyCall(r *request) (any, error) {
	key := r.key()
	switch r.api {
	case "iam":
		key = "iam/" + f.accountName(r.name)
	case "iap":
		var err error
		if key, err = f.iapKey(r.name); err != nil {
			return nil, err
		}
	}
	if _, err := f.state.get(key); err != nil {
		return nil, err
	}
	switch r.verb {
	case "getIamPolicy":
		return f.policy(key), nil
	case "testIamPermissions": // the owner may do anything
		return obj{"permissions": r.body["permissions"]}, nil
	}
	wanted, ok := r.body["policy"].(obj)
	if !ok {
		return nil, invalid("policy is missing")
	}
	if etag := text(wanted, "etag"); etag != "" && etag != text(f.policy(key), "etag") {
		return nil, aborted("There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff.")
	}
	if err := f.checkMembers(wanted); err != nil {
		return nil, err
	}
	policy := obj{"version": 1, "bindings": dropEmpty(items(wanted, "bindings"))}
	if audit, ok := wanted["auditConfigs"]; ok {
		policy["auditConfigs"] = audit
	}
	f.state[key+policySuffix] = clone(policy)
	return f.policy(key), nil
}

// policy returns the policy of what is at key, with the ETag of its content.
func (f *Fake) policy(key string) obj {
	policy := with(obj{"version": 1}, f.state[key+policySuffix])
	if len(items(policy, "bindings")) == 0 {
		delete(policy, "bindings")
	}
	delete(policy, "etag")
	sum := fnv.New64a()
	_, _ = fmt.Fprint(sum, policy)
	policy["etag"] = fmt.Sprintf("%016x", sum.Sum64()) // which is base64, too, and the same in both of its alphabets
	return policy
}

func dropEmpty(bindings []any) []any {
	return slices.DeleteFunc(slices.Clone(bindings), func(b any) bool { return len(items(b, "members")) == 0 })
}

// checkMembers refuses service accounts that do not exist, as IAM does: an account must be made before it is given anything.
func (f *Fake) checkMembers(policy obj) error {
	for _, binding := range items(policy, "bindings") {
		if text(binding, "role") == "" {
			return invalid("Role is missing in a binding.")
		}
		for _, m := range items(binding, "members") {
			member, _ := m.(string)
			kind, id, found := strings.Cut(member, ":")
			switch {
			case member == "allUsers", member == "allAuthenticatedUsers", kind == "deleted":
			case !found || !slices.Contains([]string{"user", "group", "domain", "serviceAccount", "principal", "principalSet", "projectOwner", "projectEditor", "projectViewer"}, kind):
				return invalid("Invalid member %q.", member)
			case kind == "serviceAccount" && !f.accountExists(id):
				return invalid("Service account %s does not exist.", id)
			}
		}
	}
	return nil
}

// granted reports whether member has role on what is at key, or on the project.
func (f *Fake) granted(key, role, member string) bool {
	for _, k := range []string{key, f.projectKey()} {
		for _, binding := range items(f.policy(k), "bindings") {
			if text(binding, "role") == role && slices.Contains(items(binding, "members"), any(member)) {
				return true
			}
		}
	}
	return false
}

// forgetMember renames a deleted service account wherever it is bound, as IAM does.
func (f *Fake) forgetMember(email, uid string) {
	gone := fmt.Sprintf("deleted:serviceAccount:%s?uid=%s", email, uid)
	for key, policy := range f.state {
		if !strings.HasSuffix(key, policySuffix) {
			continue
		}
		for _, binding := range items(policy, "bindings") {
			members := items(binding, "members")
			for i, member := range members {
				if member == "serviceAccount:"+email {
					members[i] = gone
				}
			}
		}
	}
}
