package contract

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cloud.google.com/go/monitoring/apiv3/v2/monitoringpb"
	"cloud.google.com/go/monitoring/dashboard/apiv1/dashboardpb"
	"google.golang.org/protobuf/encoding/protojson"
)

// logMetric is a LogMetric as far as the files use it
// (https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.metrics#LogMetric).
type logMetric struct {
	Name, Description, Filter string
	MetricDescriptor          struct {
		MetricKind, ValueType, Unit string
		Labels                      []struct{ Key, ValueType, Description string }
	}
	LabelExtractors map[string]string
	ValueExtractor  string
	BucketOptions   *struct {
		ExplicitBuckets    *struct{ Bounds []float64 }
		ExponentialBuckets *struct{ NumFiniteBuckets, GrowthFactor, Scale float64 }
	}
}

func (m logMetric) distribution() bool { return m.MetricDescriptor.ValueType == "DISTRIBUTION" }

// platformMetrics are the metrics of Google Cloud that alerts and dashboard use, with whether they
// are distributions and the labels that they may be picked by
// (https://docs.cloud.google.com/monitoring/api/metrics_gcp).
var platformMetrics = map[string]struct {
	distribution bool
	labels       []string
}{
	"run.googleapis.com/request_count": {false,
		[]string{"service_name", "response_code_class"}},
	"run.googleapis.com/request_latencies":                          {true, []string{"service_name"}},
	"run.googleapis.com/container/instance_count":                   {false, []string{"service_name", "state"}},
	"cloudtasks.googleapis.com/queue/depth":                         {false, []string{"queue_id"}},
	"cloudtasks.googleapis.com/queue/task_attempt_count":            {false, []string{"queue_id", "response_code"}},
	"cloudtasks.googleapis.com/queue/task_attempt_delays":           {true, []string{"queue_id"}},
	"pubsub.googleapis.com/subscription/num_undelivered_messages":   {false, []string{"subscription_id"}},
	"pubsub.googleapis.com/subscription/oldest_unacked_message_age": {false, []string{"subscription_id"}},
	"monitoring.googleapis.com/uptime_check/check_passed":           {false, []string{"host", "check_id"}},
}

// placeholders are what the deploy scripts fill in, with what these tests do.
var placeholders = map[string]string{
	"PROJECT": "example-project", "PREFIX": "casewatch-test", "RUNBOOKS": "https://example.com/runbooks",
	"CHANNELS":    "projects/example-project/notificationChannels/1",
	"STATUS_HOST": "status.example.com", "COMPLETE_HOST": "complete.example.com",
}

// fill fills in the placeholders of a file under deploy/gcp/monitoring. There may be no others.
func fill(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return os.Expand(string(data), func(name string) string { // leaves alone a dollar that is the end of a pattern
		value, ok := placeholders[name]
		if !ok {
			t.Errorf("%s: the placeholder %q is not known", filepath.Base(path), name)
		}
		return value
	})
}

// files returns the files of a folder under deploy with that ending, by their names without it.
func files(t *testing.T, folder, ending string) map[string]string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(root(t), "deploy/gcp", folder, "*"+ending))
	if err != nil || len(list) == 0 {
		t.Fatalf("there is no %s in deploy/gcp/%s: %v", ending, folder, err)
	}
	found := map[string]string{}
	for _, path := range list {
		found[strings.TrimSuffix(filepath.Base(path), ending)] = path
	}
	return found
}

func logMetrics(t *testing.T) map[string]logMetric {
	t.Helper()
	metrics := map[string]logMetric{}
	for name, path := range files(t, "monitoring/metrics", ".yaml") {
		tree, err := parseYAML(fill(t, path))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		data, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.DisallowUnknownFields()
		var m logMetric
		if err := decoder.Decode(&m); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		metrics[name] = m
	}
	return metrics
}

func alerts(t *testing.T) map[string]*monitoringpb.AlertPolicy {
	t.Helper()
	policies := map[string]*monitoringpb.AlertPolicy{}
	for name, path := range files(t, "monitoring/alerts", ".json") {
		p := &monitoringpb.AlertPolicy{}
		if err := protojson.Unmarshal([]byte(fill(t, path)), p); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		policies[name] = p
	}
	return policies
}

