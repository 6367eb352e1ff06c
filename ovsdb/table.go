package ovsdb

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// table maps one OVSDB table to a row type R: each field's `ovsdb` tag names
// its column, and its Go type says how the column's value is read.
type table[R any] struct {
	name    string
	columns []string       // to monitor, sorted
	field   map[string]int // column → index of R's field
	uuid    int            // index of the field tagged _uuid
}

var (
	openVSwitchTable = newTable[OpenVSwitch]("Open_vSwitch")
	bridgeTable      = newTable[Bridge]("Bridge")
	portTable        = newTable[Port]("Port")
	interfaceTable   = newTable[Interface]("Interface")
	controllerTable  = newTable[Controller]("Controller")
	managerTable     = newTable[Manager]("Manager")
	flowTableTable   = newTable[FlowTable]("Flow_Table")
)

func newTable[R any](name string) table[R] {
	t := table[R]{name: name, field: make(map[string]int)}
	for i, f := range reflect.VisibleFields(reflect.TypeFor[R]()) {
		column := f.Tag.Get("ovsdb")
		if column == "_uuid" {
			t.uuid = i
			continue
		}
		t.field[column] = i
		t.columns = append(t.columns, column)
	}
	slices.Sort(t.columns)
	return t
}

// apply reads a <table-update2> (ovsdb-server(7)), an object from row UUID to
// {"initial"|"insert"|"modify"|"delete": row}, and returns rows with it
// applied. Neither the map nor a row of it is written to.
func (t *table[R]) apply(c *cursor, rows map[UUID]*R) map[UUID]*R {
	rows = maps.Clone(rows)
	if rows == nil {
		rows = make(map[UUID]*R)
	}
	for ok := c.first('{', '}'); ok; ok = c.next('}') {
		id := c.word()
		c.expect(':')
		if c.err == nil && !isUUID(id) {
			c.fail("%q is not a UUID", id)
		}
		for ok := c.first('{', '}'); ok; ok = c.next('}') {
			t.applyRow(c, rows, id, string(c.key()))
		}
	}
	if c.err != nil {
		c.err = fmt.Errorf("table %s: %w", t.name, c.err)
	}
	return rows
}

func (t *table[R]) applyRow(c *cursor, rows map[UUID]*R, id UUID, change string) {
	old := rows[id]
	row := new(R)
	switch change {
	case "initial", "insert":
		if old != nil {
			c.fail("row %s inserted twice", id)
		}
		reflect.ValueOf(row).Elem().Field(t.uuid).SetString(id)
		t.decode(c, row, false)
	case "modify":
		if old == nil {
			c.fail("row %s modified, but never inserted", id)
			return
		}
		*row = *old
		t.decode(c, row, true)
	case "delete":
		if old == nil {
			c.fail("row %s deleted, but never inserted", id)
		}
		c.raw()
		delete(rows, id)
		return
	default:
		c.fail("unknown change %q of row %s", change, id)
	}
	rows[id] = row
}

// decode reads an object from column to value into row. Columns that R does
// not have are passed over.
func (t *table[R]) decode(c *cursor, row *R, diff bool) {
	v := reflect.ValueOf(row).Elem()
	for ok := c.first('{', '}'); ok; ok = c.next('}') {
		column := c.key()
		i, known := t.field[string(column)]
		if !known {
			c.raw()
			continue
		}
		before := c.err
		decodeColumn(c, v.Field(i).Addr().Interface(), diff)
		if before == nil && c.err != nil {
			c.err = fmt.Errorf("column %s: %w", column, c.err)
		}
	}
}

