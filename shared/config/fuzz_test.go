package config_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/casewatch/casewatch/shared/config"
)

// FuzzSettings: whatever one setting is, it is accepted or named as faulty, and no secret is told,
// neither by the error nor by the configuration.
func FuzzSettings(f *testing.F) {
	settings := config.Settings()
	for i, s := range settings {
		f.Add(uint8(i), s.Example)
		for _, text := range append(values[s.Name].good, values[s.Name].bad...) {
			f.Add(uint8(i), text)
		}
	}
	secrets := []string{"API_KEYS", "PIPELINE_API_KEY", "TOKEN_SECRET", "STORE"}
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		name := settings[int(which)%len(settings)].Name
		c, err := config.Load(config.Local, onCloud().with(name, text).lookup)
		if err != nil && !strings.Contains(err.Error(), name) && !strings.Contains(err.Error(), "_") {
			t.Errorf("%s=%q: %v names no setting", name, text, err)
		}
		if err == nil && c == nil || err != nil && c != nil {
			t.Errorf("%s=%q: %v, %v", name, text, c, err)
		}
		// A secret is a password long enough not to stand in every other sentence.
		told := fmt.Sprintf("%v %+v", err, c)
		if long := len(text) > 20 && !strings.ContainsAny(text, ":,/ @"); long && slices.Contains(secrets, name) &&
			strings.Contains(told, text) {
			t.Errorf("%s=%q is told: %s", name, text, told)
		}
	})
}
