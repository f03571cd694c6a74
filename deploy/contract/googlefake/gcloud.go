package googlefake

import (
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Gcloud returns the path of the real gcloud, or skips the test, saying how to get it.
func Gcloud(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("gcloud")
	if err != nil {
		t.Skip("gcloud is not on the PATH: install the Google Cloud CLI with its alpha and beta components, https://cloud.google.com/sdk/docs/install")
	}
	return path
}

// Command is gcloud with these arguments, which speaks to the fake: the real one, kept loaded if Warm was called.
func (f *Fake) Command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	path := filepath.Join(f.warm, "gcloud")
	if f.warm == "" {
		path = Gcloud(t)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = f.Env()
	return cmd
}

// Env returns the environment in which gcloud speaks to the fake and to nothing else: that of this process without
// any CLOUDSDK variable but those about Python, and gcloud's settings for the fake.
func (f *Fake) Env() []string {
	env := ours()
	settings := f.Settings()
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		env = append(env, name+"="+settings[name])
	}
	if f.warm != "" {
		env = append(env, "PATH="+f.warm+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
	return env
}

// ours is the environment of this process without anybody's settings for gcloud.
func ours() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "CLOUDSDK_") && !strings.HasPrefix(v, "CLOUDSDK_PYTHON") || strings.HasPrefix(v, "GOOGLE_APPLICATION_CREDENTIALS=") || strings.HasPrefix(v, "GOOGLE_CLOUD_PROJECT=")
	})
}

// Settings returns gcloud's settings for the fake. All of its requests go through the fake as a proxy: an API without an override is
// refused there and shows up in Unknown, instead of being looked for on the network.
func (f *Fake) Settings() map[string]string {
	host, port, _ := net.SplitHostPort(f.listen.Addr().String())
	settings := map[string]string{
		"CLOUDSDK_CONFIG":                                 f.config,
		"CLOUDSDK_CORE_PROJECT":                           f.opts.Project,
		"CLOUDSDK_CORE_DISABLE_COLOR":                     "1",
		"CLOUDSDK_CORE_DISABLE_PROMPTS":                   "1",
		"CLOUDSDK_CORE_CHECK_GCE_METADATA":                "false",
		"CLOUDSDK_CORE_DISABLE_USAGE_REPORTING":           "1",
		"CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
		"CLOUDSDK_SURVEY_DISABLE_PROMPTS":                 "1",
		"CLOUDSDK_AUTH_ACCESS_TOKEN_FILE":                 f.token,
		"CLOUDSDK_PROXY_TYPE":                             "http",
		"CLOUDSDK_PROXY_ADDRESS":                          host,
		"CLOUDSDK_PROXY_PORT":                             port,
	}
	for name := range apis {
		settings["CLOUDSDK_API_ENDPOINT_OVERRIDES_"+strings.ToUpper(name)] = f.URL() + "/" + name + "/"
	}
	// gcloud puts the region before the host of Cloud Run's URL; through the proxy any name of a host will do.
	settings["CLOUDSDK_API_ENDPOINT_OVERRIDES_RUN"] = "http://" + runHost + ":" + port + "/run/"
	return settings
}

// runHost is the host of Cloud Run's API, which only the fake as a proxy knows.
const runHost = "run.fake"

// regionOf is the region before the host of a request, or "".
func (f *Fake) regionOf(r *request) string {
	host, _, _ := net.SplitHostPort(r.host)
	region, _ := strings.CutSuffix(host, runHost)
	if region == host {
		return ""
	}
	return strings.TrimSuffix(region, "-")
}
