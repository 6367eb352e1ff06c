package cli

import (
	"bytes"
	"cmp"
	"io"
	"strings"
)

// columns is how wide the commands' text is. A token that is longer by itself is not broken.
const columns = 100

// fit writes lines, each folded to the width behind a space or comma. The rest is indented further than its line.
type fit struct {
	w     io.Writer
	width int // in columns; 0: columns
	line  bytes.Buffer
}

func (f *fit) Write(b []byte) (int, error) {
	n := len(b)
	for {
		line, rest, ended := bytes.Cut(b, []byte{'\n'})
		f.line.Write(line)
		if !ended {
			return n, nil
		}
		if err := f.flush("\n"); err != nil {
			return 0, err
		}
		b = rest
	}
}

// flush writes the line begun.
func (f *fit) flush(end string) error {
	s, width := f.line.String(), cmp.Or(f.width, columns)
	f.line.Reset()
	indent := s[:len(s)-len(strings.TrimLeft(s, " "))]
	indent = indent[:min(len(indent), width/2)] + "    "
	var out strings.Builder
	for displayed(s) > width {
		at := fold(s, width)
		if at == 0 {
			break
		}
		out.WriteString(strings.TrimRight(s[:at], " "))
		out.WriteByte('\n')
		if s = strings.TrimLeft(s[at:], " "); s != "" {
			s = indent + s
		}
	}
	_, err := io.WriteString(f.w, out.String()+s+end)
	return err
}

// fold is where a line is broken: behind the last space or comma that leaves it short enough, else behind the
// first; 0 if there is none.
func fold(s string, width int) (at int) {
	begun, n := false, 0
	for i, r := range s {
		n += runeWidth(r)
		if r != ' ' && r != ',' {
			begun = true
		} else if begun && i+1 < len(s) {
			if n > width && at > 0 {
				return at
			}
			at = i + 1
		}
	}
	return at
}
