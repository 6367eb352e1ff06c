package openflow

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"iter"
	"strconv"
)

// Instructions is what a flow does with the packets it matches, in wire form
// (OpenFlow 1.5.1 §7.2.5). "" drops them. What Apply and its like make is
// byte for byte what Open vSwitch gives back in a flow dump.
type Instructions string

// Drop is no instruction at all.
const Drop Instructions = ""

// An Instruction is one of ApplyActions, ClearActions, WriteActions, WriteMetadata,
// GotoTable, and RawInstruction for all others.
type Instruction interface {
	// AppendText appends the instruction as ovs-ofctl prints it.
	AppendText(b []byte) []byte
	// rank is the instruction's place among others; Open vSwitch knows one order.
	rank() int
}

// ApplyActions applies actions at once, in order.
type ApplyActions struct{ Actions Actions }

// ClearActions empties the action set.
type ClearActions struct{}

// WriteActions merges actions into the action set.
type WriteActions struct{ Actions Actions }

// WriteMetadata writes the bits of Mask into the metadata field.
type WriteMetadata struct{ Value, Mask uint64 }

// GotoTable goes on in a table of a higher number.
type GotoTable struct{ Table uint8 }

// RawInstruction is an instruction in wire form that this package doesn't interpret.
type RawInstruction string

// Instruction types; their numbers.
const (
	instructionGoto          = 1
	instructionWriteMetadata = 2
	instructionWriteActions  = 3
	instructionApplyActions  = 4
	instructionClearActions  = 5
)

func (ApplyActions) rank() int   { return 1 }
func (ClearActions) rank() int   { return 2 }
func (WriteActions) rank() int   { return 3 }
func (WriteMetadata) rank() int  { return 4 }
func (GotoTable) rank() int      { return 5 }
func (RawInstruction) rank() int { return 0 }

// NewInstructions makes a list. The order must be that of the types above, each at
// most once; an ApplyActions or WriteActions without actions is left out.
func NewInstructions(list ...Instruction) (Instructions, error) {
	var b []byte
	last := 0
	for n, i := range list {
		if r := i.rank(); r != 0 {
			if r <= last {
				return "", fmt.Errorf("instruction %d: %s is out of order or given twice", n+1, i.AppendText(nil))
			}
			last = r
		}
		var err error
		switch i := i.(type) {
		case ApplyActions:
			b, err = appendActionsInstruction(b, instructionApplyActions, i.Actions)
		case ClearActions:
			b = append(b, 0, instructionClearActions, 0, 8, 0, 0, 0, 0)
		case WriteActions:
			b, err = appendActionsInstruction(b, instructionWriteActions, i.Actions)
		case WriteMetadata:
			b = append(b, 0, instructionWriteMetadata, 0, 24, 0, 0, 0, 0)
			b = binary.BigEndian.AppendUint64(b, i.Value)
			b = binary.BigEndian.AppendUint64(b, i.Mask)
		case GotoTable:
			b = appendGoto(b, i.Table)
		case RawInstruction:
			if _, rest, bad := nextTLV("instruction", string(i)); bad != nil || rest != "" {
				err = fmt.Errorf("not one instruction: %x", string(i))
			}
			b = append(b, i...)
		}
		if err != nil {
			return "", fmt.Errorf("instruction %d: %w", n+1, err)
		}
	}
	return Instructions(b), nil
}

// Apply applies the actions; without any it is Drop. It is for actions whose fields
// are fixed in code: it panics where NewActions errs.
func Apply(list ...Action) Instructions {
	var room [512]byte
	return Instructions(mustApply(room[:0], list))
}

// Goto goes on in a table.
func Goto(table uint8) Instructions {
	var room [8]byte
	return Instructions(appendGoto(room[:0], table))
}

// ApplyGoto applies the actions, as Apply does, and goes on in a table.
func ApplyGoto(table uint8, list ...Action) Instructions {
	var room [512]byte
	return Instructions(appendGoto(mustApply(room[:0], list), table))
}

