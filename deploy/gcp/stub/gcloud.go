package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// paths say where a resource holds the value of a flag, by kind and flag.
var paths = map[string]map[string]string{
	"tasks queues": {
		"max-dispatches-per-second": "rateLimits.maxDispatchesPerSecond",
		"max-concurrent-dispatches": "rateLimits.maxConcurrentDispatches",
		"max-attempts":              "retryConfig.maxAttempts",
		"max-retry-duration":        "retryConfig.maxRetryDuration",
		"min-backoff":               "retryConfig.minBackoff",
		"max-backoff":               "retryConfig.maxBackoff",
		"max-doublings":             "retryConfig.maxDoublings",
		"log-sampling-ratio":        "stackdriverLoggingConfig.samplingRatio",
	},
	"pubsub subscriptions": {
		"ack-deadline":               "ackDeadlineSeconds",
		"message-retention-duration": "messageRetentionDuration",
		"min-retry-delay":            "retryPolicy.minimumBackoff",
		"max-retry-delay":            "retryPolicy.maximumBackoff",
		"push-endpoint":              "pushConfig.pushEndpoint",
		"push-auth-service-account":  "pushConfig.oidcToken.serviceAccountEmail",
		"push-auth-token-audience":   "pushConfig.oidcToken.audience",
		"dead-letter-topic":          "deadLetterPolicy.deadLetterTopic",
		"max-delivery-attempts":      "deadLetterPolicy.maxDeliveryAttempts",
	},
	"scheduler jobs": {
		"schedule":                   "schedule",
		"time-zone":                  "timeZone",
		"uri":                        "httpTarget.uri",
		"http-method":                "httpTarget.httpMethod",
		"oidc-service-account-email": "httpTarget.oidcToken.serviceAccountEmail",
		"oidc-token-audience":        "httpTarget.oidcToken.audience",
		"attempt-deadline":           "attemptDeadline",
	},
	"sql instances": {
		"database-version":              "databaseVersion",
		"region":                        "region",
		"tier":                          "settings.tier",
		"connector-enforcement":         "settings.connectorEnforcement",
		"backup":                        "settings.backupConfiguration.enabled",
		"enable-point-in-time-recovery": "settings.backupConfiguration.pointInTimeRecoveryEnabled",
	},
	"firestore databases": {"location": "locationId"},
	"monitoring uptime":   {"path": "httpCheck.path"},
}

// gcloud executes a command and returns what it prints.
func (g *cloud) gcloud(c command) (string, error) {
	if project := c.flag("project"); project != "" && project != "demo-p" {
		return "", fmt.Errorf("PERMISSION_DENIED: there is no project %s", project)
	}
	switch {
	case c.verb == "version":
		return "528.0.0\n", nil
	case c.verb == "print-access-token":
		return "an-access-token\n", nil
	case c.verb == "list-files-for-upload":
		return "go.mod\nfunction.go\n", nil
	case c.kind == "projects" && c.verb == "describe":
		return c.show(object{"projectNumber": "123456789012", "parent": g.live["organization"]})
	case c.kind == "container images":
		return c.show(object{"image_summary": object{"digest": g.builder()}})
	case c.kind == "builds":
		return g.build(c)
	case strings.HasSuffix(c.verb, "iam-policy") || strings.HasSuffix(c.verb, "iam-policy-binding"):
		return g.policy(c)
	case c.kind == "secrets versions":
		return g.versions(c)
	case strings.HasPrefix(c.kind, "run "):
		return g.cloudRun(c)
	case c.kind == "services", c.kind == "services identity":
		return g.services(c)
	case strings.HasPrefix(c.kind, "firestore ") && c.kind != "firestore databases":
		return g.firestore(c)
	case c.kind == "storage" && c.verb == "rm":
		c.kind, c.verb = "storage buckets", "delete"
		return g.resource(c)
	}
	return g.resource(c)
}

