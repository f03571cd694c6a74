package access

import (
	"context"
	"fmt"
	"mime"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/casewatch/casewatch/shared/fault"
)

const (
	// guardedFor is how long it is believed that Cloud Run turns away who shows nothing, before that is tried again.
	guardedFor = 5 * time.Minute
	// unguardedFor is the same of the contrary, or if it could not be found out.
	unguardedFor = 30 * time.Second
	// knockTimeout bounds one try.
	knockTimeout = 5 * time.Second
)

// frontDoor tells whether Cloud Run checks who calls before a request gets here. A token whose signature was removed is worth
// something only then: otherwise anybody can write one. Nothing in a request tells, so it is tried: a request that shows nothing is turned
// away by Cloud Run, or comes through to a function of ours. deploy/docs/decisions/0005 has the reasons.
//
// It is safe for concurrent use. One call at a time tries, inside that call.
type frontDoor struct {
	addresses []string
	client    *http.Client
	now       func() time.Time
	turn      chan struct{} // holds a token while it is tried

	mu    sync.Mutex
	until time.Time // when what is known has to be tried again
	err   error     // nil: it is guarded
}

func newFrontDoor(addresses []string, now func() time.Time) *frontDoor {
	return &frontDoor{
		addresses: addresses, now: now, turn: make(chan struct{}, 1),
		client: &http.Client{
			Transport: &http.Transport{ // no proxy, which might turn away in Cloud Run's stead; no connection that stays
				DialContext: (&net.Dialer{Timeout: knockTimeout}).DialContext, TLSHandshakeTimeout: knockTimeout,
				DisableKeepAlives: true, ForceAttemptHTTP2: true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// guarded returns nil if Cloud Run turns away at every address who shows nothing. Else the error is Unauthorized if one of them is open, Unavailable
// if it could not be found out.
func (d *frontDoor) guarded(ctx context.Context) error {
	if known, err := d.known(); known {
		return err
	}
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return fault.Wrap(fault.Unavailable, ctx.Err(), doorUnknown)
	}
	if known, err := d.known(); known { // somebody tried meanwhile
		return err
	}
	// Others wait for this too: it does not end with whoever happens to be first.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), knockTimeout)
	defer cancel()
	var err error
	for _, address := range d.addresses {
		if err = d.knock(ctx, address); err != nil {
			break
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	believed := guardedFor
	if err != nil {
		believed = unguardedFor
	}
	d.until, d.err = d.now().Add(believed), err
	return err
}

const doorUnknown = "it cannot be told who checked the token's signature; try again"

func (d *frontDoor) known() (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now().Before(d.until), d.err
}

// knock calls an address without showing anything. Cloud Run answers 403, in HTML; whatever comes from a function of ours is
// problem+json (https://cloud.google.com/run/docs/troubleshooting#unauthorized-client).
func (d *frontDoor) knock(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, http.NoBody)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, doorUnknown)
	}
	req.Header.Set("Accept", fault.ContentType) // the console answers others with a page
	res, err := d.client.Do(req)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, doorUnknown)
	}
	_ = res.Body.Close()
	mediaType, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	ours := mediaType == fault.ContentType
	byIAP := res.Header.Get("X-Goog-Iap-Generated-Response") != "" // it lets in by other headers, and leaves Authorization as it came
	switch {
	case (res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusUnauthorized) && !ours && !byIAP:
		return nil
	case ours, res.StatusCode < http.StatusMultipleChoices:
		return fault.New(fault.Unauthorized, "the token is not signed, and the function is open to everyone")
	}
	return fault.Wrap(fault.Unavailable, fmt.Errorf("%s answered %s to a request that shows nothing", address, res.Status), doorUnknown)
}
