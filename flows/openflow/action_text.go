package openflow

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// parseInstructionsText reads what Instructions.AppendText appended, and ovs-ofctl's other spellings of the same
// actions. Tokens that it does not know are returned, and left out.
func parseInstructionsText(text string) (i Instructions, unknown []string) {
	var applied []Action
	var further []Instruction
	for _, token := range tokens(text, ",") {
		if instruction, ok := parseInstructionText(token); ok {
			further = append(further, instruction)
		} else if a, err := parseActionText(token); err == nil {
			applied = append(applied, a...)
		} else {
			unknown = append(unknown, token)
		}
	}
	list := further
	if len(applied) > 0 {
		actions, err := NewActions(applied...)
		if err != nil {
			return "", append(unknown, text)
		}
		list = append([]Instruction{ApplyActions{actions}}, further...)
	}
	i, err := NewInstructions(list...)
	if err != nil {
		return "", append(unknown, text)
	}
	return i, unknown
}

// parseInstructionText reads the instructions that are no list of actions to apply.
func parseInstructionText(token string) (Instruction, bool) {
	name, arg, _ := strings.Cut(token, ":")
	switch name {
	case "clear_actions":
		return ClearActions{}, true
	case "write_metadata":
		value, mask, masked := strings.Cut(arg, "/")
		v, err := strconv.ParseUint(value, 0, 64)
		m := uint64(math.MaxUint64)
		if masked && err == nil {
			m, err = strconv.ParseUint(mask, 0, 64)
		}
		return WriteMetadata{v, m}, err == nil
	case "goto_table":
		n, err := strconv.ParseUint(arg, 10, 8)
		return GotoTable{uint8(n)}, err == nil
	}
	if inner, ok := argument(token, "write_actions"); ok {
		actions, err := parseActionsText(inner)
		return WriteActions{actions}, err == nil
	}
	return nil, false
}

// argument is what stands in the brackets of "name(…)".
func argument(token, name string) (string, bool) {
	inner, ok := strings.CutPrefix(token, name+"(")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(inner, ")")
}

func parseActionsText(text string) (Actions, error) {
	var list []Action
	for _, token := range tokens(text, ",") {
		a, err := parseActionText(token)
		if err != nil {
			return "", err
		}
		list = append(list, a...)
	}
	return NewActions(list...)
}

// parseActionText reads what an action's AppendText appended: mostly one action, none for "drop".
func parseActionText(token string) ([]Action, error) {
	switch token {
	case "drop":
		return nil, nil
	case "pop_vlan", "strip_vlan":
		return []Action{PopVLAN{}}, nil
	case "dec_ttl":
		return []Action{DecTTL{}}, nil
	}
	a, err := parseNamedAction(token)
	if err == nil {
		err = checkAction(a)
	}
	return []Action{a}, err
}

func parseNamedAction(token string) (Action, error) {
	if p, ok := parsePort(token); ok {
		return Output{Port: p}, nil
	}
	for name, parse := range map[string]func(string) (Action, error){
		"resubmit": parseResubmit, "controller": parseController, "learn": parseLearn,
		"clone": func(s string) (Action, error) {
			actions, err := parseActionsText(s)
			return Clone{actions}, err
		},
	} {
		if inner, ok := argument(token, name); ok {
			return parse(inner)
		}
	}
	name, arg, _ := strings.Cut(token, ":")
	number := func(bits int) (uint64, error) { return strconv.ParseUint(arg, 0, bits) }
	switch name {
	case "output":
		if p, ok := parsePort(arg); ok {
			return Output{Port: p}, nil
		}
		s, err := parseSubfield(arg)
		return OutputReg{Src: s}, err
	case "CONTROLLER":
		n, err := number(16)
		return Output{PortController, uint16(n)}, err
	case "group":
		n, err := number(32)
		return Group{uint32(n)}, err
	case "meter":
		n, err := number(32)
		return Meter{uint32(n)}, err
	case "set_queue":
		n, err := number(32)
		return SetQueue{uint32(n)}, err
	case "push_vlan":
		n, err := number(16)
		return PushVLAN{uint16(n)}, err
	case "resubmit":
		return parseResubmit(arg + ",")
	case "mod_dl_src": // as OpenFlow 1.0 has it
		m, err := ParseMAC(arg)
		return SetField{EthSrc.MAC(m)}, err
	case "mod_dl_dst":
		m, err := ParseMAC(arg)
		return SetField{EthDst.MAC(m)}, err
	case "note":
		data, err := hex.DecodeString(strings.ReplaceAll(arg, ".", ""))
		return Note{data}, err
	}
	src, dst, arrow := strings.Cut(arg, "->")
	if !arrow {
		return nil, fmt.Errorf("%q: not known", token)
	}
	switch name {
	case "set_field":
		info := fieldNames[dst]
		if info == nil {
			return nil, fmt.Errorf("%q: unknown field", dst)
		}
		v, err := parseValue(info.field, src)
		return SetField{v}, err
	case "move":
		from, err := parseSubfield(src)
		if err != nil {
			return nil, err
		}
		to, err := parseSubfield(dst)
		return Move{from, to}, err
	case "load":
		to, err := parseSubfield(dst)
		if err != nil {
			return nil, err
		}
		v, err := strconv.ParseUint(src, 0, 64)
		return Load(v, to), err
	}
	return nil, fmt.Errorf("%q: not known", token)
}

