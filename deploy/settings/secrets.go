package main

import (
	"errors"

	"github.com/casewatch/casewatch/shared/config"
)

// secrets plans what comes from Secret Manager.
func (p *Plan) secrets(f envFile, live *state) {
	add := func(name, setting, source string) {
		name = p.Prefix + "-" + name
		p.Secrets = append(p.Secrets, Secret{name, setting, source, live.version(name)})
	}
	add("token-secret", "TOKEN_SECRET", "generated")
	add("api-keys", "API_KEYS", "generated")
	if f.values["PIPELINE_API_KEY"] == "secret" {
		add("pipeline-api-key", "PIPELINE_API_KEY", "given")
	}
	switch f.values["STORE"] {
	case "cloudsql":
		add("store", "STORE", "cloudsql")
	case "secret":
		add("store", "STORE", "given")
	}
}

// settingFaults returns what config found.
func settingFaults(err error) []config.Fault {
	if e, ok := errors.AsType[*config.Error](err); ok {
		return e.Faults
	}
	return []config.Fault{{Name: "the settings", Detail: err.Error()}}
}
