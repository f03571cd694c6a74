package row

import (
	"bytes"
	"testing"

	"github.com/casewatch/casewatch/shared/store"
)

// FuzzDecode checks that data either is a record that is encoded as the same row again, or gives an
// error. It checks the same for the keys of a head.
func FuzzDecode(f *testing.F) {
	r, err := Encode(first)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.Record)
	f.Add([]byte(`{"key":1,"other":-1}`))
	f.Add([]byte(`{"shape":2,"bookkeeping":{"overdue_at":"10000-01-01T00:00:00Z"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := Decode(data); err == nil {
			r, err := Encode(c)
			if err != nil {
				t.Fatalf("%q cannot be written: %v", data, err)
			}
			again, err := Decode(r.Record)
			if err != nil || again.CaseID != r.CaseID || again.Run != r.Run || again.Version != r.Version ||
				!again.Bookkeeping.OverdueAt.Equal(r.OverdueAt) ||
				again.State.Ended() == r.Open {
				t.Errorf("%q is %+v, %v", data, again, err)
			}
		}
		var h, same store.Head
		if DecodeKeys(data, &h) != nil {
			return
		}
		keys, err := EncodeKeys(h)
		if err != nil || DecodeKeys(keys, &same) != nil || len(same.Keys) != len(h.Keys) {
			t.Errorf("%q is %v, then %q, %v", data, h.Keys, keys, err)
		}
		if other, err := EncodeKeys(same); err != nil || !bytes.Equal(keys, other) {
			t.Errorf("%q is written as %q, then %q, %v", data, keys, other, err)
		}
	})
}
