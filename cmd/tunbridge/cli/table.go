package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/google/uuid"
)

// table is lines of cells, each column as wide as its widest cell. Where the lines would be wider than they may be,
// the widest columns are cut, but for those of IDs and for the last, which is prose.
type table struct {
	rows  [][]string
	right bool // cells stand at the right of their columns, but for the first
}

func newTable(headings ...string) *table { return &table{rows: [][]string{headings}} }

// row adds a line of as many cells as there are headings.
func (t *table) row(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	t.rows = append(t.rows, row)
}

const (
	columnGap   = 2
	leastColumn = 8 // what is left of a column that is cut
)

// write prints the lines, which are to be of at most width columns.
func (t *table) write(w io.Writer, width int) error {
	n := len(t.rows[0])
	widths, cut := make([]int, n), make([]bool, n)
	total := (n - 1) * columnGap
	for i := range n {
		ids := false
		for _, row := range t.rows {
			widths[i] = max(widths[i], displayed(row[i]))
			_, err := uuid.Parse(row[i])
			ids = ids || err == nil
		}
		prose := i == n-1 && !t.right
		cut[i] = !ids && !prose
		if prose && !ids { // it is folded, and is to have some room, not all
			total += min(widths[i], width/4)
		} else {
			total += widths[i]
		}
	}
	for ; total > width; total-- {
		widest := -1
		for i := range n {
			if cut[i] && widths[i] > leastColumn && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	for _, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			if cut[i] {
				cell = clip(cell, widths[i])
			}
			if i == n-1 && !t.right {
				line.WriteString(cell)
				break
			}
			pad := strings.Repeat(" ", max(0, widths[i]-displayed(cell)))
			if t.right && i > 0 {
				line.WriteString(pad + cell)
			} else {
				line.WriteString(cell + pad)
			}
			line.WriteString(strings.Repeat(" ", columnGap))
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// clip cuts a text that is wider than so many columns.
func clip(s string, width int) string {
	if displayed(s) <= width {
		return s
	}
	n := 0
	for i, r := range s {
		if n += runeWidth(r); n > width-1 {
			return s[:i] + "…"
		}
	}
	return s
}

// displayed is how many columns a terminal gives to a text.
func displayed(s string) (n int) {
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// wide are the letters that take two columns, as terminals have it: East Asian Width W and F (Unicode annex 11),
// in whole blocks.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{{Lo: 0x1100, Hi: 0x115f, Stride: 1}, {Lo: 0x2e80, Hi: 0x303e, Stride: 1}, {Lo: 0x3041, Hi: 0xa4cf, Stride: 1}, {Lo: 0xac00, Hi: 0xd7a3, Stride: 1},
		{Lo: 0xf900, Hi: 0xfaff, Stride: 1}, {Lo: 0xfe30, Hi: 0xfe6f, Stride: 1}, {Lo: 0xff00, Hi: 0xff60, Stride: 1}, {Lo: 0xffe0, Hi: 0xffe6, Stride: 1}},
	R32: []unicode.Range32{{Lo: 0x1f300, Hi: 0x1f64f, Stride: 1}, {Lo: 0x1f680, Hi: 0x1f6ff, Stride: 1}, {Lo: 0x1f900, Hi: 0x1faff, Stride: 1}, {Lo: 0x20000, Hi: 0x3fffd, Stride: 1}},
}

func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case unicode.Is(wide, r):
		return 2
	}
	return 1
}
