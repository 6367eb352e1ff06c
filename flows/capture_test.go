package flows

import (
	"testing"
	"time"
)

func TestCapturedUserdata(t *testing.T) {
	b := AppendCaptured(nil, ToTunnel, 11, 1<<31)
	point, key, generation, err := ParseCaptured(b)
	if point != ToTunnel || key != 11 || generation != 1<<31 || err != nil || !IsCaptured(b) {
		t.Errorf("%x: %d %d %d, %v", b, point, key, generation, err)
	}
	if IsCaptured(AppendUserdata(nil, 11, 1)) {
		t.Error("a punt's userdata is taken for a copy's")
	}
}

func FuzzCaptured(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(AppendCaptured(nil, FromVIF, 1, 2))
	f.Add(AppendUserdata(nil, 1, 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		if point, key, generation, err := ParseCaptured(b); err == nil && string(AppendCaptured(nil, point, key, generation)) != string(b) {
			t.Errorf("%x is read as %d %d %d", b, point, key, generation)
		}
	})
}

// The switch keeps a flow with an end a little longer than the controller, and no shorter than a second.
func TestFlowTimeout(t *testing.T) {
	for _, c := range []struct {
		left        time.Duration
		least, most uint16
	}{{time.Minute, 60, 65}, {-time.Minute, 1, 1}, {100 * time.Hour, 65535, 65535}} {
		if got := (&Flow{Until: time.Now().Add(c.left)}).timeout(); got < c.least || got > c.most {
			t.Errorf("%s before its end a flow has a timeout of %d s", c.left, got)
		}
	}
	if got := (&Flow{}).timeout(); got != 0 {
		t.Errorf("a flow without an end has a timeout of %d s", got)
	}
}