func dashboard(t *testing.T) *dashboardpb.Dashboard {
	t.Helper()
	d := &dashboardpb.Dashboard{}
	err := protojson.Unmarshal([]byte(fill(t, filepath.Join(root(t), "deploy/gcp/monitoring/dashboard.json"))), d)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestMetricsAreWhole(t *testing.T) {
	for name, m := range logMetrics(t) {
		d := m.MetricDescriptor
		if m.Name != placeholders["PREFIX"]+"-"+name || m.Description == "" || d.MetricKind != "DELTA" || d.Unit == "" {
			t.Errorf("%s: name %q, description %q, %+v", name, m.Name, m.Description, d)
		}
		if m.distribution() != (m.ValueExtractor != "") || m.distribution() != (m.BucketOptions != nil) ||
			!m.distribution() && d.ValueType != "INT64" {
			t.Errorf("%s: a distribution has a value and buckets, a count has neither", name)
		}
		for _, l := range d.Labels {
			if m.LabelExtractors[l.Key] == "" || l.ValueType != "STRING" || l.Description == "" {
				t.Errorf("%s: the label %+v", name, l)
			}
		}
		if len(d.Labels) != len(m.LabelExtractors) {
			t.Errorf("%s: %d labels, %d extractors", name, len(d.Labels), len(m.LabelExtractors))
		}
	}
}

func TestAlertsAreWhole(t *testing.T) {
	for name, p := range alerts(t) {
		url := placeholders["RUNBOOKS"] + "/" + name + ".md"
		if !strings.HasPrefix(p.DisplayName, placeholders["PREFIX"]+" · ") ||
			!strings.Contains(p.Documentation.GetContent(), url) || p.Documentation.MimeType != "text/markdown" {
			t.Errorf("%s: called %q, its text does not name %s: %s",
				name, p.DisplayName, url, p.Documentation.GetContent())
		}
		if p.UserLabels["alert"] != name || p.UserLabels["casewatch"] != placeholders["PREFIX"] || p.Severity == 0 ||
			!slices.Equal(p.NotificationChannels, []string{placeholders["CHANNELS"]}) {
			t.Errorf("%s: %v %v %v", name, p.UserLabels, p.Severity, p.NotificationChannels)
		}
		if len(p.Conditions) != 1 {
			t.Fatalf("%s: %d conditions; with PromQL one, whose signals are joined by or", name, len(p.Conditions))
		}
		c := p.Conditions[0].GetConditionPrometheusQueryLanguage()
		if c.GetQuery() == "" || c.Duration == nil || c.EvaluationInterval.AsDuration()%30e9 != 0 {
			t.Fatalf("%s: %v", name, c)
		}
		if !c.DisableMetricValidation {
			t.Errorf("%s: it cannot be created before its metrics have data", name)
		}
		if strings.Count(c.Query, "label_replace(") != strings.Count(c.Query, `"signal", "`) {
			t.Errorf("%s: a signal has no name", name)
		}
	}
}

// TestEveryAlertHasARunbook: and the reverse, and the index has both.
func TestEveryAlertHasARunbook(t *testing.T) {
	books, policies := files(t, "runbooks", ".md"), files(t, "monitoring/alerts", ".json")
	index, err := os.ReadFile(books["README"])
	if err != nil {
		t.Fatal(err)
	}
	delete(books, "README")
	for name, path := range policies {
		if books[name] == "" {
			t.Errorf("the alert %s has no page in deploy/gcp/runbooks", name)
		}
		if !strings.Contains(string(index), "]("+name+".md)") {
			t.Errorf("the index of runbooks does not name %s", name)
		}
		for signal := range signals(fill(t, path)) {
			if page, err := os.ReadFile(books[name]); err != nil || !strings.Contains(string(page), signal) {
				t.Errorf("%s.md does not say what %q means", name, signal)
			}
		}
	}
	for name := range books {
		if policies[name] == "" {
			t.Errorf("the runbook %s is for no alert", name)
		}
	}
}

// signals returns the names of an alert's signals, as they stand in its file.
func signals(file string) map[string]bool {
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(`\\"signal\\", \\"([^"\\]+)\\"`).FindAllStringSubmatch(file, -1) {
		found[m[1]] = true
	}
	return found
}

// queries returns every PromQL query, by where it stands.
func queries(t *testing.T) map[string]string {
	found := map[string]string{}
	for name, p := range alerts(t) {
		found["alert "+name] = p.Conditions[0].GetConditionPrometheusQueryLanguage().GetQuery()
	}
	for _, tile := range dashboard(t).GetMosaicLayout().GetTiles() {
		title := "dashboard: " + tile.Widget.Title
		if card := tile.Widget.GetScorecard(); card != nil {
			found[title] = card.TimeSeriesQuery.GetPrometheusQuery()
		}
		for _, set := range tile.Widget.GetXyChart().GetDataSets() {
			found[title] += "\n" + set.TimeSeriesQuery.GetPrometheusQuery()
		}
		if tile.Widget.GetLogsPanel() == nil && tile.Widget.GetText() == nil && strings.TrimSpace(found[title]) == "" {
			t.Errorf("%s shows nothing", title)
		}
	}
	return found
}

var (
	selector = regexp.MustCompile(`\{"([^"]+)"((?:, [a-z_]+(?:=|=~|!=|!~)"[^"]*")*)\}`)
	matcher  = regexp.MustCompile(`, ([a-z_]+)(?:=|=~|!=|!~)"([^"]*)"`)
)

// split parts the suffix by which PromQL reads a distribution from the name of the metric
// (https://cloud.google.com/monitoring/promql/promql-mapping).
func split(name string) (metric, suffix string) {
	if _, known := platformMetrics[name]; known {
		return name, ""
	}
	for _, suffix := range []string{"_sum", "_count", "_bucket"} {
		if metric, ok := strings.CutSuffix(name, suffix); ok {
			return metric, suffix
		}
	}
	return name, ""
}

// TestQueriesNameWhatThereIs: every metric of a query is one of the files or of the platform, as
// the kind that it is, picked by labels that it has; and every file is used.
func TestQueriesNameWhatThereIs(t *testing.T) {
	metrics := logMetrics(t)
	user := "logging.googleapis.com/user/" + placeholders["PREFIX"] + "-"
	used := map[string]bool{}
	for where, query := range queries(t) {
		found := selector.FindAllStringSubmatch(query, -1)
		if len(found) != strings.Count(query, "{") || len(found) == 0 {
			t.Errorf("%s: a selector that this test cannot read: %s", where, query)
		}
		for _, s := range found {
			name, suffix := split(s[1])
			labels, distribution := []string{}, false
			if own, ok := strings.CutPrefix(name, user); ok {
				m, ok := metrics[own]
				if !ok {
					t.Errorf("%s: there is no metric %s", where, own)
					continue
				}
				used[own], distribution, labels = true, m.distribution(), []string{"service_name"}
				for label := range m.LabelExtractors {
					labels = append(labels, label)
				}
			} else if m, ok := platformMetrics[name]; ok {
				labels, distribution = m.labels, m.distribution
			} else {
				t.Errorf("%s: %s is no metric", where, name)
			}
			if distribution != (suffix != "") {
				t.Errorf("%s: %s is read as another kind than it is", where, s[1])
			}
			picked := map[string]string{}
			for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
				if picked[m[1]] = m[2]; m[1] != "monitored_resource" && !slices.Contains(labels, m[1]) {
					t.Errorf("%s: %s has no label %s", where, name, m[1])
				}
			}
			domain, _, _ := strings.Cut(name, ".")
			want := map[string]string{"logging": "cloud_run_revision", "run": "cloud_run_revision",
				"cloudtasks": "cloud_tasks_queue", "pubsub": "pubsub_subscription", "monitoring": "uptime_url"}[domain]
			if picked["monitored_resource"] != want {
				t.Errorf("%s: %s is picked of %q, not of %s", where, name, picked["monitored_resource"], want)
			}
		}
	}
	for name := range metrics {
		if !used[name] {
			t.Errorf("no alert and no widget uses the metric %s", name)
		}
	}
}

func TestDashboardTilesDoNotOverlap(t *testing.T) {
	layout := dashboard(t).GetMosaicLayout()
	taken := map[[2]int32]string{}
	for _, tile := range layout.Tiles {
		if tile.XPos+tile.Width > layout.Columns {
			t.Errorf("%q ends beyond column %d", tile.Widget.Title, layout.Columns)
		}
		for x := tile.XPos; x < tile.XPos+tile.Width; x++ {
			for y := tile.YPos; y < tile.YPos+tile.Height; y++ {
				if other, ok := taken[[2]int32{x, y}]; ok {
					t.Fatalf("%q lies over %q", tile.Widget.Title, other)
				}
				taken[[2]int32{x, y}] = tile.Widget.Title
			}
		}
	}
}
