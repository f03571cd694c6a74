package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// diffServices compares what the next instance of each function is started with, and who gets the traffic.
func diffServices(p *Plan, live *state, of func(kind, name string) differ) {
	var first string // the image that all are to have, when the plan names none
	for _, want := range p.Services {
		d := of("service", want.Name)
		is := find(live, "services", want.Name, func(s *liveService) string { return s.Metadata.Name })
		if is == nil {
			d.missing()
			continue
		}
		template := is.Spec.Template.Spec
		if len(template.Containers) != 1 {
			d.update("containers", strconv.Itoa(len(template.Containers)), "1")
			continue
		}
		c := template.Containers[0]
		c.compareEnv(want, d)
		first = orElse(p.Image, orElse(first, c.Image))
		d.update("image", c.Image, first)
		d.update("account", template.ServiceAccountName, want.Account)
		d.update("memory", c.Resources.Limits["memory"], want.Memory)
		d.update("cpu", cpu(c.Resources.Limits["cpu"]), cpu(want.CPU))
		d.update("concurrency", strconv.Itoa(template.ContainerConcurrency), strconv.Itoa(want.Concurrency))
		d.update("timeout", strconv.Itoa(template.TimeoutSeconds)+"s", strconv.Itoa(want.Timeout)+"s")
		d.update("min instances", orElse(is.Spec.Template.Metadata.Annotations["autoscaling.knative.dev/minScale"], "0"), strconv.Itoa(want.Min))
		d.update("max instances", is.Spec.Template.Metadata.Annotations["autoscaling.knative.dev/maxScale"], strconv.Itoa(want.Max))
		d.update("ingress", is.Metadata.Annotations["run.googleapis.com/ingress"], want.Ingress)
		if !want.Public {
			// With it off, anyone may call, whatever the policy says (https://cloud.google.com/run/docs/securing/managing-access).
			d.update("check of who calls", onOff(!strings.EqualFold(is.Metadata.Annotations["run.googleapis.com/invoker-iam-disabled"], "true")), onOff(true))
		}
		d.update("IAP", onOff(strings.EqualFold(is.Metadata.Annotations["run.googleapis.com/iap-enabled"], "true")), onOff(want.IAP))
		if p.Image != "" {
			d.update("spec", is.Metadata.Labels["casewatch-spec"], want.Spec)
		}
		// A revision that never got ready has to be made again.
		d.update("newest revision that is ready", is.Status.LatestReadyRevisionName, is.Status.LatestCreatedRevisionName)
		is.traffic(d)
	}
	for _, o := range p.Omitted {
		if find(live, "services", o.Name, func(s *liveService) string { return s.Metadata.Name }) != nil {
			of("service", o.Name).look("deployed", "there", "not there: "+o.Why)
		}
	}
}

// compareEnv compares the variables, and says of those that are wrong and name this machine that they do.
func (c liveContainer) compareEnv(want Service, d differ) {
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = "=" + e.Value
		if ref := e.ValueFrom.SecretKeyRef; ref.Name != "" {
			env[e.Name] = "secret " + ref.Name + ":" + ref.Key
		}
	}
	wanted := map[string]string{}
	for name, value := range want.Env {
		wanted[name] = "=" + value
	}
	for name, ref := range want.Secrets {
		wanted[name] = "secret " + ref.Name + ":" + ref.Version
	}
	both := maps.Clone(env)
	maps.Copy(both, wanted)
	for _, name := range slices.Sorted(maps.Keys(both)) {
		d.update(name, variable(name, env[name]), variable(name, wanted[name]))
		if value := env[name]; value != wanted[name] && (strings.Contains(value, "localhost") || strings.Contains(value, "127.0.0.1")) {
			d.look(name, "an address of this machine", "one that others reach")
		}
	}
}

// variable is a variable as it may be printed: one that should be a reference may hold the secret itself.
func variable(name, value string) string {
	text, plain := strings.CutPrefix(value, "=")
	switch {
	case value == "":
		return "not set"
	case plain && slices.Contains(secretSettings, name) && !strings.HasPrefix(text, "firestore:"):
		return "a value of its own"
	case plain:
		return strconv.Quote(text)
	}
	return value
}

// traffic reports where requests go, if not all of them to the newest revision that is ready.
func (s *liveService) traffic(d differ) {
	to := map[string]int{}
	for _, t := range s.Status.Traffic {
		if t.Percent > 0 {
			to[t.RevisionName] += t.Percent
		}
	}
	if to[s.Status.LatestReadyRevisionName] != 100 {
		var is []string
		for _, name := range slices.Sorted(maps.Keys(to)) {
			is = append(is, fmt.Sprintf("%d %% to %s", to[name], name))
		}
		d.look("traffic", orElse(strings.Join(is, ", "), "none"), "100 % to "+s.Status.LatestReadyRevisionName)
	}
	for _, condition := range s.Status.Conditions {
		if condition.Type == "Ready" {
			d.look("ready", condition.Status, "True")
		}
	}
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// cpu writes thousandths as Cloud Run shows them.
func cpu(text string) string {
	if m, ok := strings.CutSuffix(text, "m"); ok {
		n, _ := strconv.Atoi(m)
		return decimal(float64(n) / 1000)
	}
	return text
}
