package googlefake

import (
	"slices"
	"strconv"
	"strings"
)

// checkService refuses what Cloud Run refuses at once: https://cloud.google.com/run/docs/configuring.
func (r *request) checkService(service obj) error {
	spec, _ := at(service, "spec", "template", "spec").(obj)
	if err := r.actAs(text(spec, "serviceAccountName")); err != nil {
		return err
	}
	if seconds, ok := spec["timeoutSeconds"].(float64); ok && (seconds < 1 || seconds > 3600) {
		return invalid("spec.template.spec.timeout_seconds: must be between 1 and 3600")
	}
	concurrency, _ := spec["containerConcurrency"].(float64)
	if concurrency < 0 || concurrency > 1000 {
		return invalid("spec.template.spec.container_concurrency: must be between 0 and 1000")
	}
	containers := items(spec, "containers")
	if len(containers) == 0 || text(containers[0], "image") == "" {
		return invalid("spec.template.spec.containers: an image is missing")
	}
	for _, c := range containers {
		cpu := text(c, "resources", "limits", "cpu")
		if cpu != "" && concurrency > 1 && milli(cpu) < 1000 {
			return invalid("spec.template.spec.containers.resources.limits.cpu: Total cpu < 1 is not supported with concurrency > 1.")
		}
		var names []string
		for _, e := range items(c, "env") {
			name := text(e, "name")
			if slices.Contains([]string{"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"}, name) {
				return invalid("spec.template.spec.containers[0].env: The following reserved env names were provided: %s. These values are automatically set by the system.", name)
			}
			if slices.Contains(names, name) {
				return invalid("spec.template.spec.containers[0].env: Duplicate name %s", name)
			}
			names = append(names, name)
		}
	}
	if ingress := text(service, "metadata", "annotations", "run.googleapis.com/ingress"); ingress != "" &&
		!slices.Contains([]string{"all", "internal", "internal-and-cloud-load-balancing"}, ingress) {
		return invalid("Unknown ingress value %q", ingress)
	}
	return nil
}

// milli is an amount of CPU in thousandths.
func milli(cpu string) int {
	if thousandths, ok := strings.CutSuffix(cpu, "m"); ok {
		n, _ := strconv.Atoi(thousandths)
		return n
	}
	whole, _ := strconv.ParseFloat(cpu, 64)
	return int(whole * 1000)
}

// checkTraffic refuses traffic that does not add up or goes to a revision that is not there.
func (r *request) checkTraffic(service obj) error {
	total := 0.0
	var tags []string
	for _, target := range items(service, "spec", "traffic") {
		switch percent := at(target, "percent").(type) {
		case float64:
			total += percent
		case int:
			total += float64(percent)
		}
		if name := text(target, "revisionName"); name != "" {
			revision, ok := r.state[r.revisionKey(name)]
			if !ok || text(revision, "metadata", "labels", "serving.knative.dev/service") != text(service, "metadata", "name") {
				return invalid("spec.traffic: Revision '%s' is not found", name)
			}
		}
		if tag := text(target, "tag"); tag != "" {
			if slices.Contains(tags, tag) {
				return invalid("spec.traffic: tag %q is given twice", tag)
			}
			tags = append(tags, tag)
		}
	}
	if total != 100 {
		return invalid("spec.traffic: The percentages of traffic must add up to 100, not %v", total)
	}
	return nil
}
