package testbed

import (
	"strings"
	"testing"
)

func FuzzPcap(f *testing.F) {
	f.Add([]byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\xee\x05\x00\x00\x01\x00\x00\x00" +
		"\x06\x25\x02\x6b\x27\x8a\x04\x00\x02\x00\x00\x00\x02\x00\x00\x00\xab\xcd" + "\x06\x25\x02\x6b\x27\x8a\x04\x00\xff\xff\xff\xff"))
	f.Add([]byte("\x0a\x0d\x0d\x0a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		frames, err := parsePcap(b)
		var n int
		for _, frame := range frames {
			n += 16 + len(frame)
		}
		if n > len(b) || err != nil && frames != nil {
			t.Errorf("%d bytes hold %d frames of %d bytes, error %v", len(b), len(frames), n, err)
		}
	})
}

func FuzzLease(f *testing.F) {
	f.Add("event=bound\nip=10.0.0.7\nmask=24\nrouter=10.0.0.1\nstaticroutes=0.0.0.0/0 10.0.0.1\nlease=600")
	f.Add("ip= ")
	f.Add("event=bound\nip=x\nmask=-1\nstaticroutes=a b c")
	f.Fuzz(func(t *testing.T, s string) {
		e := map[string]string{}
		for line := range strings.Lines(s) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			e[name] = value
		}
		if l, err := parseLease(e); err == nil && !l.Prefix.IsValid() {
			t.Errorf("%q: %+v", s, l)
		}
	})
}
