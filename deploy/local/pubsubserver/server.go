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

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/grpc"

	"github.com/casewatch/casewatch/shared/weburl"
)

// maxMessage is Pub/Sub's limit for the size of a publish request, in bytes:
// https://cloud.google.com/pubsub/quotas#resource_limits.
const maxMessage = 10_000_000

// topicID matches the topic ids that Pub/Sub allows:
// https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names.
var topicID = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._~+%-]{2,254}$`)

// Route delivers the messages of a topic to a URL.
type Route struct {
	Topic  string // the topic's id, or its full name in the server's project
	Target string // absolute http or https URL; its query is kept

	// Push delivers as a push subscription does. Without it, Eventarc's headers and query are
	// added.
	Push bool

	// ServiceAccount is the e-mail address of the account whose ID token each delivery carries.
	// Without it, deliveries carry no token. Audience is the audience of the token: Target if
	// empty.
	ServiceAccount, Audience string
}

// Options configure a [Server]. Only Project is required.
type Options struct {
	Project string   // the project's id
	Addr    string   // loopback host:port to listen on; "127.0.0.1:0" if empty
	Routes  []Route  // routes of the same topic each get every message
	Topics  []string // more topics to create: ids or full names

	AckDeadline time.Duration // the limit for one delivery; 600 s, the longest of Pub/Sub, if zero
	MinBackoff  time.Duration // before the second delivery; 1 s if zero
	MaxBackoff  time.Duration // the longest wait between deliveries; 60 s if zero
	Retention   time.Duration // an older message is dropped and logged; 24 h, as for Eventarc, if zero
	Concurrency int           // deliveries at the same time for each route; 64 if zero

	// Signer returns an ID token of an account for an audience. It is required if a route has a
	// ServiceAccount. If Signer fails, that delivery fails.
	Signer func(ctx context.Context, serviceAccount, audience string) (string, error)

	Logger *slog.Logger // slog.Default() if nil
}

// Server is a Pub/Sub server on loopback that delivers the messages of its routes. Its methods are
// safe for concurrent use.
type Server struct {
	opts   Options
	addr   string
	epoch  int64 // start time in Unix milliseconds: the first part of each message id
	fake   *pstest.Server
	grpc   *grpc.Server
	http   *http.Client
	routes map[string][]*route // by full topic name; not changed after Start
	stop   context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once

	publishing sync.RWMutex // held for reading by publishers, for writing while the fake is cleared
	keptBytes  atomic.Int64 // published since the fake was last cleared
	subscribed atomic.Bool  // a program has created a subscription
	closed     atomic.Bool
}

// Start starts a server. When it returns, all topics exist, and each route gets every message that
// is published afterwards. ctx limits only the start: [Server.Close] ends the server. Start fails if
// options are invalid, and then names all of them, or if it cannot listen on the address.
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

	// This gRPC server serves the fake, because an interceptor is the only way to see what is
	// published. The fake also listens on a port of its own, which is not used.
	s.fake = pstest.NewServerWithAddress("127.0.0.1:0")
	s.grpc = grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage+1<<20), grpc.UnaryInterceptor(s.intercept))
	pubsubpb.RegisterPublisherServer(s.grpc, &s.fake.GServer)
	pubsubpb.RegisterSubscriberServer(s.grpc, &s.fake.GServer)
	pubsubpb.RegisterSchemaServiceServer(s.grpc, &s.fake.GServer)
	s.wg.Go(func() { _ = s.grpc.Serve(listener) }) // ends with Stop

	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	perRoute := s.opts.Concurrency + 1
	s.http = &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: perRoute, IdleConnTimeout: 30 * time.Second}, // no proxy
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if err := s.createTopics(ctx, topics); err != nil {
		return nil, errors.Join(fmt.Errorf("pubsubserver: %w", err), s.Close())
	}
	for _, routes := range s.routes {
		for _, r := range routes {
			s.wg.Go(func() { r.run(running) })
		}
	}
	return s, nil
}

// validate fills s.routes and returns the full names of all topics. Its error names all invalid
// options.
func (s *Server) validate() (topics []string, _ error) {
	var errs []error
	invalid := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("pubsubserver: "+format, args...))
	}
	if s.opts.Project == "" {
		invalid("Project is missing")
	}
	if host, _, err := net.SplitHostPort(s.opts.Addr); err != nil {
		invalid("Addr %q is not host:port", s.opts.Addr)
	} else if !weburl.IsLoopback(host) {
		invalid("Addr %q is not a loopback address", s.opts.Addr)
	}
	seen := map[string]bool{}
	add := func(topic string) string {
		name := s.topicName(topic)
		if id := name[strings.LastIndexByte(name, '/')+1:]; !topicID.MatchString(id) || strings.Count(name, "/") != 3 {
			invalid("topic %q is not an id that Pub/Sub allows", topic)
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
			invalid("target %q of topic %q %w", r.Target, r.Topic, err)
			continue
		}
		if r.ServiceAccount != "" && s.opts.Signer == nil {
			invalid("the route of topic %q has ServiceAccount %s, but Signer is missing", r.Topic, r.ServiceAccount)
		}
		s.routes[name] = append(s.routes[name], newRoute(s, r, name, target, len(s.routes[name])+1))
	}
	return topics, errors.Join(errs...)
}

func (s *Server) topicName(topic string) string {
	if strings.HasPrefix(topic, "projects/") {
		return topic
	}
	return "projects/" + s.opts.Project + "/topics/" + topic
}

// createTopics creates the topics.
func (s *Server) createTopics(ctx context.Context, topics []string) error {
	for _, name := range topics {
		if _, err := s.fake.GServer.CreateTopic(ctx, &pubsubpb.Topic{Name: name}); err != nil {
			return fmt.Errorf("create %s: %w", name, err)
		}
	}
	return nil
}

// Addr returns the server's host:port, which is the value for PUBSUB_EMULATOR_HOST.
func (s *Server) Addr() string { return s.addr }

// Close ends the server immediately. It aborts deliveries in progress, and messages that are not
// delivered are lost. When it returns, no goroutine of the server is left. A second call does
// nothing.
func (s *Server) Close() error {
	var err error
	s.once.Do(func() {
		s.closed.Store(true)
		s.stop()
		s.grpc.Stop()
		s.wg.Wait()
		s.http.CloseIdleConnections()
		err = s.fake.Close()
		s.fake.Wait()
	})
	return err
}
