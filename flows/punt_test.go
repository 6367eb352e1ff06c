package flows

import (
	"bytes"
	"testing"
)

func FuzzParseUserdata(f *testing.F) {
	f.Add([]byte{0, 0, 0, 11, 0, 0, 0, 2})
	f.Add([]byte{})
	f.Add(make([]byte, 9))
	f.Fuzz(func(t *testing.T, b []byte) {
		key, generation, err := ParseUserdata(b)
		if (err == nil) != (len(b) == 8) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if again := AppendUserdata(nil, key, generation); err == nil && !bytes.Equal(again, b) {
			t.Fatalf("%x read and written is %x", b, again)
		}
	})
}

func TestUserdataLayout(t *testing.T) {
	if got, want := AppendUserdata([]byte{9}, 11, 2), []byte{9, 0, 0, 0, 11, 0, 0, 0, 2}; !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}
