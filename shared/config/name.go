package config

import "strings"

// What names are made of, in ASCII. They are read byte by byte: compiling regular expressions for
// them took a fifth of what all packages of a function take to start, whether it had use for them
// or not.
const (
	lower   = "abcdefghijklmnopqrstuvwxyz"
	upper   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
	letters = lower + upper
)

// made reports whether text has from least to most bytes, the first of them among first, the last
// among last, and those between among middle. least is at least 1.
func made(text string, least, most int, first, middle, last string) bool {
	n := len(text)
	if n < least || n > most || !strings.Contains(first, text[:1]) || n > 1 && !strings.Contains(last, text[n-1:]) {
		return false
	}
	return n < 3 || of(text[1:n-1], middle)
}

// of reports whether every byte of text is among these.
func of(text, these string) bool { return strings.Trim(text, these) == "" }

// projectID reports whether text is a project's id, with the domain of a domain-scoped project, if
// it has one. Shorter ids than Google hands out serve emulators.
func projectID(text string) bool {
	domain, id, scoped := strings.Cut(text, ":")
	if !scoped {
		domain, id = ".", text
	}
	return domain != "" && of(domain, lower+digits+".-") && made(id, 1, 63, lower, lower+digits+"-", lower+digits)
}

func locationID(text string) bool {
	return made(text, 2, 63, lower, lower+digits+"-", lower+digits)
}

// queueID reports whether text is a queue's id. Google allows 100 bytes; four are left for the
// number of a shard.
func queueID(text string) bool {
	const these = letters + digits + "-"
	return made(text, 1, 96, these, these, these)
}

// topicID: https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names
func topicID(text string) bool {
	const these = letters + digits + "._~+%-"
	return made(text, 3, 255, letters, these, these) && !strings.HasPrefix(text, "goog")
}

func email(text string) bool {
	name, host, _ := strings.Cut(text, "@")
	if name == "" || !of(name, letters+digits+"._%+-") || !strings.Contains(host, ".") {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || !of(label, letters+digits+"-") {
			return false
		}
	}
	return true
}
