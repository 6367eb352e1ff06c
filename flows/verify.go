package flows

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tunbridge/tunbridge/flows/openflow"
)

// loops are the tables that may be entered again from a table with the same or a higher number.
var loops = []struct{ from, to *Table }{
	{Classify, Classify}, // once, without the priority tag; and once behind a tap
	{TunClassify, TunClassify},
	{Output, TapOut},
}

// registerFile is the bits of reg0 to reg15.
type registerFile [16]uint32

// bitsOf is the part of the register file that is a field's bits lo to lo+width-1; ok is false if the
// field is no register.
func bitsOf(f openflow.Field, lo, width int) (bits registerFile, ok bool) {
	first, n := 0, 0 // the registers that the field consists of, the most significant first
	switch {
	case f >= openflow.Reg0 && f <= openflow.Reg15:
		first, n = fieldIndex(f, openflow.Reg0), 1
	case f >= openflow.XReg0 && f <= openflow.XReg7:
		first, n = 2*fieldIndex(f, openflow.XReg0), 2
	case f >= openflow.XXReg0 && f <= openflow.XXReg3:
		first, n = 4*fieldIndex(f, openflow.XXReg0), 4
	default:
		return bits, false
	}
	for i := lo; i < lo+width; i++ {
		bits[first+n-1-i/32] |= 1 << (i % 32)
	}
	return bits, true
}

func fieldIndex(f, first openflow.Field) int { return int(f-first) >> 9 }

func (a registerFile) overlaps(b registerFile) bool {
	for i := range a {
		if a[i]&b[i] != 0 {
			return true
		}
	}
	return false
}

func (a registerFile) without(b registerFile) registerFile {
	for i := range a {
		a[i] &^= b[i]
	}
	return a
}

func (r *Reg) bits() registerFile {
	bits, _ := bitsOf(r.Field, 0, r.Bits)
	return bits
}

// live says whether the field has a meaning in t.
func (r *Reg) live(t *Table) bool {
	return t.Bridge == r.First.Bridge && r.First.Number <= t.Number && t.Number <= r.Last.Number
}

// liveIn is the bits of all register fields that have a meaning in t.
func liveIn(t *Table) (live registerFile) {
	for _, r := range registers {
		if r.live(t) {
			for i, b := range r.bits() {
				live[i] |= b
			}
		}
	}
	return live
}

// Check says what is wrong with the declarations of tables and register fields: numbers or names given
// twice, tables without an owner, live ranges that end before they begin, fields that share a bit
// while both are live.
func Check() error { return check(pipeline, registers) }

func check(tables []*Table, regs []*Reg) error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for i, t := range tables {
		for _, u := range tables[:i] {
			if t.Bridge == u.Bridge && (t.Number == u.Number || t.Name == u.Name) {
				fail("table %s: its number or name is also that of %s", t, u)
			}
		}
		if len(t.Owners) == 0 && !t.Learned {
			fail("table %s: nobody may emit flows into it", t)
		}
	}
	for i, r := range regs {
		if r.First.Bridge != r.Last.Bridge || r.First.Number > r.Last.Number {
			fail("%s: live from %s to %s", r.Name, r.First, r.Last)
			continue
		}
		if _, ok := bitsOf(r.Field, 0, 0); !ok || r.Bits < 1 || r.Bits > r.Field.Width() {
			fail("%s: %d bits of %s are not in a register", r.Name, r.Bits, r.Field)
			continue
		}
		for _, s := range regs[:i] {
			if r.Name == s.Name {
				fail("%s is declared twice", r.Name)
			}
			if r.bits().overlaps(s.bits()) && (r.live(s.First) || s.live(r.First)) {
				fail("%s (%s) and %s (%s) share bits and are both live in a table", r.Name, r.Field, s.Name, s.Field)
			}
		}
	}
	return errors.Join(errs...)
}

// Verify says whether a flow keeps to the pipeline: its owner is one of t's, it matches and touches
// only register fields that are live in t, it goes only to declared tables with a higher number, and
// fields have their prerequisites, those that its actions read and write included.
func Verify(t *Table, f *Flow) error {
	var errs []error
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s priority %d: %w", t, f.Match, f.Priority, fmt.Errorf(format, args...)))
	}
	if err := verify(t, f); err != nil {
		fail("%w", err)
	}
	if f.Table != t.Number {
		fail("the flow says table %d", f.Table)
	}
	if !strings.Contains(f.Reason, " ") { // one word would be the table, or the field
		fail("%q is no reason", f.Reason)
	}
	useIn := func(t *Table, field openflow.Field, lo, width int) {
		if bits, ok := bitsOf(field, lo, width); ok && bits.without(liveIn(t)) != (registerFile{}) {
			fail("%s bits %d to %d are no register field that is live in %s", field, lo, lo+width-1, t)
		}
	}
	use := func(field openflow.Field, lo, width int) { useIn(t, field, lo, width) }
	useMasked := func(v openflow.FieldValue) {
		for i := range v.Field.Width() {
			if half := [2]uint64{v.Mask.Lo, v.Mask.Hi}[i/64]; half>>(i%64)&1 != 0 {
				use(v.Field, i, 1)
			}
		}
	}
	match := slices.Collect(f.Match.Fields())
	for _, v := range match {
		useMasked(v)
	}
	if m, err := openflow.NewMatch(match...); err != nil {
		fail("match: %w", err)
	} else if m != f.Match {
		fail("match is not in canonical form, which is %s", m)
	}
	// exists fails unless the packets that match have the field. Registers and vlan_tci all have.
	exists := func(field openflow.Field) {
		if _, register := bitsOf(field, 0, 0); register || field == openflow.VlanTCI {
			return
		}
		others := slices.DeleteFunc(slices.Clone(match), func(v openflow.FieldValue) bool { return v.Field == field })
		if _, err := openflow.NewMatch(append(others, field.Is(0))...); err != nil {
			fail("action: %w", err)
		}
	}
	to := func(number uint8) {
		u := TableOf(t.Bridge, number)
		if u == nil {
			fail("goes to table %d, which is not declared", number)
		} else if u.Number <= t.Number && !slices.Contains(loops, struct{ from, to *Table }{t, u}) {
			fail("goes back to %s", u)
		}
	}
	for a := range f.Instructions.Applied().All() {
		switch a := a.(type) {
		case openflow.SetField:
			exists(a.Field)
			useMasked(a.FieldValue)
		case openflow.Move:
			exists(a.Src.Field)
			exists(a.Dst.Field)
			use(a.Src.Field, a.Src.Offset, a.Src.Width)
			use(a.Dst.Field, a.Dst.Offset, a.Dst.Width)
		case openflow.OutputReg:
			use(a.Src.Field, a.Src.Offset, a.Src.Width)
		case openflow.Resubmit:
			to(a.Table)
		case openflow.Learn:
			u := TableOf(t.Bridge, a.Table)
			if u == nil || !u.Learned {
				fail("learns into table %d, which is not declared for that", a.Table)
				continue
			}
			for _, s := range a.Specs {
				exists(s.Src.Field)
				use(s.Src.Field, s.Src.Offset, s.Src.Width)
				useIn(u, s.Dst.Field, s.Dst.Offset, s.Dst.Width)
			}
		}
	}
	for i := range f.Instructions.All() {
		if g, ok := i.(openflow.GotoTable); ok {
			to(g.Table)
		}
	}
	return errors.Join(errs...)
}
