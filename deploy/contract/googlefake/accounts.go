package googlefake

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"regexp"
	"strings"
)

var accountID = regexp.MustCompile(`^[a-z][a-z0-9-]{4,28}[a-z0-9]$`)

func serviceAccountAPI() *api {
	create := func(r *request) (any, error) {
		id := text(r.body, "accountId")
		if !accountID.MatchString(id) {
			return nil, invalid("The account ID %q does not have a length between 6 and 30, or the wrong characters.", id)
		}
		email := fmt.Sprintf("%s@%s.iam.gserviceaccount.com", id, r.opts.Project)
		key := r.key() + "/" + email
		account, _ := r.body["serviceAccount"].(obj)
		return r.state.create(key, with(account, obj{
			"name": nameOf(key), "email": email, "projectId": r.opts.Project, "uniqueId": uniqueID(email, r.next("account "+email)), "oauth2ClientId": "1",
		}))
	}
	get := func(r *request) (any, error) { return r.state.get("iam/" + r.accountName(r.name)) }
	remove := func(r *request) (any, error) {
		key := "iam/" + r.accountName(r.name)
		account, err := r.state.get(key)
		if err != nil {
			return nil, err
		}
		r.forgetMember(text(account, "email"), text(account, "uniqueId"))
		return obj{}, r.state.remove(key)
	}
	update := func(r *request) (any, error) {
		account, err := r.state.get("iam/" + r.accountName(r.name))
		if err != nil {
			return nil, err
		}
		wanted, _ := r.body["serviceAccount"].(obj)
		patch(account, wanted, text(r.body, "updateMask"))
		return account, nil
	}
	list := func(r *request) (any, error) { return obj{"accounts": r.state.list(r.key())}, nil }
	return &api{service: "iam.googleapis.com", policies: true, routes: []route{
		{http.MethodPost, "projects/{p}/serviceAccounts", create},
		{http.MethodGet, "projects/{p}/serviceAccounts", list},
		{http.MethodGet, "projects/{p}/serviceAccounts/{e}", get},
		{http.MethodPatch, "projects/{p}/serviceAccounts/{e}", update},
		{http.MethodDelete, "projects/{p}/serviceAccounts/{e}", remove},
	}}
}

// uniqueID is the number of an account, another one each time that it is made.
func uniqueID(email string, time int) string {
	sum := fnv.New32a()
	_, _ = fmt.Fprint(sum, email, time)
	return fmt.Sprintf("10%019d", sum.Sum32())
}

// accountName is the name of a service account with its project, which calls may leave to be found by the e-mail.
func (f *Fake) accountName(name string) string {
	return strings.Replace(name, "projects/-/", "projects/"+f.opts.Project+"/", 1)
}

// accountExists reports whether there is a service account. Those of other projects are taken to exist, and Google's own once they have been made.
func (f *Fake) accountExists(email string) bool {
	if _, ok := f.state["iam/projects/"+f.opts.Project+"/serviceAccounts/"+email]; ok {
		return true
	}
	if f.agents[email] {
		return true
	}
	_, domain, _ := strings.Cut(email, "@")
	switch {
	case domain == f.opts.Project+".iam.gserviceaccount.com":
		return false
	case strings.Contains(email, f.opts.Number):
		return email == f.opts.Number+"@cloudbuild.gserviceaccount.com" || email == f.opts.Number+"@cloudservices.gserviceaccount.com"
	}
	return strings.HasSuffix(domain, ".gserviceaccount.com")
}

// actAs refuses an account that does not exist where a resource is to act as it.
func (f *Fake) actAs(email string) error {
	if email == "" || f.accountExists(email) {
		return nil
	}
	return denied("Permission 'iam.serviceaccounts.actAs' denied on service account %s (or it may not exist).", email)
}
