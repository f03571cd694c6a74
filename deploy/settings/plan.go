package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// numberPlaceholder stands for what only a live project knows: its number.
const numberPlaceholder = "{PROJECT_NUMBER}"

// Plan is everything that is to exist, with every value that a script passes to gcloud. What only a live project knows is a
// placeholder in braces until it is known.
type Plan struct {
	Project  string   `json:"project"`
	Number   string   `json:"number"`
	Region   string   `json:"region"`
	Prefix   string   `json:"prefix"`
	APIs     []string `json:"apis"`
	Image    string   `json:"image"` // with the digest; "" when it does not matter which
	Accounts []Named  `json:"accounts"`
	Secrets  []Secret `json:"secrets"`

	Firestore *Firestore `json:"firestore,omitempty"` // this
	CloudSQL  *CloudSQL  `json:"cloud_sql,omitempty"` // or this, or neither: a PostgreSQL that is somebody else's

	Topics        []string       `json:"topics"`
	Subscriptions []Subscription `json:"subscriptions"`
	Queues        []Queue        `json:"queues"`
	Services      []Service      `json:"services"` // private ones first: the order in which they are promoted
	Omitted       []Omitted      `json:"omitted"`  // functions that the env file leaves out
	Policies      []Policy       `json:"policies"`
	Job           Job            `json:"job"`

	AlertEmail string   `json:"alert_email,omitempty"`
	Channels   []string `json:"channels"`
	Runbooks   string   `json:"runbooks"`
	Metrics    []File   `json:"metrics"`
	Alerts     []File   `json:"alerts"`
	Dashboards []File   `json:"dashboards"`
	Canary     Canary   `json:"canary"`

	operators []string // who may use the console; none: it is left out
	behindIAP bool
}

// Named is something with an id and a title for people.
type Named struct {
	ID    string `json:"id"`
	Email string `json:"email"`
	Title string `json:"title"`
}

// Secret is a secret in Secret Manager that a setting is read from.
type Secret struct {
	Name    string `json:"name"`
	Setting string `json:"setting"`
	Source  string `json:"source"`  // generated, given (by the operator) or cloudsql
	Version string `json:"version"` // the newest enabled one
}

// Subscription is a Pub/Sub subscription: a push one if it has an endpoint, else a pull one.
type Subscription struct {
	Name        string `json:"name"`
	Topic       string `json:"topic"`
	Endpoint    string `json:"endpoint,omitempty"`
	Account     string `json:"account,omitempty"`
	Audience    string `json:"audience,omitempty"`
	AckDeadline int    `json:"ack_deadline"`      // seconds
	Retention   string `json:"retention"`         // seconds, as 604800s
	MinBackoff  string `json:"min_backoff"`       // seconds, as 10s
	MaxBackoff  string `json:"max_backoff"`       // seconds, as 600s
	DeadLetter  string `json:"dead_letter_topic"` // "" for none
	Attempts    int    `json:"max_delivery_attempts"`
}

// Queue is a Cloud Tasks queue with every limit that it has.
type Queue struct {
	Name        string  `json:"name"`
	Rate        float64 `json:"rate"`        // dispatches a second
	Concurrency int     `json:"concurrency"` // dispatches at once
	MinBackoff  string  `json:"min_backoff"`
	MaxBackoff  string  `json:"max_backoff"`
	Doublings   int     `json:"max_doublings"`
	LogSampling float64 `json:"log_sampling"` // of its operations, from 0 to 1
}

// Service is a function as a Cloud Run service.
type Service struct {
	Function    string               `json:"function"`
	Name        string               `json:"name"`
	URL         string               `json:"url"`
	Public      bool                 `json:"public"`
	IAP         bool                 `json:"iap"` // whether people come to it through Identity-Aware Proxy
	Account     string               `json:"account"`
	Image       string               `json:"image"`
	Env         map[string]string    `json:"env"`
	Secrets     map[string]SecretRef `json:"secrets"`
	Memory      string               `json:"memory"`
	CPU         string               `json:"cpu"`
	Concurrency int                  `json:"concurrency"`
	Timeout     int                  `json:"timeout"` // seconds
	Min         int                  `json:"min_instances"`
	Max         int                  `json:"max_instances"`
	Ingress     string               `json:"ingress"`
	Spec        string               `json:"spec"` // hash of all the above, kept as a label
}

// Omitted is a function that is not to be deployed: what verify looks for and destroy deletes if it is there all the same.
type Omitted struct {
	Function string `json:"function"`
	Name     string `json:"name"`
	Account  string `json:"account"`
	Why      string `json:"why"`
}

// SecretRef is one version of a secret. Versions are pinned, so that a revision is the same for ever.
type SecretRef struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Job is the Cloud Scheduler job that calls sweep.
type Job struct {
	Name     string `json:"name"`
	Schedule string `json:"schedule"`
	URL      string `json:"url"`
	Account  string `json:"account"`
	Deadline int    `json:"attempt_deadline"` // seconds
}

// File is a file of deploy/monitoring as it is applied: Spec is a hash of it, kept where the live resource can hold it.
type File struct {
	Name string `json:"name"`
	Path string `json:"path"`
	Spec string `json:"spec"`
	text string
}

// Canary is the case that a deployment is tried with.
type Canary struct {
	Form     string `json:"form"`
	Deadline int    `json:"deadline"` // seconds
}

// hash returns the first hex digits of the SHA-256 of v's JSON: enough for a label.
func hash(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts, numbers and maps of them always encode
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// account returns the e-mail of the service account of a function, or of a caller.
func (p *Plan) account(name string) string {
	return fmt.Sprintf("%s-%s@%s.iam.gserviceaccount.com", p.Prefix, name, p.Project)
}

// url returns the address of a function. It is known before the function is deployed
// (https://cloud.google.com/run/docs/triggering/https-request#deterministic).
func (p *Plan) url(function string) string {
	return fmt.Sprintf("https://%s-%s-%s.%s.run.app", p.Prefix, function, p.Number, p.Region)
}

// full returns the full name of a resource of the project.
func (p *Plan) full(parts ...string) string {
	return "projects/" + p.Project + "/" + strings.Join(parts, "/")
}

// service returns the service of a function.
func (p *Plan) service(function string) *Service {
	for i := range p.Services {
		if p.Services[i].Function == function {
			return &p.Services[i]
		}
	}
	return nil
}
