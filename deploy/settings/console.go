package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/casewatch/casewatch/shared/config"
)

// console is the function that people use: it is deployed only where the env file says who they are.
const console = "console"

// gcloudClient is the audience of a person's tokens that gcloud prints and "gcloud run services proxy" sends: that of gcloud itself
// (CLOUDSDK_CLIENT_ID in googlecloudsdk/core/config.py of the SDK).
const gcloudClient = "32555940559.apps.googleusercontent.com"

// consoleUsers plans who may use the console, or that there is none.
func (p *Plan) consoleUsers(f envFile, bad *faults) {
	p.operators = []string{}
	for _, user := range split(strings.ToLower(f.values["CONSOLE_USERS"])) { // what is no address is refused with the settings
		if user = strings.TrimSpace(user); !slices.Contains(p.operators, user) {
			p.operators = append(p.operators, user)
		}
	}
	p.behindIAP = f.values["CONSOLE_IAP"] == "true"
	p.Omitted = []Omitted{}
	if len(p.operators) == 0 {
		p.Omitted = append(p.Omitted, Omitted{console, p.Prefix + "-" + console, p.account(console), "CONSOLE_USERS is not set"})
		if line := f.lines["CONSOLE_IAP"]; line > 0 && p.behindIAP {
			bad.add(line, "CONSOLE_IAP is without effect: CONSOLE_USERS is not set, and so there is no console")
		}
		return
	}
	if p.behindIAP {
		p.APIs = append(p.APIs, "iap.googleapis.com")
	}
}

// iap reports whether people come to the console through Identity-Aware Proxy.
func (p *Plan) iap() bool { return p.behindIAP && len(p.operators) > 0 }

// deployed reports whether a function is not left out.
func (p *Plan) deployed(function string) bool {
	return !slices.ContainsFunc(p.Omitted, func(o Omitted) bool { return o.Function == function })
}

// functions returns those that are deployed, in the order of config.Functions.
func (p *Plan) functions() []string {
	return slices.DeleteFunc(config.Functions(), func(function string) bool { return !p.deployed(function) })
}

// consoleAudiences are for whom the tokens have to be by which people show who they are. Behind IAP that is its own token only
// (https://cloud.google.com/iap/docs/signed-headers-howto). Else it is the console's address, or gcloud for who comes by its proxy; the latter
// is no proof that the token was meant for the console, but IAM lets nobody pass who may not invoke it.
func (p *Plan) consoleAudiences(s *Service) []string {
	if s.IAP {
		return []string{fmt.Sprintf("/projects/%s/locations/%s/services/%s", p.Number, p.Region, s.Name)}
	}
	return []string{s.URL, gcloudClient}
}

// member names a person or a service account as policies do.
func member(email string) string {
	if strings.HasSuffix(email, ".gserviceaccount.com") {
		return "serviceAccount:" + email
	}
	return "user:" + email
}
