package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/pubsub/v2"
	"golang.org/x/oauth2"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/casewatch/casewatch/deploy/test/drill/target"
	"github.com/casewatch/casewatch/shared/queue"
)

// google is the queue and the topic, by Google's own clients: what is done to them is what happens to the real ones.
type google struct {
	t      *target.Target
	tasks  *cloudtasks.Client
	pubsub *pubsub.Client
	events *pubsub.Publisher
}

func openGoogle(ctx context.Context, t *target.Target) (*google, error) {
	g := &google{t: t}
	var err error
	if g.tasks, err = cloudtasks.NewClient(ctx, options(t.TasksEmulator, t.AccessToken)...); err != nil {
		return nil, fmt.Errorf("Cloud Tasks: %w", err) //nolint:staticcheck // a name
	}
	if t.EventsTopic == "" {
		return g, nil
	}
	if g.pubsub, err = pubsub.NewClient(ctx, t.Project,
		append(options(t.PubSubEmulator, t.AccessToken), option.WithTelemetryDisabled())...); err != nil {
		return nil, errors.Join(fmt.Errorf("Pub/Sub: %w", err), g.tasks.Close())
	}
	g.events = g.pubsub.Publisher(t.EventsTopic)
	g.events.PublishSettings.Timeout = answerTimeout / 2 // close waits for it
	return g, nil
}

// options are how a client reaches an emulator, or Google's API with a token.
func options(emulator, token string) []option.ClientOption {
	if emulator != "" {
		return []option.ClientOption{
			option.WithEndpoint(emulator), option.WithoutAuthentication(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		}
	}
	if token != "" {
		source := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})
		return []option.ClientOption{option.WithTokenSource(source)}
	}
	return nil // application default credentials
}

func (g *google) close() error {
	err := g.tasks.Close()
	if g.pubsub != nil {
		g.events.Stop()
		err = errors.Join(err, g.pubsub.Close())
	}
	return err
}

// event is what a pipeline publishes.
type event struct {
	CaseID   string         `json:"case_id"`
	Run      int            `json:"run,omitempty"`
	Status   string         `json:"status"`
	Progress map[string]any `json:"progress,omitempty"`
	Result   map[string]any `json:"result,omitempty"`
	Error    map[string]any `json:"error,omitempty"`
}

// publish publishes an event and returns when the topic has it.
func (g *google) publish(ctx context.Context, e event) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = g.events.Publish(ctx, &pubsub.Message{Data: data}).Get(ctx)
	return err
}

// queueOf returns the full name of the queue of a task.
func (g *google) queueOf(t queue.Task) string {
	if t.Kind == queue.Dispatch {
		return g.t.Dispatch
	}
	return g.t.Checks[queue.Shard(t.CaseID, len(g.t.Checks))]
}

// nameOf returns the full name of a task.
func (g *google) nameOf(t queue.Task) string { return g.queueOf(t) + "/tasks/" + t.Name() }

// lose deletes a task, which is what is left when an instance dies after it saved and before it had
// created that. It reports whether there was one.
func (g *google) lose(ctx context.Context, t queue.Task) (bool, error) {
	err := g.tasks.DeleteTask(ctx, &cloudtaskspb.DeleteTaskRequest{Name: g.nameOf(t)})
	if status.Code(err) == codes.NotFound {
		return false, nil
	}
	return err == nil, err
}

// queues are the full names of all queues.
func (g *google) queues() []string { return append([]string{g.t.Dispatch}, g.t.Checks...) }

