package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/printable"
)

// value describes how the text of a setting is parsed into a field of the Config. The error of
// parse continues a sentence that starts with the name of the setting.
type value struct {
	expects      string
	parse        func(c *Config, text string) error
	emptyAllowed bool
	multiline    bool
}

// field returns the field of the Config that a value sets.
type field[T any] func(c *Config) *T

// into stores the parsed text. parse returns false for an invalid text.
func into[T any](f field[T], expects string, parse func(string) (T, bool)) value {
	return value{expects: expects, parse: func(c *Config, text string) error {
		v, ok := parse(text)
		if !ok {
			return quoted(text)
		}
		*f(c) = v
		return nil
	}}
}

// maxQuoted is how much of a value an error quotes, in bytes.
const maxQuoted = 80

// quoted returns an error that quotes the value of a setting, shortened to maxQuoted. The setting
// must not be a secret.
func quoted(text string) error {
	if len(text) > maxQuoted {
		text = printable.Cut(text, maxQuoted) + "…"
	}
	return fmt.Errorf("is %q", text)
}

func duration(f field[time.Duration], min, max time.Duration) value {
	return into(f, fmt.Sprintf("a duration from %s to %s, such as 90s or 1h30m", short(min), short(max)),
		func(text string) (time.Duration, bool) {
			d, err := time.ParseDuration(text)
			return d, err == nil && d >= min && d <= max
		})
}

// short prints a duration without the zeros at its end.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func seconds(f field[time.Duration], max time.Duration) value {
	limit := int(max / time.Second)
	expects := fmt.Sprintf("a whole number of seconds from 1 to %d", limit)
	return into(f, expects, func(text string) (time.Duration, bool) {
		n, err := strconv.Atoi(text)
		return time.Duration(n) * time.Second, err == nil && n >= 1 && n <= limit
	})
}

func integer(f field[int], min, max int) value {
	return into(f, fmt.Sprintf("a whole number from %d to %d", min, max), func(text string) (int, bool) {
		n, err := strconv.Atoi(text)
		return n, err == nil && n >= min && n <= max
	})
}

func number(f field[float64], max float64) value {
	return into(f, fmt.Sprintf("a number above 0, at most %v", max), func(text string) (float64, bool) {
		n, err := strconv.ParseFloat(text, 64)
		return n, err == nil && !math.IsNaN(n) && n > 0 && n <= max
	})
}

func boolean(f field[bool]) value {
	return into(f, "true or false", func(text string) (bool, bool) {
		return text == "true", text == "true" || text == "false"
	})
}

func oneOf[T ~string](f field[T], choices ...T) value {
	names := make([]string, len(choices))
	for i, c := range choices {
		names[i] = string(c)
	}
	return into(f, strings.Join(names, " or "), func(text string) (T, bool) {
		for _, c := range choices {
			if text == string(c) {
				return c, true
			}
		}
		return "", false
	})
}

const expectedTopic = "a topic id of 3 to 255 letters, digits and - _ . ~ + %, " +
	"beginning with a letter and not with goog"

func named(f field[string], is func(string) bool, expects string) value {
	return into(f, expects, func(text string) (string, bool) { return text, is(text) })
}