// builder returns the digest of the builder's image. A test may set another one.
func (g *cloud) builder() string {
	if b, ok := g.live["builder"]; ok {
		return text(b["digest"])
	}
	return "sha256:" + strings.Repeat("b", 64)
}

// key returns the key of a resource in live. Some names are unique only within another resource.
func (c command) key() string {
	name := c.name()
	if c.kind == "firestore databases" {
		name = c.flag("database")
	}
	if c.kind == "iam service-accounts" && !strings.Contains(name, "@") {
		name += "@demo-p.iam.gserviceaccount.com"
	}
	if in := c.flag("instance"); in != "" {
		name = in + "/" + name
	}
	return c.kind + " " + name
}

// resource executes the verbs that most kinds of resources share.
func (g *cloud) resource(c command) (string, error) {
	key := c.key()
	o, there := g.live[key]
	switch c.verb {
	case "list", "list-configs":
		prefix := c.kind
		if in := c.flag("instance"); in != "" {
			prefix += " " + in + "/"
			list := []any{}
			for _, name := range g.names {
				if strings.HasPrefix(name, prefix) {
					list = append(list, g.live[name])
				}
			}
			return c.show(list)
		}
		return c.show(g.under(prefix))
	case "create":
		if there {
			return "", errors.New("ALREADY_EXISTS: " + key)
		}
		o = object{"name": c.name()}
		if strings.HasPrefix(c.kind, "monitoring ") {
			id := strconv.Itoa(len(g.names) + 1)
			kind := map[string]string{
				"monitoring policies":   "alertPolicies/",
				"monitoring channels":   "notificationChannels/",
				"monitoring dashboards": "dashboards/",
				"monitoring uptime":     "uptimeCheckConfigs/",
			}[c.kind]
			o = object{"name": "projects/demo-p/" + kind + id}
			key = c.kind + " " + text(o["name"])
		}
	case "describe", "delete", "update", "patch", "set-cleanup-policies", "set-password":
		if !there && c.kind == "monitoring uptime" {
			key = c.kind + " projects/demo-p/uptimeCheckConfigs/" + c.name()
			o, there = g.live[key]
		}
		if !there {
			return "", fmt.Errorf("%w: %s", errNotFound, key)
		}
		if c.verb == "describe" {
			return c.show(o)
		}
		if c.verb == "delete" {
			g.remove(key)
			return "", nil
		}
	default:
		return "", fmt.Errorf("the stub does not know gcloud %s %s", c.kind, c.verb)
	}
	if err := c.apply(o); err != nil {
		return "", err
	}
	g.put(key, o)
	return "", nil
}

// apply sets the fields of a resource that the flags of a create or update command give.
func (c command) apply(o object) error {
	for flag, values := range c.flags {
		if path := paths[c.kind][flag]; path != "" {
			set(o, path, typed(values[0]))
		}
	}
	labels := object{}
	for _, flag := range []string{"labels", "update-labels", "user-labels"} {
		for pair := range strings.SplitSeq(c.flag(flag), ",") {
			if name, value, ok := strings.Cut(pair, "="); ok {
				labels[name] = value
			}
		}
	}
	switch c.kind {
	case "tasks queues":
		if o["state"] == nil {
			o["state"] = "RUNNING"
		}
	case "scheduler jobs":
		if o["state"] == nil {
			o["state"] = "ENABLED"
		}
	case "pubsub subscriptions":
		if c.flag("topic") != "" {
			o["topic"] = "projects/demo-p/topics/" + c.flag("topic")
		}
	case "firestore databases":
		o["type"] = "FIRESTORE_NATIVE"
		if c.flag("enable-pitr") != "" {
			o["pointInTimeRecoveryEnablement"] = "POINT_IN_TIME_RECOVERY_ENABLED"
			o["deleteProtectionState"] = "DELETE_PROTECTION_ENABLED"
		}
	case "sql instances":
		if a := c.flag("availability-type"); a != "" {
			set(o, "settings.availabilityType", strings.ToUpper(a))
		}
		set(o, "settings.deletionProtectionEnabled", c.flag("no-deletion-protection") == "")
		if len(labels) > 0 {
			set(o, "settings.userLabels", labels)
		}
		return nil
	case "monitoring channels":
		o["labels"] = object{"email_address": strings.TrimPrefix(c.flag("channel-labels"), "email_address=")}
	case "monitoring uptime":
		return c.uptime(o, labels)
	}
	for _, flag := range []string{"policy-from-file", "config-from-file"} {
		if c.flag(flag) != "" {
			if err := readYAML(c.flag(flag), &o); err != nil {
				return err
			}
		}
	}
	if c.kind == "monitoring dashboards" {
		o["etag"] = fmt.Sprintf("%x", sha256.Sum256([]byte(fmt.Sprint(o["displayName"]))))[:8]
	}
	switch {
	case len(labels) == 0:
	case strings.HasPrefix(c.kind, "monitoring"):
		o["userLabels"] = labels
	default:
		o["labels"] = labels
	}
	return nil
}