// purge deletes every task of every queue.
func (g *google) purge(ctx context.Context) error {
	var errs []error
	for _, name := range g.queues() {
		_, err := g.tasks.PurgeQueue(ctx, &cloudtaskspb.PurgeQueueRequest{Name: name})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// hold stops the deliveries of a queue, and resume begins them again.
func (g *google) hold(ctx context.Context, name string) error {
	_, err := g.tasks.PauseQueue(ctx, &cloudtaskspb.PauseQueueRequest{Name: name})
	return err
}

func (g *google) resume(ctx context.Context, name string) error {
	_, err := g.tasks.ResumeQueue(ctx, &cloudtaskspb.ResumeQueueRequest{Name: name})
	return err
}

// paused reports whether a queue delivers nothing.
func (g *google) paused(ctx context.Context, name string) (bool, error) {
	q, err := g.tasks.GetQueue(ctx, &cloudtaskspb.GetQueueRequest{Name: name})
	return err == nil && q.GetState() != cloudtaskspb.Queue_RUNNING, err
}

// find returns a task by its full name: nil if it was done, deleted or never there.
func (g *google) find(ctx context.Context, name string) (*cloudtaskspb.Task, error) {
	task, err := g.tasks.GetTask(ctx, &cloudtaskspb.GetTaskRequest{Name: name})
	if status.Code(err) == codes.NotFound {
		return nil, nil
	}
	return task, err
}

// ownPrefix begins the names of the tasks that a drill makes.
const ownPrefix = "drill-"

// put creates a task as Casewatch does, token and all, but under a name of its own: that of a task
// which was there is taken. It is what Cloud Tasks does when it delivers a task again long after it
// was done. It is delivered after a while, if one is given. The name is the full one.
func (g *google) put(ctx context.Context, parent string, t queue.Task, nth int,
	after time.Duration) (name string, err error) {
	to := g.t.CheckURL
	if t.Kind == queue.Dispatch {
		to = g.t.DispatchURL
	}
	request := &cloudtaskspb.HttpRequest{
		Url: to, HttpMethod: cloudtaskspb.HttpMethod_POST, Headers: map[string]string{
			"Content-Type": "application/json",
		}, Body: t.EncodeBody(),
	}
	if g.t.TasksAccount != "" {
		u, err := url.Parse(to)
		if err != nil {
			return "", err
		}
		request.AuthorizationHeader = &cloudtaskspb.HttpRequest_OidcToken{OidcToken: &cloudtaskspb.OidcToken{
			ServiceAccountEmail: g.t.TasksAccount, Audience: u.Scheme + "://" + u.Host,
		}}
	}
	task := &cloudtaskspb.Task{
		Name:        parent + "/tasks/" + ownPrefix + t.Name() + "-" + strconv.Itoa(nth),
		MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: request},
	}
	if after > 0 {
		task.ScheduleTime = timestamppb.New(time.Now().Add(after))
	}
	_, err = g.tasks.CreateTask(ctx, &cloudtaskspb.CreateTaskRequest{Parent: parent, Task: task})
	return task.GetName(), err
}

// drop deletes a task by its full name. It is no error if there is none.
func (g *google) drop(ctx context.Context, name string) error {
	err := g.tasks.DeleteTask(ctx, &cloudtaskspb.DeleteTaskRequest{Name: name})
	if status.Code(err) == codes.NotFound {
		return nil
	}
	return err
}

// pending lists the checks of each run that wait for their first delivery: "case_id run" -> their
// numbers. One that is being delivered is not there, since the next may be already. Tasks of drills
// are not.
func (g *google) pending(ctx context.Context) (map[string][]int64, error) {
	seqs := map[string][]int64{}
	for _, name := range g.t.Checks {
		all := g.tasks.ListTasks(ctx, &cloudtaskspb.ListTasksRequest{
			Parent: name, ResponseView: cloudtaskspb.Task_FULL, PageSize: 1000,
		})
		for {
			task, err := all.Next()
			if errors.Is(err, iterator.Done) {
				break
			}
			if err != nil {
				return nil, err
			}
			body, err := queue.DecodeBody(task.GetHttpRequest().GetBody())
			if err != nil || task.GetDispatchCount() > 0 || strings.Contains(task.GetName(), "/tasks/"+ownPrefix) {
				continue
			}
			name := runName(body.CaseID, body.Run)
			seqs[name] = append(seqs[name], body.Seq)
		}
	}
	return seqs, nil
}

func runName(caseID string, run int) string { return caseID + " " + strconv.Itoa(run) }