// parseSubfield reads "NXM_NX_REG6[0..11]", and names as in ovs-fields(7). The bits are checked.
func parseSubfield(s string) (sub Subfield, err error) {
	name, bits, _ := strings.Cut(s, "[")
	info := nxmNames[name]
	if info == nil {
		info = fieldNames[name]
	}
	bits, ok := strings.CutSuffix(bits, "]")
	if !ok || info == nil {
		return sub, fmt.Errorf("%q is no part of a field", s)
	}
	if bits == "" {
		return info.field.All(), nil
	}
	first, last, isRange := strings.Cut(bits, "..")
	if !isRange {
		last = first
	}
	lo, err := strconv.ParseUint(first, 10, 16)
	if err != nil {
		return sub, err
	}
	hi, err := strconv.ParseUint(last, 10, 16)
	if err != nil {
		return sub, err
	}
	sub = info.field.Bits(int(lo), int(hi))
	return sub, sub.check()
}

// parseResubmit reads the argument of resubmit: a port, a table, or both.
func parseResubmit(s string) (Action, error) {
	port, table, _ := strings.Cut(s, ",")
	a := Resubmit{Table: TableAll}
	if port != "" {
		p, ok := parsePort(port)
		if !ok {
			return nil, fmt.Errorf("%q is no port", port)
		}
		a.Port = p
	}
	if table != "" {
		n, err := strconv.ParseUint(table, 10, 8)
		if err != nil {
			return nil, err
		}
		a.Table = uint8(n)
	}
	return a, nil
}

func parseController(s string) (Action, error) {
	var a Controller
	for _, token := range tokens(s, ",") {
		name, value, _ := strings.Cut(token, "=")
		var n uint64
		var err error
		switch name {
		case "max_len":
			n, err = strconv.ParseUint(value, 10, 16)
			a.MaxLen = uint16(n)
		case "id":
			n, err = strconv.ParseUint(value, 10, 16)
			a.ControllerID = uint16(n)
		case "reason":
			err = fmt.Errorf("%q is no reason", value)
			for i, reason := range reasonNames {
				if reason == value {
					a.Reason, err = Reason(i), nil
				}
			}
		case "userdata":
			a.UserData, err = hex.DecodeString(strings.ReplaceAll(value, ".", ""))
		case "pause":
			a.Pause = true
		case "meter_id":
			n, err = strconv.ParseUint(value, 10, 32)
			a.MeterID = uint32(n)
		default:
			err = fmt.Errorf("%q: not known", token)
		}
		if err != nil {
			return nil, fmt.Errorf("controller: %w", err)
		}
	}
	return a, nil
}

func parseLearn(s string) (Action, error) {
	a := Learn{Priority: defaultPriority}
	for _, token := range tokens(s, ",") {
		name, value, _ := strings.Cut(token, "=")
		var n uint64
		var err error
		switch name {
		case "table":
			n, err = strconv.ParseUint(value, 10, 8)
			a.Table = uint8(n)
		case "idle_timeout":
			n, err = strconv.ParseUint(value, 10, 16)
			a.IdleTimeout = uint16(n)
		case "hard_timeout":
			n, err = strconv.ParseUint(value, 10, 16)
			a.HardTimeout = uint16(n)
		case "priority":
			n, err = strconv.ParseUint(value, 10, 16)
			a.Priority = uint16(n)
		case "cookie":
			a.Cookie, err = strconv.ParseUint(value, 0, 64)
		case "limit":
			n, err = strconv.ParseUint(value, 10, 32)
			a.Limit = uint32(n)
		case "delete_learned":
			a.DeleteLearned = true
		default:
			var spec LearnSpec
			spec, err = parseLearnSpec(token)
			a.Specs = append(a.Specs, spec)
		}
		if err != nil {
			return nil, fmt.Errorf("learn: %w", err)
		}
	}
	return a, nil
}

func parseLearnSpec(token string) (s LearnSpec, err error) {
	dst, src, differ := strings.Cut(token, "=")
	if load, ok := strings.CutPrefix(token, "load:"); ok {
		s.Kind = LearnLoad
		src, dst, differ = strings.Cut(load, "->")
	}
	if s.Dst, err = parseSubfield(dst); err != nil {
		return s, err
	}
	if s.Src = s.Dst; differ {
		s.Src, err = parseSubfield(src)
	}
	return s, err
}
