// Package casetoken signs and verifies the tokens in the addresses of cases: each is good for one case
// and one purpose, until it expires.
package casetoken

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/config"
)

// Purpose is what a token allows. The purpose is part of the signed text. That also separates these
// tokens from anything else that is signed with the same secret.
type Purpose string

// The purposes.
const (
	ToRead   Purpose = "to read a case"     // in status_url
	ToCancel Purpose = "to cancel a case"   // in cancel_url
	ToReport Purpose = "to report on a run" // in the address that a pipeline reports to
)

const (
	expiryLen = 8
	macLen    = sha256.Size
)

// Tokens signs and verifies tokens of one purpose. A token is valid for one case, for all its runs,
// until it expires.
type Tokens struct {
	purpose Purpose
	secrets []config.Secret
}

// New returns the Tokens of a purpose. The first secret signs; all secrets verify.
func New(purpose Purpose, secrets []config.Secret) Tokens { return Tokens{purpose, secrets} }

// Sign returns a token for a case that is valid until expires. The token is the base64url of the
// Unix time in seconds and of an HMAC-SHA-256.
func (t Tokens) Sign(caseID string, expires time.Time) string {
	raw := binary.BigEndian.AppendUint64(nil, uint64(expires.Unix()))
	return base64.RawURLEncoding.EncodeToString(append(raw, t.mac(t.secrets[0], caseID, raw)...))
}

// Verify reports whether token was signed for the case and is valid at now.
func (t Tokens) Verify(token, caseID string, now time.Time) bool {
	if strings.ContainsAny(token, "\r\n") {
		return false // the decoder ignores them
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) != expiryLen+macLen {
		return false
	}
	expiry, sum := raw[:expiryLen], raw[expiryLen:]
	genuine := false
	for _, secret := range t.secrets {
		genuine = hmac.Equal(sum, t.mac(secret, caseID, expiry)) || genuine
	}
	return genuine && now.Unix() < int64(binary.BigEndian.Uint64(expiry))
}

func (t Tokens) mac(secret config.Secret, caseID string, expiry []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret.Reveal()))
	h.Write([]byte("casewatch token " + string(t.purpose) + "\x00"))
	h.Write(expiry) // The length is fixed, so no two pairs of expiry and case share a text.
	h.Write([]byte(caseID))
	return h.Sum(nil)
}

// Callback returns the address at which the pipeline reports on a run, below the address of the
// function: good for this run and for nothing else, until expires.
func Callback(function string, secrets []config.Secret, caseID string, run int, expires time.Time) string {
	query := url.Values{
		"run":   {strconv.Itoa(run)},
		"token": {New(ToReport, secrets).Sign(ofRun(caseID, run), expires)},
	}
	return function + "/" + url.PathEscape(caseID) + "?" + query.Encode()
}

// VerifyCallback reports whether the token is that of the run's callback address, and is valid at now.
func VerifyCallback(secrets []config.Secret, token, caseID string, run int, now time.Time) bool {
	return New(ToReport, secrets).Verify(token, ofRun(caseID, run), now)
}

// ofRun is what the token of a run is signed for. No case id has a slash.
func ofRun(caseID string, run int) string { return caseID + "/" + strconv.Itoa(run) }
