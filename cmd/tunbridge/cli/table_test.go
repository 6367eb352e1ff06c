package cli

import (
	"reflect"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

const someID = "4f6e0a3b-1c2d-4e5f-8a9b-0c1d2e3f4a5b"

// However long names are, lines fit, columns stand below their headings, and IDs are whole.
func TestTable(t *testing.T) {
	long := strings.Repeat("n", 255)
	for _, width := range []int{60, 80, 100} {
		for _, right := range []bool{false, true} {
			table := newTable("NAME", "ID", "STATE", "NETWORK", "NOTE")
			table.right = right
			table.row(long, someID, "ok", strings.Repeat("網", 200), "-")
			table.row("short", someID, "connecting", long, "-")
			table.row("ǘ", "", "ok", "", "")
			var out strings.Builder
			if err := table.write(&out, width); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if len(lines) != 4 || strings.Count(out.String(), someID) != 2 {
				t.Fatalf("%d columns:\n%s", width, out.String())
			}
			at := func(line, word string) int { return displayed(line[:strings.Index(line, word)]) }
			for _, line := range lines {
				if displayed(line) > max(width, 85) { // what cannot be cut is as wide
					t.Errorf("%d columns of %d: %s", displayed(line), width, line)
				}
			}
			if !right && (at(lines[1], someID) != at(lines[0], "ID") || at(lines[2], someID) != at(lines[0], "ID") || at(lines[1], "ok") != at(lines[0], "STATE") || at(lines[3], "ok") != at(lines[0], "STATE")) {
				t.Errorf("columns are not below each other:\n%s", out.String())
			}
		}
	}
}

func TestClip(t *testing.T) {
	for in, want := range map[string]string{"": "", "exact": "exact", "longer": "long…", "網路網路": "網路…", "e\u0301e\u0301e\u0301e\u0301e\u0301": "e\u0301e\u0301e\u0301e\u0301e\u0301"} {
		if got := clip(in, 5); got != want {
			t.Errorf("%q is cut to %q", in, got)
		}
	}
}

// Nothing of a name reaches a terminal but letters, in whichever part of an answer it is, and it cannot make a line.
func TestClean(t *testing.T) {
	const name = "a\x1b[2Jb\nc\u202ed\u009be\tü\xff"
	hosts := []inspect.Host{{Hostname: name, LastError: "one\ntwo\x07", OpenFlow: map[string]string{"br-int": name}, OVSDB: &inspect.Session{Version: name},
		VIFs: []inspect.VIF{{Interface: name}}, Activity: nil}}
	frame := &inspect.Frame{Port: name, Bytes: []byte{0x1b}}
	cleanAll(reflect.ValueOf(&hosts), "")
	cleanAll(reflect.ValueOf(frame), "")
	const want = `a\x1b[2Jb\nc\u202ed\u009be\x09ü` + "\ufffd"
	h := hosts[0]
	for _, got := range []string{h.Hostname, h.OpenFlow["br-int"], h.OVSDB.Version, h.VIFs[0].Interface, frame.Port} {
		if got != want {
			t.Errorf("cleaned: %q", got)
		}
	}
	if h.LastError != "one\ntwo\\x07" || frame.Bytes[0] != 0x1b {
		t.Errorf("lines are %q, bytes %x", h.LastError, frame.Bytes)
	}
	if got := Clean("a\nb\x1b"); got != "a\nb\\x1b" {
		t.Errorf("an error is %q", got)
	}
}
