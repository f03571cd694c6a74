package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// state is what is live: a folder with a file for each list that gcloud printed as JSON. A list that was not read is as good as empty, which is
// what a dry run goes by.
type state struct {
	folder string // "" for none
	image  string
	err    error // the first file that could not be understood
}

// load reads one list or object into to, and reports whether it is there.
func (s *state) load(name string, to any) bool {
	if s.folder == "" {
		return false
	}
	data, err := os.ReadFile(filepath.Join(s.folder, name+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err == nil && len(strings.TrimSpace(string(data))) > 0 {
		err = json.Unmarshal(data, to)
	}
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("what gcloud said of %s: %w", name, err)
	}
	return err == nil
}

// number returns the project's number, or its placeholder.
func (s *state) number() string {
	var project struct{ ProjectNumber json.Number }
	if s.load("project", &project) && project.ProjectNumber != "" {
		return project.ProjectNumber.String()
	}
	return numberPlaceholder
}

// version returns the newest enabled version of a secret, or its placeholder.
func (s *state) version(secret string) string {
	var versions []struct{ Name, State string }
	newest := 0
	s.load("versions-"+secret, &versions)
	for _, v := range versions {
		if n, err := strconv.Atoi(base(v.Name)); err == nil && strings.EqualFold(v.State, "ENABLED") {
			newest = max(newest, n)
		}
	}
	if newest == 0 {
		return "{VERSION_OF_" + secret + "}"
	}
	return strconv.Itoa(newest)
}

// policy returns the live policy of a resource.
func (s *state) policy(kind, name string) *livePolicy {
	l := &livePolicy{}
	s.load("policy-"+kind+"-"+name, l)
	return l
}

// named is what every resource has.
type named struct{ Name string }

// names returns the last part of the names of a list.
func (s *state) names(list string) []string {
	var all []named
	s.load(list, &all)
	var names []string
	for _, r := range all {
		names = append(names, base(r.Name))
	}
	return names
}

// base returns what follows the last slash.
func base(name string) string { return name[strings.LastIndex(name, "/")+1:] }

// find returns the resource of a list whose name ends so, or nil.
func find[T any](s *state, list, name string, nameOf func(*T) string) *T {
	var all []T
	s.load(list, &all)
	if i := slices.IndexFunc(all, func(r T) bool { return base(nameOf(&r)) == name }); i >= 0 {
		return &all[i]
	}
	return nil
}

// liveQueue is a queue as Cloud Tasks tells of it.
type liveQueue struct {
	Name, State string
	RateLimits  struct {
		MaxDispatchesPerSecond  float64
		MaxConcurrentDispatches int
	}
	RetryConfig struct {
		MaxAttempts, MaxDoublings                int
		MinBackoff, MaxBackoff, MaxRetryDuration string
	}
	StackdriverLoggingConfig struct{ SamplingRatio float64 }
}

// liveSubscription is a subscription as Pub/Sub tells of it.
type liveSubscription struct {
	Name, Topic, State string
	PushConfig         struct {
		PushEndpoint string
		OidcToken    struct{ ServiceAccountEmail, Audience string }
	}
	AckDeadlineSeconds       int
	MessageRetentionDuration string
	ExpirationPolicy         struct{ TTL string }
	DeadLetterPolicy         struct {
		DeadLetterTopic     string
		MaxDeliveryAttempts int
	}
	RetryPolicy struct{ MinimumBackoff, MaximumBackoff string }
}

// liveService is a service as Cloud Run tells of it (the API of Knative, as gcloud shows it).
type liveService struct {
	Metadata struct {
		Name                string
		Labels, Annotations map[string]string
	}
	Spec struct {
		Template struct {
			Metadata struct{ Annotations map[string]string }
			Spec     struct {
				ContainerConcurrency, TimeoutSeconds int
				ServiceAccountName                   string
				Containers                           []liveContainer
			}
		}
	}
	Status struct {
		URL, LatestReadyRevisionName, LatestCreatedRevisionName string
		Traffic                                                 []struct {
			RevisionName, Tag, URL string
			Percent                int
		}
		Conditions []struct{ Type, Status, Message string }
	}
}

// liveContainer is what an instance runs.
type liveContainer struct {
	Image string
	Env   []struct {
		Name, Value string
		ValueFrom   struct{ SecretKeyRef struct{ Name, Key string } }
	}
	Resources struct{ Limits map[string]string }
}

// liveJob is a job as Cloud Scheduler tells of it.
type liveJob struct {
	Name, Schedule, TimeZone, State, AttemptDeadline string
	HTTPTarget                                       struct {
		URI, HTTPMethod string
		OidcToken       struct{ ServiceAccountEmail, Audience string }
	}
	RetryConfig struct{ RetryCount int }
}

// liveFile is a metric, alert policy or dashboard.
type liveFile struct {
	Name, DisplayName, Description string
	UserLabels, Labels             map[string]string
	Enabled                        *bool
	NotificationChannels           []string
}

// liveChannel is a notification channel.
type liveChannel struct {
	Name       string
	Labels     map[string]string
	UserLabels map[string]string
	Enabled    *bool
}

// liveIndex is a composite index.
type liveIndex struct {
	Name, QueryScope, State string
	Fields                  []indexField
}

// liveField is a field with a TTL policy, or with other indexes than the automatic ones.
type liveField struct {
	Name        string
	TTLConfig   *struct{ State string }
	IndexConfig struct {
		Indexes []struct {
			QueryScope, State string
			Fields            []indexField
		}
	}
}

// liveSQL is an instance of Cloud SQL.
type liveSQL struct {
	Name, DatabaseVersion, State string
	Settings                     struct{ Tier, AvailabilityType string }
}

// group returns the collection group that a name of Firestore's is of.
func group(name string) string {
	_, rest, _ := strings.Cut(name, "/collectionGroups/")
	g, _, _ := strings.Cut(rest, "/")
	return g
}
