package config

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/casewatch/casewatch/shared/store/drivers"
	"github.com/casewatch/casewatch/shared/weburl"
)

// The errors here never quote an address, because it may hold a password.

func pipelineURL(f field[string]) value {
	return absoluteURL(
		f,
		"an absolute http or https URL without user, query and fragment, such as https://pipeline.example.com",
		false,
	)
}

func functionURL(f field[string]) value {
	return absoluteURL(f, "an absolute https URL (http too off Google Cloud) without user, query and fragment", true)
}

// absoluteURL parses an absolute URL and stores it without slashes at the end.
func absoluteURL(f field[string], expects string, secure bool) value {
	return value{expects: expects, parse: func(c *Config, text string) error {
		u, err := c.address(text, secure)
		if err != nil {
			return err
		}
		*f(c) = strings.TrimRight(u.String(), "/")
		return nil
	}}
}

// address parses an absolute http or https URL. On Google Cloud, secure rejects http.
func (c *Config) address(text string, secure bool) (*url.URL, error) {
	u, err := weburl.ParseBase(text)
	switch {
	case err != nil:
		return nil, err
	case c.OnGoogleCloud && weburl.MayBeLoopback(u.Hostname()):
		return nil, drivers.ErrLoopback
	case c.OnGoogleCloud && secure && u.Scheme != "https":
		return nil, errors.New("is not https, and this runs on Google Cloud")
	}
	return u, nil
}

func storeLocation() value {
	return value{expects: drivers.Expected(), parse: func(c *Config, text string) error {
		driver, location, err := drivers.Parse(text, c.OnGoogleCloud)
		if err != nil {
			return err
		}
		c.Store = Store{Driver: driver, Location: NewSecret(location)}
		return nil
	}}
}

func emulator(f field[string]) value {
	return value{expects: "host:port, or nothing on Google Cloud", parse: func(c *Config, text string) error {
		if c.OnGoogleCloud {
			return errors.New("is set, and this runs on Google Cloud")
		}
		host, port, err := net.SplitHostPort(text)
		if n, perr := strconv.Atoi(port); err != nil || host == "" || perr != nil || n < 1 || n > 65535 {
			return quoted(text)
		}
		*f(c) = text
		return nil
	}}
}