// uptime is apply for an uptime check.
func (c command) uptime(o, labels object) error {
	if c.verb == "create" {
		host, _, _ := strings.Cut(strings.TrimPrefix(c.flag("resource-labels"), "host="), ",")
		o["displayName"], o["userLabels"] = c.name(), labels
		set(o, "monitoredResource.labels.host", host)
		set(o, "httpCheck.useSsl", true)
	}
	o["period"] = c.flag("period") + "00s"
	if c.flag("period") == "5" {
		o["period"] = "300s"
	}
	codes := []any{}
	for code := range strings.SplitSeq(c.flag("status-codes")+c.flag("set-status-codes"), ",") {
		if code != "" {
			codes = append(codes, object{"statusValue": typed(code)})
		}
	}
	if c.flag("status-classes")+c.flag("set-status-classes") != "" {
		codes = append(codes, object{"statusClass": "STATUS_CLASS_2XX"})
	}
	set(o, "httpCheck.acceptedResponseStatusCodes", codes)
	return nil
}

// typed returns the value of a flag as the number or boolean that it looks like, else as a string.
func typed(value string) any {
	if value == "unlimited" {
		return -1
	}
	if value == "true" {
		return true
	}
	if n, err := strconv.ParseFloat(value, 64); err == nil {
		return n
	}
	return value
}

func readYAML(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return yaml.Unmarshal(data, v)
}

// build stores the image that a build would push.
func (g *cloud) build(c command) (string, error) {
	var config struct{ Images []string }
	if err := readYAML(c.flag("config"), &config); err != nil {
		return "", err
	}
	digest := fmt.Sprintf("sha256:%064d", len(g.names))
	g.put("artifacts docker images "+config.Images[0], object{"image_summary": object{"digest": digest}})
	return "", nil
}

// policy reads and writes IAM policies.
func (g *cloud) policy(c command) (string, error) {
	kind, name := c.kind, ""
	if len(c.names) > 0 {
		name = c.names[0]
	}
	if kind == "iap web" {
		name = c.flag("service")
	}
	key := "policy " + kind + " " + name
	o := g.live[key]
	if o == nil {
		o = object{"bindings": []any{}}
	}
	if _, there := g.live[kind+" "+name]; !there && kind != "projects" && kind != "iap web" {
		return "", fmt.Errorf("%w: %s", errNotFound, name)
	}
	switch c.verb {
	case "get-iam-policy":
		return c.show(o)
	case "set-iam-policy":
		o = object{}
		if err := readYAML(c.name(), &o); err != nil {
			return "", err
		}
	default:
		binding := object{"role": c.flag("role"), "members": []any{c.flag("member")}}
		if expression, ok := strings.CutPrefix(c.flag("condition"), "expression="); ok {
			expression, _, _ = strings.Cut(expression, ",title=")
			binding["condition"] = object{"expression": expression}
		}
		same, bindings := fmt.Sprint(binding), []any{}
		list, _ := o["bindings"].([]any)
		for _, b := range list {
			if fmt.Sprint(b) != same {
				bindings = append(bindings, b)
			}
		}
		if c.verb == "add-iam-policy-binding" {
			bindings = append(bindings, binding)
		}
		o["bindings"] = bindings
	}
	g.put(key, o)
	return "", nil
}