// decodeColumn reads a <value> (RFC 7047 section 5.1) into the field at dst.
// With diff set a column of many elements holds the difference to the old
// value: a set's elements that came or went; a map's pairs that came, went
// (same value) or changed (other value). A column of at most one element
// always holds the new value.
func decodeColumn(c *cursor, dst any, diff bool) {
	switch dst := dst.(type) {
	case *string:
		*dst, _ = optional(c, (*cursor).atom)
	case *int:
		*dst, _ = optional(c, (*cursor).integer)
	case **int:
		*dst = nil
		if n, ok := optional(c, (*cursor).integer); ok {
			*dst = &n
		}
	case *bool:
		*dst, _ = optional(c, (*cursor).boolean)
	case *[]string:
		*dst = decodeSet(c, (*cursor).atom, *dst, diff)
	case *[]int:
		*dst = decodeSet(c, (*cursor).integer, *dst, diff)
	case *map[string]string:
		*dst = decodeMap(c, (*cursor).atom, *dst, diff)
	case *map[int]string:
		*dst = decodeMap(c, (*cursor).integer, *dst, diff)
	default:
		c.fail("no column has Go type %T", dst)
	}
}

// atom reads a <string> or a <uuid>, ["uuid", string].
func (c *cursor) atom() string {
	if c.peek() != '[' {
		return c.word()
	}
	c.expect('[')
	if tag := c.text(); c.err == nil && string(tag) != "uuid" {
		c.fail("want a UUID, have %q", tag)
	}
	c.expect(',')
	id := c.word()
	c.expect(']')
	if c.err == nil && !isUUID(id) {
		c.fail("%q is not a UUID", id)
	}
	return id
}

// tagged steps into ["tag", … and says true, or leaves c where it was.
func (c *cursor) tagged(tag string) bool {
	if c.peek() != '[' {
		return false
	}
	at := c.i
	c.expect('[')
	if c.peek() == '"' && string(c.text()) == tag {
		c.expect(',')
		return c.err == nil
	}
	if c.err == nil {
		c.i = at
	}
	return false
}

// elements calls each at every element of a <set>: an atom, or ["set", [atom…]].
func elements(c *cursor, each func()) {
	if !c.tagged("set") {
		each()
		return
	}
	for ok := c.first('[', ']'); ok; ok = c.next(']') {
		each()
	}
	c.expect(']')
}

func optional[T any](c *cursor, atom func(*cursor) T) (value T, ok bool) {
	elements(c, func() {
		if ok {
			c.fail("more than one element")
		}
		value, ok = atom(c), true
	})
	return value, ok
}

func decodeSet[T cmp.Ordered](c *cursor, atom func(*cursor) T, old []T, diff bool) []T {
	var set []T
	elements(c, func() { set = append(set, atom(c)) })
	slices.Sort(set)
	set = slices.Compact(set)
	if diff {
		set = symmetricDifference(old, set)
	}
	if len(set) == 0 {
		return nil
	}
	if cap(set) > len(set) {
		set = append(make([]T, 0, len(set)), set...) // append grows by halves; this stays for long
	}
	return set
}

// symmetricDifference merges two sorted sets, leaving out what both have.
func symmetricDifference[T cmp.Ordered](a, b []T) []T {
	out := make([]T, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch order := cmp.Compare(a[0], b[0]); {
		case order < 0:
			out, a = append(out, a[0]), a[1:]
		case order > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			a, b = a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

func decodeMap[K cmp.Ordered](c *cursor, key func(*cursor) K, old map[K]string, diff bool) map[K]string {
	var m map[K]string
	if diff {
		m = maps.Clone(old)
	}
	if m == nil {
		m = make(map[K]string)
	}
	if !c.tagged("map") {
		c.fail("want a map")
		return old
	}
	for ok := c.first('[', ']'); ok; ok = c.next(']') {
		c.expect('[')
		k := key(c)
		c.expect(',')
		v := c.atom()
		c.expect(']')
		if was, there := m[k]; diff && there && was == v {
			delete(m, k)
		} else {
			m[k] = v
		}
	}
	c.expect(']')
	if len(m) == 0 {
		return nil
	}
	return m
}

// isUUID says whether s is a UUID as OVSDB writes them.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch i {
		case 8, 13, 18, 23:
			if s[i] != '-' {
				return false
			}
		default:
			if !isHex(s[i]) {
				return false
			}
		}
	}
	return true
}
