package console

import (
	"strings"
	"sync"
	"testing"
)

var (
	EncodeCursor = encodeCursor
	DecodeCursor = decodeCursor
	DurationWord = durationWord
	AgeWord      = ageWord
	Shown        = shown
	Draw         = draw
)

var parsed = sync.OnceValue(newPages)

// PictureHTML returns a picture as the page of a run has it.
func PictureHTML(t testing.TB, p picture) string {
	t.Helper()
	var out strings.Builder
	if err := parsed().templates["run"].ExecuteTemplate(&out, "picture", p); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
