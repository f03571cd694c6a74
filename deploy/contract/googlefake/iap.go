package googlefake

import "fmt"

// Identity-Aware Proxy is asked for the policies of what is behind it only: of a service of Cloud Run at projects/P/iap_web/cloud_run-REGION/services/S.

// proxyKey is the place of the proxy of a service.
func (f *Fake) proxyKey(region, service string) string {
	return fmt.Sprintf("iap/projects/%s/cloud_run-%s/%s", f.opts.Project, region, service)
}

// iapKey returns the place of the proxy that a name means. It is there as soon as its service is.
func (f *Fake) iapKey(name string) (string, error) {
	vars, ok := match("projects/{p}/iap_web/{w}/services/{s}", name)
	var region string
	if ok {
		_, err := fmt.Sscanf(vars["w"], "cloud_run-%s", &region)
		ok = err == nil
	}
	if !ok {
		return "", invalid("%s is not what is behind IAP", name)
	}
	if _, err := f.state.get(fmt.Sprintf("run/projects/%s/locations/%s/services/%s", f.opts.Project, region, vars["s"])); err != nil {
		return "", notFound(name)
	}
	key := f.proxyKey(region, vars["s"])
	if _, ok := f.state[key]; !ok {
		f.state[key] = obj{"name": name}
	}
	return key, nil
}
