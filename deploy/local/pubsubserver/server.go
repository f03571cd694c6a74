package pubsubserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/casewatch/casewatch/shared/weburl"
)

// maxMessage is Pub/Sub's limit of a publish request, in bytes (https://cloud.google.com/pubsub/quotas#resource_limits).
const maxMessage = 10_000_000

// topicID is what Pub/Sub allows as the id of a topic (https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names).
var topicID = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._~+%-]{2,254}$`)

// Route delivers the messages of a topic to a URL.
type Route struct {
	Topic  string // the topic's id, or its full name in the server's project
	Target string // absolute http or https URL; its query is kept

	// Push delivers as a push subscription does, without Eventarc.
	Push bool
	// ServiceAccount is the e-mail of the account whose ID token the deliveries carry; "" for none. Audience is for whom the token is, Target if empty.
	ServiceAccount, Audience string
}

// Options say what a [Server] is. Only Project is required.
type Options struct {
	Project string   // the project's id
	Addr    string   // loopback host:port to listen on; "127.0.0.1:0" if empty
	Routes  []Route  // what is delivered; several may name one topic, each gets every message
	Topics  []string // topics to create besides those of Routes: ids or full names

	AckDeadline time.Duration // how long one delivery may take; 600 s, Pub/Sub's longest, if zero
	MinBackoff  time.Duration // before the second delivery; 1 s if zero
	MaxBackoff  time.Duration // the longest wait between deliveries; 60 s if zero
	Retention   time.Duration // a message this old is given up and logged; 24 h, as Eventarc does, if zero
	Concurrency int           // deliveries at one time, per route; 64 if zero

	// Signer returns the ID token of an account for an audience. Routes with a ServiceAccount need it. When it fails, the delivery has failed.
	Signer func(ctx context.Context, serviceAccount, audience string) (string, error)

	Logger *slog.Logger // slog.Default() if nil
}

// Server is Pub/Sub on loopback with its bridge. Its methods are safe for concurrent use.
type Server struct {
	opts   Options
	addr   string
	epoch  int64 // Unix milliseconds of the start: the first half of message ids
	fake   *pstest.Server
	grpc   *grpc.Server
	conn   *grpc.ClientConn
	client *pubsub.Client
	http   *http.Client
	routes map[string][]*route // by full topic name; not changed once Start returned
	stop   context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once

	gate    sync.RWMutex // publishers hold it for reading; clearing the fake excludes them
	kept    atomic.Int64 // bytes published since the fake was last cleared
	started atomic.Bool  // the server's own subscriptions exist
	foreign atomic.Bool  // somebody else made a subscription
	closed  atomic.Bool
}

// Start starts a server. When it returns, every topic and subscription exists, so that nothing published from then on misses a
// route. ctx bounds the start only; [Server.Close] ends the server. The error names every fault of the options, or says that the
// address could not be listened on.
func Start(ctx context.Context, o Options) (*Server, error) {
	o.Addr = cmp.Or(o.Addr, "127.0.0.1:0")
	o.AckDeadline = cmp.Or(o.AckDeadline, 600*time.Second)
	o.MinBackoff = cmp.Or(o.MinBackoff, time.Second)
	o.MaxBackoff = max(o.MinBackoff, cmp.Or(o.MaxBackoff, 60*time.Second))
	o.Retention = cmp.Or(o.Retention, 24*time.Hour)
	o.Concurrency = cmp.Or(o.Concurrency, 64)
	o.Logger = cmp.Or(o.Logger, slog.Default())

	s := &Server{opts: o, epoch: time.Now().UnixMilli(), routes: map[string][]*route{}}
	topics, err := s.validate()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("pubsubserver: %w", err)
	}
	s.addr = listener.Addr().String()

	// The fake is served by a gRPC server of our own, since only that lets us see what is published. Its own port
	// is any free one on loopback, and nobody is told.
	s.fake = pstest.NewServerWithAddress("127.0.0.1:0")
	s.grpc = grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage+1<<20), grpc.UnaryInterceptor(s.intercept))
	pubsubpb.RegisterPublisherServer(s.grpc, &s.fake.GServer)
	pubsubpb.RegisterSubscriberServer(s.grpc, &s.fake.GServer)
	pubsubpb.RegisterSchemaServiceServer(s.grpc, &s.fake.GServer)
	s.wg.Go(func() { _ = s.grpc.Serve(listener) }) // ends with Stop

	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	if err := s.open(ctx, topics); err != nil {
		return nil, errors.Join(fmt.Errorf("pubsubserver: %w", err), s.Close())
	}
	s.started.Store(true)
	for _, routes := range s.routes {
		for _, r := range routes {
			s.wg.Go(func() { r.pull(running) })
		}
	}
	s.wg.Go(func() { s.clean(running) })
	return s, nil
}

// validate names every fault of the options, fills s.routes and returns the full names of all topics.
func (s *Server) validate() (topics []string, _ error) {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("pubsubserver: "+format, args...))
	}
	if s.opts.Project == "" {
		fault("Project is missing")
	}
	if host, _, err := net.SplitHostPort(s.opts.Addr); err != nil {
		fault("Addr %q is not host:port", s.opts.Addr)
	} else if !weburl.IsLoopback(host) {
		fault("Addr %q is not on loopback", s.opts.Addr)
	}
	seen := map[string]bool{}
	add := func(topic string) string {
		name := s.topicName(topic)
		if id := name[strings.LastIndexByte(name, '/')+1:]; !topicID.MatchString(id) || strings.Count(name, "/") != 3 {
			fault("topic %q is not an id that Pub/Sub allows", topic)
		}
		if !seen[name] {
			seen[name] = true
			topics = append(topics, name)
		}
		return name
	}
	for _, t := range s.opts.Topics {
		add(t)
	}
	for _, r := range s.opts.Routes {
		name := add(r.Topic)
		target, err := weburl.Parse(r.Target)
		if err != nil {
			fault("target %q of topic %q %w", r.Target, r.Topic, err)
			continue
		}
		if r.ServiceAccount != "" && s.opts.Signer == nil {
			fault("topic %q is delivered with tokens of %s, and there is no Signer", r.Topic, r.ServiceAccount)
		}
		s.routes[name] = append(s.routes[name], newRoute(s, r, name, target, len(s.routes[name])+1))
	}
	return topics, errors.Join(faults...)
}

func (s *Server) topicName(topic string) string {
	if strings.HasPrefix(topic, "projects/") {
		return topic
	}
	return "projects/" + s.opts.Project + "/topics/" + topic
}

// open connects Google's client and creates the topics and subscriptions.
func (s *Server) open(ctx context.Context, topics []string) (err error) {
	s.conn, err = grpc.NewClient("passthrough:///"+s.addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30))) // a pull returns many messages at once
	if err != nil {
		return err
	}
	s.client, err = pubsub.NewClient(ctx, s.opts.Project, option.WithGRPCConn(s.conn))
	if err != nil {
		return err
	}
	perRoute := s.opts.Concurrency + 1
	s.http = &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: perRoute, IdleConnTimeout: 30 * time.Second}, // no proxy
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, name := range topics {
		if _, err := s.client.TopicAdminClient.CreateTopic(ctx, &pubsubpb.Topic{Name: name}); err != nil {
			return fmt.Errorf("create %s: %w", name, err)
		}
		for _, r := range s.routes[name] {
			if _, err := s.client.SubscriptionAdminClient.CreateSubscription(ctx, &pubsubpb.Subscription{
				Name: r.subscription, Topic: name, AckDeadlineSeconds: leaseSeconds,
			}); err != nil {
				return fmt.Errorf("create %s: %w", r.subscription, err)
			}
		}
	}
	return nil
}

// Addr is the host:port to set PUBSUB_EMULATOR_HOST to.
func (s *Server) Addr() string { return s.addr }

// Close ends the server at once: deliveries under way are cut, what is not delivered is lost. It returns when nothing of the server
// is left running, and may be called again.
func (s *Server) Close() error {
	var err error
	s.once.Do(func() {
		s.closed.Store(true)
		s.stop()
		s.grpc.Stop()
		s.wg.Wait()
		if s.client != nil {
			err = s.client.Close()
		}
		if s.conn != nil {
			_ = s.conn.Close() // the client may have closed it
		}
		if s.http != nil {
			s.http.CloseIdleConnections()
		}
		err = errors.Join(err, s.fake.Close())
		s.fake.Wait()
	})
	return err
}
