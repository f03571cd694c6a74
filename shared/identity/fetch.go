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
	maxDocument = 1 << 20 // bytes; the documents of Google have 2 KiB

	// How long keys are fresh: as long as the Cache-Control of the answer allows, within bounds.
	minFresh     = time.Minute
	maxFresh     = 6 * time.Hour
	defaultFresh = time.Hour
)

// newClient returns a client for a few requests an hour. It keeps no connection, since an idle one
// would be dead by the next request.
func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: fetchTimeout}).DialContext,
			TLSHandshakeTimeout:    fetchTimeout,
			DisableKeepAlives:      true,
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// fetch requests the keys of the issuer. If their address is not configured, it first reads the
// discovery document.
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
		if json.Unmarshal(raw, &key) == nil && forSignatures(key) { // keys of other kinds are ignored
			issued.keys = append(issued.keys, key)
		}
	}
	if len(issued.keys) == 0 {
		return nil, fmt.Errorf("%s has no key that verifies signatures", address)
	}
	issued.freshUntil = issued.fetched.Add(freshness(header))
	return issued, nil
}

// discover reads the discovery document of an issuer: the address of its keys and its signature
// algorithms (https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig).
func discover(ctx context.Context, client *http.Client, issuer string) (keys string, algorithms []string, err error) {
	var about struct {
		Issuer     string   `json:"issuer"`
		Keys       string   `json:"jwks_uri"`
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
	}
	address := strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
	if _, err := get(ctx, client, address, &about); err != nil {
		return "", nil, err
	}
	if about.Issuer != issuer {
		return "", nil, fmt.Errorf("the issuer %s says that it is %q", issuer, about.Issuer)
	}
	return about.Keys, about.Algorithms, nil
}

// get requests a JSON document of at most maxDocument bytes.
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

// trusted reports whether an answer from the address cannot be changed in transit.
func trusted(address string) bool {
	u, err := weburl.Parse(address)
	return err == nil && (u.Scheme == "https" || weburl.IsLoopback(u.Hostname()))
}

// freshness returns how long an answer may be cached (RFC 9111, section 5.2.2), within bounds.
func freshness(header http.Header) time.Duration {
	fresh := defaultFresh
	for directive := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return minFresh
		case "max-age":
			seconds, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 32)
			if err != nil {
				return minFresh
			}
			fresh = time.Duration(seconds) * time.Second
		}
	}
	return min(max(fresh, minFresh), maxFresh)
}