// versions executes the commands for the versions of a secret.
func (g *cloud) versions(c command) (string, error) {
	secret := c.flag("secret")
	if c.verb == "list" || c.verb == "add" {
		secret = c.name()
	}
	if _, there := g.live["secrets "+secret]; !there {
		return "", fmt.Errorf("%w: secret %s", errNotFound, secret)
	}
	list := g.under("versions " + secret)
	if c.verb == "add" {
		n := strconv.Itoa(len(list) + 1)
		g.put("versions "+secret+" "+n, object{
			"name": "projects/demo-p/secrets/" + secret + "/versions/" + n, "state": "enabled", "value": input(),
		})
		return "", nil
	}
	if len(list) == 0 && c.verb != "list" {
		return "", fmt.Errorf("%w: no version of %s", errNotFound, secret)
	}
	switch c.verb {
	case "access":
		return text(g.live["versions "+secret+" "+c.name()]["value"]), nil
	case "list":
		slices.Reverse(list)
		return c.show(list)
	}
	return "", nil
}

// services executes the commands for the APIs of a project.
func (g *cloud) services(c command) (string, error) {
	switch c.verb {
	case "enable":
		for _, name := range c.names {
			g.put("services "+name, object{"config": object{"name": name}})
		}
	case "list":
		return c.show(g.under("services"))
	}
	return "", nil
}

// firestore executes the commands for indexes, fields and backup schedules.
func (g *cloud) firestore(c command) (string, error) {
	database := c.flag("database")
	if _, there := g.live["firestore databases "+database]; !there {
		return "", fmt.Errorf("%w: database %s", errNotFound, database)
	}
	full := "projects/demo-p/databases/" + database
	kind := strings.Replace(c.kind, "fields ttls", "indexes fields", 1) + " " + database
	switch {
	case c.verb == "list":
		return c.show(g.under(kind))
	case c.kind == "firestore indexes composite":
		name := full + "/collectionGroups/" + c.flag("collection-group") + "/indexes/" + strconv.Itoa(len(g.names))
		fields := []any{}
		for _, flag := range c.flags["field-config"] {
			field, order, _ := strings.Cut(strings.TrimPrefix(flag, "field-path="), ",order=")
			fields = append(fields, object{"fieldPath": field, "order": strings.ToUpper(order)})
		}
		fields = append(fields, object{"fieldPath": "__name__", "order": "ASCENDING"})
		g.put(kind+" "+name, object{"name": name, "state": "READY", "fields": fields})
	case c.kind == "firestore backups schedules":
		name := full + "/backupSchedules/daily"
		days, _ := strconv.Atoi(strings.TrimSuffix(c.flag("retention"), "d"))
		g.put(kind+" "+name, object{"name": name, "retention": fmt.Sprintf("%ds", days*86400)})
	default:
		name := full + "/collectionGroups/" + c.flag("collection-group") + "/fields/" + c.name()
		o := g.live[kind+" "+name]
		if o == nil {
			o = object{"name": name}
		}
		switch {
		case c.flag("enable-ttl") != "":
			o["ttlConfig"] = object{"state": "ACTIVE"}
		case c.flag("disable-indexes") != "":
			o["indexConfig"] = object{"indexes": []any{}}
		default:
			order := strings.ToUpper(strings.TrimPrefix(c.flag("index"), "order="))
			field := object{"fieldPath": c.name(), "order": order}
			o["indexConfig"] = object{"indexes": []any{object{"fields": []any{field}}}}
		}
		g.put(kind+" "+name, o)
	}
	return "", nil
}

// copyOf returns a deep copy of a value, with all numbers as float64.
func copyOf(v any) any {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	var c any
	if err := json.Unmarshal(data, &c); err != nil {
		panic(err)
	}
	return c
}
