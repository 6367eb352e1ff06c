package probe

import (
	"bytes"
	"errors"
	"testing"
)

func TestFrame(t *testing.T) {
	s := newSeal()
	for _, p := range []probe{{1, 2, 0}, {0xffffffff, 0xfffffffe, least}, {7, 8, 1514}, {9, 10, most}} {
		b := s.appendFrame([]byte("before"), p)[6:]
		if want := max(int(p.size), least); len(b) != want {
			t.Errorf("%+v: %d bytes, want %d", p, len(b), want)
		}
		if got, err := s.parse(b[:headLen], len(b)); err != nil || got != p {
			t.Errorf("%+v: parsed %+v, %v", p, got, err)
		}
		if _, err := s.parse(b[:headLen], len(b)-1); (err == nil) != (p.size == 0) {
			t.Errorf("%+v, cut short on the way: %v", p, err)
		}
		if _, err := newSeal().parse(b, len(b)); !errors.Is(err, errForged) {
			t.Errorf("%+v of another host: %v", p, err)
		}
		for i := ethernetLen; i < headLen; i++ {
			forged := bytes.Clone(b)
			forged[i] ^= 1
			if _, err := s.parse(forged, len(b)); !errors.Is(err, errForged) {
				t.Errorf("%+v with byte %d changed: %v", p, i, err)
			}
		}
	}
}

// A used buffer's bytes do not leave the controller.
func TestFrameIsClear(t *testing.T) {
	s := newSeal()
	b := s.appendFrame(bytes.Repeat([]byte{0xff}, 4096)[:0], probe{1, 1, 1514})
	if rest := b[headLen:]; !bytes.Equal(rest, make([]byte, len(rest))) {
		t.Errorf("after the head: %x", rest)
	}
}

func FuzzParse(f *testing.F) {
	s := newSeal()
	f.Add([]byte{}, 0)
	f.Add(s.appendFrame(nil, probe{1, 2, 0}), least)
	f.Add(s.appendFrame(nil, probe{3, 4, 100}), 100)
	f.Fuzz(func(t *testing.T, b []byte, length int) {
		p, err := s.parse(b, length)
		if err == nil && !bytes.Equal(s.appendFrame(nil, p)[ethernetLen:headLen], b[ethernetLen:headLen]) {
			t.Errorf("%x is taken for %+v", b, p)
		}
	})
}
