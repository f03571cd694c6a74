package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/casewatch/casewatch/shared/weburl"
)

// googleIssuer is the issuer of the ID tokens of Google's service accounts
// (https://accounts.google.com/.well-known/openid-configuration).
const (
	googleHost   = "accounts.google.com"
	googleIssuer = "https://" + googleHost
)

// list parses a comma-separated list and removes duplicates. parse validates an entry; its error
// continues a sentence that starts with the name of the setting.
func list(text string, parse func(entry string) error) ([]string, error) {
	var entries []string
	for entry := range strings.SplitSeq(text, ",") {
		entry = strings.TrimSpace(entry)
		if err := parse(entry); err != nil {
			return nil, fmt.Errorf("has an entry, %.80q, that %w", entry, err)
		}
		if !slices.Contains(entries, entry) {
			entries = append(entries, entry)
		}
	}
	return entries, nil
}

func invokers() value {
	return value{
		expects:      "a comma-separated list of e-mail addresses of service accounts, or nothing",
		emptyAllowed: true,
		parse: func(c *Config, text string) (err error) {
			c.Access.Invokers, err = list(text, func(entry string) error {
				if !email(entry) {
					return errors.New("is no e-mail address")
				}
				return nil
			})
			return err
		},
	}
}

// invokerAudiences keeps each URL exactly as it is written, because tokens are compared with it
// byte by byte.
func invokerAudiences() value {
	expects := "a comma-separated list of absolute https URLs (http too off Google Cloud), " +
		"without user, query and fragment"
	return value{expects: expects, emptyAllowed: true, parse: func(c *Config, text string) (err error) {
		c.Access.InvokerTokens.Audiences, err = list(text, func(entry string) error {
			_, err := c.address(entry, true)
			return err
		})
		return err
	}}
}

func consoleUsers() value {
	return value{
		expects:      "a comma-separated list of e-mail addresses, or nothing",
		emptyAllowed: true,
		parse: func(c *Config, text string) (err error) {
			c.Access.ConsoleUsers, err = list(strings.ToLower(text), func(entry string) error {
				if !email(entry) {
					return errors.New("is no e-mail address")
				}
				return nil
			})
			return err
		},
	}
}

func audiences(f field[[]string]) value {
	return value{
		expects: "a comma-separated list of audiences of visible ASCII characters",
		parse: func(c *Config, text string) (err error) {
			*f(c), err = list(text, func(entry string) error {
				if !visible(entry) {
					return errors.New("is empty or has other characters")
				}
				return nil
			})
			return err
		},
	}
}

// consoleAudiences may be empty, like CONSOLE_USERS.
func consoleAudiences() value {
	v := audiences(func(c *Config) *[]string { return &c.Access.ConsoleAudiences })
	v.emptyAllowed = true
	return v
}

const expectedIssuer = "an https URL (http too on this machine, off Google Cloud) " +
	"without user, query and fragment, as the tokens spell it"

// issuer parses an issuer and keeps it exactly as it is written. A slash at the end is part of its
// name.
func issuer(f field[string]) value {
	return value{expects: expectedIssuer, parse: func(c *Config, text string) error {
		u, err := c.address(text, true)
		if err != nil {
			return err
		}
		if u.Scheme != "https" && !weburl.IsLoopback(u.Hostname()) {
			return errors.New("is not https, so the keys could be replaced in transit")
		}
		*f(c) = text
		return nil
	}}
}

// callerIssuer rejects the issuer of Google's own accounts, because every person with a Google
// account would be a caller.
func callerIssuer() value {
	v := issuer(func(c *Config) *string { return &c.Access.OIDC.Issuer })
	v.expects += ", and not Google's own " + googleIssuer
	parse := v.parse
	v.parse = func(c *Config, text string) error {
		if u, err := url.Parse(text); err == nil &&
			strings.TrimSuffix(strings.ToLower(u.Hostname()), ".") == googleHost {
			return errors.New("is Google's own: every person with a Google account would be a caller; " +
				"Firebase Auth and Identity Platform have issuers for one project")
		}
		return parse(c, text)
	}
	return v
}

// invokerIssuer accepts only Google on Google Cloud. Other issuers serve local tests.
func invokerIssuer() value {
	v := issuer(func(c *Config) *string { return &c.Access.InvokerTokens.Issuer })
	v.expects = googleIssuer + " on Google Cloud, elsewhere " + expectedIssuer
	parse := v.parse
	v.parse = func(c *Config, text string) error {
		if c.OnGoogleCloud && text != googleIssuer {
			return errors.New("is another than Google, and this runs on Google Cloud")
		}
		return parse(c, text)
	}
	return v
}
