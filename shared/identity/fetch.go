package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/casewatch/casewatch/shared/weburl"
)

const (
	maxDocument = 1 << 20 // bytes; Google's have 2 KiB

	// How long keys are fresh: as long as their answer says, within bounds.
	leastFresh   = time.Minute
	mostFresh    = 6 * time.Hour
	defaultFresh = time.Hour
)

// newClient returns a client for a few requests an hour: a connection kept open would only be found dead.
func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: fetchTimeout}).DialContext, TLSHandshakeTimeout: fetchTimeout,
			DisableKeepAlives: true, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// fetch asks for the issuer's keys, and before that where they are, if that was not said.
func (k *keySet) fetch(ctx context.Context) (*published, error) {
	address, algorithms := k.address, []string(nil)
	if address == "" {
		var err error
		if address, algorithms, err = discover(ctx, k.client, k.issuer); err != nil {
			return nil, err
		}
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	header, err := get(ctx, k.client, address, &set)
	if err != nil {
		return nil, err
	}
	issued := &published{algorithms: algorithms, fetched: k.now()}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) == nil && forSignatures(key) { // one of another kind is no fault of the others
			issued.keys = append(issued.keys, key)
		}
	}
	if len(issued.keys) == 0 {
		return nil, fmt.Errorf("%s has no key that verifies signatures", address)
	}
	issued.freshUntil = issued.fetched.Add(freshness(header))
	return issued, nil
}

// discover asks an issuer where its keys are and what it signs with (https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig).
func discover(ctx context.Context, client *http.Client, issuer string) (keys string, algorithms []string, err error) {
	var about struct {
		Issuer     string   `json:"issuer"`
		Keys       string   `json:"jwks_uri"`
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
	}
	if _, err := get(ctx, client, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", &about); err != nil {
		return "", nil, err
	}
	if about.Issuer != issuer {
		return "", nil, fmt.Errorf("the issuer %s says that it is %q", issuer, about.Issuer)
	}
	return about.Keys, about.Algorithms, nil
}

// get reads a JSON document.
func get(ctx context.Context, client *http.Client, address string, into any) (http.Header, error) {
	if !trusted(address) {
		return nil, fmt.Errorf("%q is not an https address, nor one on this machine", address)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", address, res.Status)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxDocument+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", address, err)
	case len(data) > maxDocument:
		return nil, fmt.Errorf("%s answered more than %d bytes", address, maxDocument)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return nil, errors.New(address + " did not answer the JSON that was expected")
	}
	return res.Header, nil
}

// trusted reports whether what an address answers can be relied on: nobody on the way can change it.
func trusted(address string) bool {
	u, err := weburl.Parse(address)
	return err == nil && (u.Scheme == "https" || weburl.IsLoopback(u.Hostname()))
}

// freshness reads how long an answer may be kept (RFC 9111, section 5.2.2), within bounds.
func freshness(header http.Header) time.Duration {
	fresh := defaultFresh
	for directive := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return leastFresh
		case "max-age":
			seconds, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 32)
			if err != nil {
				return leastFresh
			}
			fresh = time.Duration(seconds) * time.Second
		}
	}
	return min(max(fresh, leastFresh), mostFresh)
}
