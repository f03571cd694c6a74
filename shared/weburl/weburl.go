// Package weburl checks addresses on the web, and tells which hosts are this machine.
//
// Its functions are pure, ask no name server, and are safe for concurrent use. Their errors continue
// a sentence that begins with the name of the value. They never quote it: it may hold a password.
package weburl

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Parse reads an absolute http or https URL that names a valid host, as [ValidHost] says, no user and
// no fragment.
func Parse(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("has another scheme than http and https, or none")
	case u.User != nil:
		return nil, errors.New("holds a user or password")
	case strings.Contains(text, "#"):
		return nil, errors.New("has a fragment")
	case !ValidHost(u):
		return nil, errors.New("names no host, or not a valid one")
	}
	return u, nil
}

// ParseBase is [Parse] for a URL that paths are appended to: it has no query.
func ParseBase(text string) (*url.URL, error) {
	u, err := Parse(text)
	if err == nil && (u.RawQuery != "" || u.ForceQuery) {
		return nil, errors.New("has a query")
	}
	return u, err
}

// Origin returns scheme and host of a URL: for whom the ID tokens of its requests are.
func Origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// ValidHost reports whether u names a host, and a port from 1 to 65535 if it names one. The host is an
// IP address without a zone, or a name as in RFC 1123, with the underscores that private networks use.
// A number that is no IP address is no host: resolvers read 127.1, 2130706433 and 0x7f.1 as addresses,
// each in its own way.
func ValidHost(u *url.URL) bool {
	host, port := u.Hostname(), u.Port()
	if strings.HasSuffix(u.Host, ":") {
		return false
	}
	if n, err := strconv.Atoi(port); port != "" && (err != nil || n < 1 || n > 65535) {
		return false
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Zone() == ""
	}
	return validName(host)
}

// labelLetters are what the labels of a host's name are made of.
const labelLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

func validName(host string) bool {
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	for _, label := range labels {
		ends := strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-")
		if label == "" || ends || strings.Trim(label, labelLetters) != "" {
			return false
		}
	}
	first := labels[len(labels)-1][0]
	return len(host) <= 253 && (first < '0' || first > '9')
}

// IsLoopback reports whether host is this machine for certain: localhost, or a loopback address. host
// has no port and no brackets. It is the check for what is allowed to this machine only. Names below
// localhost do not count, since some resolvers ask DNS for them.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// MayBeLoopback reports whether host is this machine, or may be taken for it: what [IsLoopback]
// reports, names that usually mean this machine, and addresses of no machine in particular. It is the
// check for what must not reach this machine.
func MayBeLoopback(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.WithZone("").Unmap()
		return ip.IsLoopback() || ip.IsUnspecified() || ip.Is4() && ip.As4()[0] == 0
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	return slices.Contains([]string{"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"}, name) ||
		strings.HasSuffix(name, ".localhost")
}

// IsLoopbackHostPort is [IsLoopback] for a host with or without a port, such as a Host header.
func IsLoopbackHostPort(hostport string) bool {
	if host, port, err := net.SplitHostPort(hostport); err == nil {
		_, err := strconv.ParseUint(port, 10, 16)
		return err == nil && IsLoopback(host)
	}
	if inner, ok := strings.CutPrefix(hostport, "["); ok {
		host, closed := strings.CutSuffix(inner, "]")
		return closed && IsLoopback(host)
	}
	return IsLoopback(hostport)
}
