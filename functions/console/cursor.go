package console

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/cases"
	"github.com/casewatch/casewatch/shared/reconcile"
)

// encodeCursor returns the text that names a place in the list. It is opaque to its readers, and no secret.
func encodeCursor(p reconcile.Place) string {
	text := strings.Join([]string{"1", strconv.FormatInt(p.CreatedAt.UnixMicro(), 10), strconv.Itoa(p.Run), p.CaseID}, "/")
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

var errCursor = errors.New("console: no cursor")

// maxMicros is the last moment of the year 9999, in microseconds: later ones have no text.
const maxMicros = 253402300799999999

// decodeCursor returns the place that a text names. Each place has one text; the error is for any other.
func decodeCursor(text string) (reconcile.Place, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return reconcile.Place{}, errCursor
	}
	parts := strings.Split(string(raw), "/")
	if len(parts) != 4 {
		return reconcile.Place{}, errCursor
	}
	micros, errTime := strconv.ParseInt(parts[1], 10, 64)
	run, errRun := strconv.Atoi(parts[2])
	p := reconcile.Place{CreatedAt: time.UnixMicro(micros).UTC(), CaseID: parts[3], Run: run}
	if errTime != nil || errRun != nil || micros < 0 || micros > maxMicros || run < 1 || !cases.ValidID(p.CaseID) || encodeCursor(p) != text {
		return reconcile.Place{}, errCursor
	}
	return p, nil
}
