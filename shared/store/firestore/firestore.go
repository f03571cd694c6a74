package firestore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apiv1 "cloud.google.com/go/firestore/apiv1"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/casewatch/casewatch/shared/overload"
	"github.com/casewatch/casewatch/shared/store"
)

// Store is a [store.Store] in a Firestore database. Its methods are safe for concurrent use.
type Store struct {
	names
	keep   time.Duration // from a run's deadline to its expire_at
	opts   []option.ClientOption
	client *apiv1.Client
	memo   memo

	listening listening
	retries   overload.Retries
	limit     overload.Limit

	attemptTimeout, backoff time.Duration
}

var _ store.Store = (*Store)(nil)

// slack is how much later than the sweep should have purged a run Firestore deletes it.
const slack = 30 * 24 * time.Hour

// Open returns a Store on the database that o.Project and o.Location, its id, name; "" is
// "(default)". The database and its indexes must exist; neither is checked here. Firestore deletes
// what was not purged 30 days after o.Retention. Open makes no connection: the first call does, and
// later calls make a new one if it was lost. ctx bounds the search for credentials. The error names
// every fault of o, or says that there are no credentials. The caller closes the Store.
func Open(ctx context.Context, o store.Options) (*Store, error) { return open(ctx, o) }

// open is Open with more options for the client.
func open(ctx context.Context, o store.Options, more ...option.ClientOption) (*Store, error) {
	var faults []error
	if o.Project == "" {
		faults = append(faults, errors.New("no project given"))
	}
	if o.Retention < 0 {
		faults = append(faults, fmt.Errorf("a retention of %v", o.Retention))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("opening the Firestore store: %w", err)
	}
	var opts []option.ClientOption
	if o.EmulatorHost != "" {
		opts = append(opts,
			option.WithEndpoint(o.EmulatorHost),
			option.WithoutAuthentication(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	}
	s := &Store{
		names:          newNames(o.Project, o.Location),
		keep:           o.Retention + slack,
		opts:           append(opts, more...),
		attemptTimeout: attemptTimeout,
		backoff:        firstBackoff,
	}
	s.limit.Max, s.limit.Patience = maxUnderWay, turnPatience
	s.listening.init()
	client, err := s.newClient(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening the Firestore store: %w", err)
	}
	s.client = client
	return s, nil
}

// newClient makes a client that outlives ctx.
func (s *Store) newClient(ctx context.Context, more ...option.ClientOption) (*apiv1.Client, error) {
	client, err := apiv1.NewClient(context.WithoutCancel(ctx), append(more, s.opts...)...)
	if err != nil {
		return nil, err
	}
	// The client's own repeats are bounded by nothing but the context, and leave out answers that
	// break off: ours are in call.
	client.CallOptions = &apiv1.CallOptions{}
	return client, nil
}

// Close implements [store.Store].
func (s *Store) Close() error {
	if err := errors.Join(s.client.Close(), s.listening.close()); err != nil {
		return fmt.Errorf("closing the Firestore store: %w", err)
	}
	return nil
}

// listening is what is shared by those who wait: a client with connections of its own, made for the
// first of them.
type listening struct {
	places chan struct{} // one for each stream that is open

	opening overload.BestEffort // of streams, until they have told what there is
	looking overload.BestEffort // by ordinary reads, of those who cannot listen

	mu     sync.Mutex
	client *apiv1.Client

	// What tests shorten.
	atMost           time.Duration
	pause, laterLook time.Duration
}

// Google's front ends bear 100 streams on a connection; whoever opens one more waits until another
// ends. So streams that stay open have connections of their own, and are not more than these bear,
// with room for an uneven spread.
const (
	listenConns = 4
	maxListens  = listenConns * 64
)

// Waiting is best effort: nothing is lost when a viewer learns of a change late. So a database that
// is slow is not asked by all who wait at the same time, nor asked again immediately.
const (
	maxOpening   = 16               // streams that are being opened
	unheardPause = 30 * time.Second // without new streams, after one could not be opened
	maxLooking   = 4                // reads of those who cannot listen
	unreadPause  = 5 * time.Second  // without such reads, after one failed
)

// init readies l for use.
func (l *listening) init() {
	l.places = make(chan struct{}, maxListens)
	l.atMost, l.pause, l.laterLook = listenFor, firstPause, lastPause
	l.opening.Now, l.opening.AtOnce, l.opening.Pause = time.Now, maxOpening, unheardPause
	l.looking.Now, l.looking.AtOnce, l.looking.Pause = time.Now, maxLooking, unreadPause
}

// listener returns the client to listen with.
func (s *Store) listener(ctx context.Context) (*apiv1.Client, error) {
	l := &s.listening
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client == nil {
		client, err := s.newClient(ctx, option.WithGRPCConnectionPool(listenConns))
		if err != nil {
			return nil, err
		}
		l.client = client
	}
	return l.client, nil
}

func (l *listening) close() error {
	if l.client == nil {
		return nil
	}
	return l.client.Close()
}
