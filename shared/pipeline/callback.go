package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/pipeline/description"
	"github.com/casewatch/casewatch/shared/pipeline/report"
)

// ErrSignature is the error of [Client.ReadCallback] for a body whose signature is missing, wrong
// or too old.
var ErrSignature = errors.New("the signature is not valid")

// Callback is what the pipeline reports by itself.
type Callback struct {
	// Event says that the body is an event of the document pipeline, to be read as one. Nothing
	// else of the Callback is set.
	Event bool
	// JobID is the job that the report names; "" if it names none.
	JobID   string
	Reading cases.Reading
	Message string // of a failure
	Result  *cases.Result
	Dropped cases.Dropped
	// Fetch says that the report tells of success, and that a poll has to fetch the result.
	Fetch bool
}

// ReadCallback reads a report of the pipeline as it reads the answer to a poll. If the description
// says so, it verifies the signature of the body first. The error is [ErrSignature], or says why
// the body cannot be read. It repeats nothing of the body.
func (c *Client) ReadCallback(header http.Header, body []byte) (Callback, error) {
	if c.pipeline.Callback.Verify == description.StandardWebhooks {
		verifier, err := standardwebhooks.NewWebhook(c.pipeline.Callback.Secret.Reveal())
		if err != nil {
			return Callback{}, fmt.Errorf("%w: the secret of this description is not one of Standard Webhooks",
				ErrSignature)
		}
		if err := verifier.Verify(body, header); err != nil {
			return Callback{}, ErrSignature
		}
	}
	if c.documents() {
		return Callback{Event: true}, nil
	}
	base, err := url.Parse(c.base + "/")
	if err != nil {
		return Callback{}, err
	}
	a := answer{body: report.Text(body), request: base, host: c.host, now: c.config.Now(), secrets: c.secrets()}
	if !json.Valid(a.body) {
		return Callback{}, errors.New("the body is no JSON")
	}
	s := c.read(a)
	if s.jobErr != nil {
		return Callback{}, s.jobErr
	}
	out := c.outcome(a, s)
	if out.Kind != cases.CheckReading {
		return Callback{}, errors.New("the body says nothing of how far the job is")
	}
	return Callback{
		JobID: s.jobID, Reading: out.Reading, Message: out.Message, Result: out.Result, Dropped: out.Dropped,
		Fetch: s.Status == cases.StatusSucceeded && c.fetches(a),
	}, nil
}

// secrets returns what is removed from a report of the pipeline.
func (c *Client) secrets() []string {
	if value := c.pipeline.Auth.Value.Reveal(); value != "" {
		return secretsIn(value)
	}
	return nil
}
