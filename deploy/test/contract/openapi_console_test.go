package contract

import (
	"strings"

	"github.com/casewatch/casewatch/shared/cases"
)

// routesOfConsole are those of an operator at the machine itself.
func routesOfConsole(s *served) {
	statusURL, _ := s.start(`{"case_id":"watched"}`, "")
	get := func(status int, path string, wrong bool) exchange {
		return exchange{status, "GET", "/console/" + path, "", []string{asJSON}, wrong}
	}
	post := func(status int, path, body string, wrong bool, header ...string) exchange {
		return exchange{status, "POST", "/console/" + path, body, append([]string{asJSON, isForm}, header...), wrong}
	}
	s.ask(
		get(200, "", false),
		get(200, "?state=cancelled&age=newer-1h", false),
		get(200, "?state=&age=&after=&id=", false),
		get(303, "?id=watched", false),
		get(404, "?id=nobody", false),
		get(400, "?id=-", false), // is the text of a search
		get(400, "?state=x", true),
		get(400, "?age=old", true),
		get(400, "?age=newer-11y", true),
		get(400, "?age=newer-9999d", false), // more than ten years
		get(400, "?after=x", false),
		get(400, "?after=%2F", true),
		get(200, "watched", false),
		get(200, "smith?run=1", false), // which has a result and a late word
		get(200, "smith", false),       // and another run
		get(200, "b", false),           // adopted
		get(404, "nobody", false),
		get(404, "watched?run=7", false),
		get(400, "watched?run=0", true),
		get(400, "-", true),
		get(200, "-/health", false),
		exchange{200, "GET", "/console/", "", []string{"Accept: text/html"}, false},
		exchange{200, "GET", "/console/watched", "", []string{"Accept: text/html"}, false},
		exchange{200, "GET", "/console/-/health", "", nil, false},
		exchange{405, "PUT", "/console/", "", []string{asJSON}, true},
		exchange{405, "POST", "/console/", "", []string{asJSON, isForm}, true},
		exchange{405, "POST", "/console/-/health", "", []string{asJSON, isForm}, true},
		exchange{405, "DELETE", "/console/watched", "", []string{asJSON}, true},
	)
	s.ask(
		post(409, "watched?run=1", "action=rerun", false), // which goes on
		post(400, "watched", "action=cancel", true),
		post(400, "watched?run=1", "action=delete", true),
		post(400, "watched?run=1", "x=y", true),
		post(400, "watched?run=1", "", true),
		post(404, "nobody?run=1", "action=cancel", false),
		post(413, "watched?run=1", "action=cancel&x="+strings.Repeat("y", 4<<10), false),
		post(403, "watched?run=1", "action=cancel", false, "Sec-Fetch-Site: cross-site"),
		exchange{415, "POST", "/console/watched?run=1", `{"action":"cancel"}`, []string{asJSON, isJSON}, true},
		post(200, "watched?run=1", "action=cancel", false),
		post(200, "watched?run=1", "action=cancel", false),
		post(202, "watched?run=1", "action=rerun", false),
		post(200, "watched?run=1", "action=rerun", false),
		exchange{303, "POST", "/console/watched?run=2", "action=cancel", []string{isForm, "Accept: text/html"}, false},
		post(409, "smith?run=1", "action=cancel", false),
	)
	s.until(statusURL, func(v cases.View) bool { return v.Run == 2 && v.State == cases.Cancelled })
}

// routesOfOperators are those where operators are named.
func routesOfOperators(s *served) {
	token := func(email, audience string) string {
		return "Authorization: Bearer " + s.machine.Issuer.Sign(email, audience)
	}
	for path, method := range map[string]string{"": "GET", "smith": "GET", "-/health": "GET", "smith?run=1": "POST"} {
		at := "/console/" + path
		ask := func(status int, header ...string) exchange {
			return exchange{status, method, at, map[string]string{"POST": "action=cancel"}[method],
				append([]string{asJSON, isForm}, header...), false}
		}
		s.ask(ask(401), ask(401, token(operator, "another")), ask(401, "X-Goog-IAP-JWT-Assertion: x"),
			ask(403, token("nobody@example.com", "console")))
		if method == "GET" {
			s.ask(ask(200, token(operator, "console")))
		}
	}
}