func mustApply(b []byte, list []Action) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(b, 0, instructionApplyActions, 0, 0, 0, 0, 0, 0)
	b, err := appendActions(b, list)
	if err == nil && len(b) > MaxMessage {
		err = fmt.Errorf("actions: %w (%d)", ErrTooLong, len(b))
	}
	if err != nil {
		panic("openflow: " + err.Error())
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

func appendActionsInstruction(b []byte, typ uint8, a Actions) ([]byte, error) {
	n := 8 + len(a)
	switch {
	case a == "":
		return b, nil
	case n > MaxMessage:
		return b, fmt.Errorf("actions: %w (%d)", ErrTooLong, n)
	}
	b = append(b, 0, typ, byte(n>>8), byte(n), 0, 0, 0, 0)
	return append(b, a...), nil
}

func appendGoto(b []byte, table uint8) []byte {
	return append(b, 0, instructionGoto, 0, 8, table, 0, 0, 0)
}

// All yields the instructions in order. Encoding them gives the same bytes, as with
// Actions.All.
func (i Instructions) All() iter.Seq[Instruction] {
	return func(yield func(Instruction) bool) {
		for rest := string(i); rest != ""; {
			wire, tail, err := nextTLV("instruction", rest)
			if err != nil || !yield(parseInstruction(wire)) {
				return
			}
			rest = tail
		}
	}
}

// Applied returns the actions of the apply_actions instruction, "" if there is none.
func (i Instructions) Applied() Actions {
	for instruction := range i.All() {
		if a, ok := instruction.(ApplyActions); ok {
			return a.Actions
		}
	}
	return ""
}

func parseInstruction(wire string) Instruction {
	b := []byte(wire)
	var i Instruction
	switch typ := binary.BigEndian.Uint16(b); {
	case typ == instructionApplyActions && Actions(wire[8:]).check() == nil:
		i = ApplyActions{Actions(wire[8:])}
	case typ == instructionWriteActions && Actions(wire[8:]).check() == nil:
		i = WriteActions{Actions(wire[8:])}
	case typ == instructionClearActions:
		i = ClearActions{}
	case typ == instructionGoto:
		i = GotoTable{b[4]}
	case typ == instructionWriteMetadata && len(b) == 24:
		i = WriteMetadata{binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}
	default:
		return RawInstruction(wire)
	}
	if again, err := NewInstructions(i); err != nil || string(again) != wire {
		return RawInstruction(wire)
	}
	return i
}

// AppendText appends the list as ovs-ofctl prints it, "drop" when empty.
func (i Instructions) AppendText(b []byte) []byte {
	first := true
	for instruction := range i.All() {
		if !first {
			b = append(b, ',')
		}
		b, first = instruction.AppendText(b), false
	}
	if first {
		b = append(b, "drop"...)
	}
	return b
}

// String is the text with "actions=" before it.
func (i Instructions) String() string { return string(i.AppendText([]byte("actions="))) }

// check says whether the list and the action lists in it are well formed.
func (i Instructions) check() error {
	for rest := string(i); rest != ""; {
		wire, tail, err := nextTLV("instruction", rest)
		if err != nil {
			return err
		}
		if typ := wire[1]; wire[0] == 0 && (typ == instructionApplyActions || typ == instructionWriteActions) {
			if err := Actions(wire[8:]).check(); err != nil {
				return fmt.Errorf("instruction of type %d: %w", typ, err)
			}
		}
		rest = tail
	}
	return nil
}

func (i ApplyActions) AppendText(b []byte) []byte { return i.Actions.AppendText(b) }

func (i ClearActions) AppendText(b []byte) []byte { return append(b, "clear_actions"...) }

func (i WriteActions) AppendText(b []byte) []byte {
	return append(i.Actions.AppendText(append(b, "write_actions("...)), ')')
}

func (i WriteMetadata) AppendText(b []byte) []byte {
	b = appendHexNumber(append(b, "write_metadata:"...), i.Value)
	if i.Mask != ^uint64(0) {
		b = appendHexNumber(append(b, '/'), i.Mask)
	}
	return b
}

func (i GotoTable) AppendText(b []byte) []byte {
	return strconv.AppendUint(append(b, "goto_table:"...), uint64(i.Table), 10)
}

func (i RawInstruction) AppendText(b []byte) []byte {
	return append(hex.AppendEncode(append(b, "raw("...), []byte(i)), ')')
}
