package cli

import (
	"strings"
	"testing"
)

// Lines are folded to the width, nothing of them is lost, and what continues one is indented further.
func TestFit(t *testing.T) {
	long := strings.Repeat("x", 2*columns)
	for name, in := range map[string]string{
		"short":        "a line\n\n  another\n",
		"words":        "  " + strings.Repeat("words and ", 40) + "\nnext\n",
		"commas":       strings.Repeat("field=1,", 50) + "\n",
		"one token":    long + "\n",
		"token last":   "see " + long + "\n",
		"token first":  long + " is too long\n",
		"letters":      strings.Repeat("größer ", 40) + "\n",
		"wide":         strings.Repeat("網路 ", 40) + "\n",
		"no end":       strings.Repeat("word ", 30) + "end",
		"deep":         strings.Repeat(" ", 3*columns) + "deep " + strings.Repeat("word ", 30) + "\n",
		"only spaces":  strings.Repeat(" ", 3*columns) + "\n",
		"exactly full": strings.Repeat("x", columns) + " y\n",
	} {
		var out strings.Builder
		w := &fit{w: &out}
		for _, part := range []string{in[:len(in)/2], in[len(in)/2:]} {
			if _, err := w.Write([]byte(part)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.flush(""); err != nil {
			t.Fatal(err)
		}
		got := out.String()
		if a, b := strings.Join(strings.Fields(strings.ReplaceAll(got, ",", ", ")), " "), strings.Join(strings.Fields(strings.ReplaceAll(in, ",", ", ")), " "); a != b {
			t.Errorf("%s: is now\n%s", name, got)
		}
		for line := range strings.Lines(got) {
			line = strings.TrimSuffix(line, "\n")
			if displayed(line) > columns && strings.ContainsAny(strings.TrimSpace(line), " ,") {
				t.Errorf("%s: a line of %d columns: %q", name, displayed(line), line)
			}
		}
	}
}
