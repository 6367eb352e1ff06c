package openflow

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FlowText is a flow read from a line of "ovs-ofctl dump-flows". What this package does not know (ct,
// conjunction, the names of ports …) is kept as it stands.
type FlowText struct {
	FlowStats
	TableName   string   // the table, where the line has its name and no number
	MatchText   string   // the match as it stands
	ActionsText string   // the actions as they stand
	Unknown     []string // tokens that Match and Instructions lack, in the order of the line
}

// ParseFlows reads what ovs-ofctl dump-flows prints, in any version of OpenFlow: a flow a line, and headings of
// replies, which are skipped like empty lines. The error names the first line that is neither.
func ParseFlows(text string) ([]FlowText, error) {
	var list []FlowText
	n := 0
	for line := range strings.Lines(text) {
		n++
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "NXST_FLOW ") || strings.HasPrefix(line, "OFPST_FLOW ") {
			continue
		}
		f, err := ParseFlowText(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		list = append(list, f)
	}
	return list, nil
}

// ParseFlowText reads one line.
func ParseFlowText(line string) (FlowText, error) {
	head, actions, ok := strings.Cut(line, "actions=")
	if !ok {
		return FlowText{}, fmt.Errorf("%q is no flow: it has no actions=", line)
	}
	f := FlowText{ActionsText: strings.TrimSpace(actions)}
	f.Priority, f.Idle, f.Packets, f.Bytes = defaultPriority, -1, math.MaxUint64, math.MaxUint64
	var match []string
	for _, token := range tokens(head, ", ") {
		if ok, err := f.header(token); err != nil {
			return f, fmt.Errorf("%q: %w", token, err)
		} else if !ok {
			match = append(match, token)
		}
	}
	f.MatchText = strings.Join(match, ",")
	f.Match, f.Unknown = parseMatchText(match)
	instructions, unknown := parseInstructionsText(f.ActionsText)
	f.Instructions, f.Unknown = instructions, append(f.Unknown, unknown...)
	return f, nil
}

// tokens splits at any of the characters of separators outside of brackets and quotes; empty tokens are left out.
func tokens(s, separators string) (list []string) {
	depth, start, quoted := 0, 0, false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '(' || c == '{':
			depth++
		case c == ')' || c == '}':
			depth--
		case depth <= 0 && strings.IndexByte(separators, c) >= 0:
			if i > start {
				list = append(list, s[start:i])
			}
			start = i + 1
		}
	}
	if start < len(s) {
		list = append(list, s[start:])
	}
	return list
}

// header reads what a line says of a flow beside match and actions. It is false if the token is no such thing.
func (f *FlowText) header(token string) (bool, error) {
	name, value, _ := strings.Cut(token, "=")
	var err error
	number := func(bits int) (n uint64) {
		n, err = strconv.ParseUint(value, 0, bits)
		return n
	}
	count := func() uint64 {
		if value == "?" {
			return math.MaxUint64
		}
		return number(64)
	}
	switch name {
	case "cookie":
		f.Cookie = number(64)
	case "duration":
		f.Duration, err = time.ParseDuration(value)
	case "table":
		n, bad := strconv.ParseUint(value, 10, 8)
		if f.Table = uint8(n); bad != nil {
			f.TableName = strings.Trim(value, `"`)
		}
	case "n_packets":
		f.Packets = count()
	case "n_bytes":
		f.Bytes = count()
	case "idle_timeout":
		f.IdleTimeout = uint16(number(16))
	case "hard_timeout":
		f.HardTimeout = uint16(number(16))
	case "importance":
		f.Importance = uint16(number(16))
	case "idle_age":
		f.Idle = time.Duration(number(32)) * time.Second
	case "hard_age": // since it was last changed: not kept
		number(32)
	case "priority":
		f.Priority = uint16(number(16))
	default:
		for i, flag := range flowFlagNames {
			if token == flag {
				f.Flags |= 1 << i
				return true, nil
			}
		}
		return false, nil
	}
	return true, err
}

// words are the tokens that stand for prerequisites.
var words = map[string][]FieldValue{
	"ip": IPv4(), "ipv6": IPv6(), "arp": ARP(), "rarp": RARP(), "icmp": ICMP(), "icmp6": ICMP6(), "tcp": TCP(), "tcp6": TCP6(), "udp": UDP(), "udp6": UDP6(),
	"sctp": transport(EthTypeIPv4, IPProtoSCTP), "sctp6": transport(EthTypeIPv6, IPProtoSCTP), "mpls": {EthType.Is(0x8847)}, "mplsm": {EthType.Is(0x8848)},
}

// fieldNames finds a field by each of its names. Those in a match stand for several: tp_src, icmp_type.
var fieldNames, nxmNames, matchNames = func() (names, nxms map[string]*fieldInfo, matches map[string][]*fieldInfo) {
	names, nxms, matches = map[string]*fieldInfo{}, map[string]*fieldInfo{}, map[string][]*fieldInfo{}
	for i := range fieldTable {
		info := &fieldTable[i]
		names[info.name], nxms[info.nxm] = info, info
		matches[info.match] = append(matches[info.match], info)
	}
	return names, nxms, matches
}()

// parseMatchText reads the tokens of a match. Those that it does not know, or that make no match with the others,
// are returned.
func parseMatchText(list []string) (m Match, unknown []string) {
	var values []FieldValue
	kind := anyPacket
	add := func(v FieldValue) {
		values = append(values, v)
		kind.add(v)
	}
	for _, token := range list { // what the names of others depend on
		for _, v := range words[token] {
			add(v)
		}
		if number, ok := strings.CutPrefix(token, "nw_proto="); ok {
			if v, err := parseValue(IPProto, number); err == nil {
				kind.add(v)
			}
		}
	}
	isVLAN := func(token string) bool { return strings.HasPrefix(token, "dl_vlan=") }
	for _, token := range list {
		if words[token] != nil {
			continue
		}
		name, text, _ := strings.Cut(token, "=")
		if name == "dl_vlan_pcp" {
			if !slices.ContainsFunc(list, isVLAN) {
				add(VlanVID.Masked(VIDPresent, VIDPresent))
			}
			kind.tagged = true
		}
		v, err := parseMatchField(kind, name, text)
		if err != nil {
			unknown = append(unknown, token)
			continue
		}
		add(v)
	}
	m, err := NewMatch(values...)
	if err != nil {
		return "", list
	}
	return m, unknown
}

// parseMatchField reads what matchPrinter printed.
func parseMatchField(kind packet, name, text string) (v FieldValue, err error) {
	switch name {
	case "dl_vlan":
		n, err := strconv.ParseUint(text, 0, 12)
		return VlanVID.Is(VIDPresent | n), err
	case "nw_tos":
		n, err := strconv.ParseUint(text, 0, 8)
		return IPDSCP.Is(n >> 2), err
	case "nw_frag", "ip_frag":
		for _, v := range []FieldValue{IPFrag.Is(0), IPFrag.Is(1), IPFrag.Is(3), IPFrag.Masked(1, 1), IPFrag.Masked(0, 1), IPFrag.Masked(0, 2), IPFrag.Masked(2, 2)} {
			if fragmentName(v) == text {
				return v, nil
			}
		}
		return v, fmt.Errorf("%q is no fragment", text)
	case "tcp_flags":
		return parseFlags(TCPFlags, tcpFlagNames[:], text)
	case "ct_state":
		return parseFlags(CtState, ctStateNames[:], text)
	case "tun_flags":
		return parseFlags(TunFlags, tunnelFlagNames[:], text)
	case "packet_type":
		var namespace, typ uint32
		if _, err := fmt.Sscanf(text, "(%d,%v)", &namespace, &typ); err != nil || typ > math.MaxUint16 || namespace > math.MaxUint16 {
			return v, fmt.Errorf("%q is no packet type", text)
		}
		return PacketType.Is(uint64(namespace)<<16 | uint64(typ)), nil
	case "in_port", "actset_output":
		p, ok := parsePort(text)
		if !ok {
			return v, fmt.Errorf("%q is no port", text)
		}
		return matchNames[name][0].field.Is(uint64(p)), nil
	}
	for _, info := range matchNames[name] {
		if kind.has(info.requires) {
			return parseValue(info.field, text)
		}
	}
	return v, fmt.Errorf("%q is no field of the packets", name)
}

// parseValue reads what FieldValue.AppendText appended, and numbers in either base.
func parseValue(f Field, text string) (v FieldValue, err error) {
	info := f.info()
	if info.format == tunnelFlags {
		return parseFlags(f, tunnelFlagNames[:], text)
	}
	one := parseUint128
	switch info.format {
	case ethernet:
		one = func(s string) (Uint128, error) {
			m, err := ParseMAC(s)
			return Uint128{Lo: m.uint()}, err
		}
	case ipv4, ipv6:
		one = func(s string) (Uint128, error) {
			a, err := netip.ParseAddr(s)
			if err == nil && a.BitLen() != f.Width() {
				err = fmt.Errorf("%s: not %d bits", s, f.Width())
			}
			return bigUint(a.AsSlice()), err
		}
	}
	value, mask, masked := strings.Cut(text, "/")
	v = FieldValue{Field: f, Mask: f.fullMask()}
	if v.Value, err = one(value); err != nil || !masked {
		return v, err
	}
	if n, short := strconv.Atoi(mask); short == nil && (info.format == ipv4 || info.format == ipv6) {
		if n < 0 || n > f.Width() {
			return v, fmt.Errorf("%s: a prefix of %d bits", f, n)
		}
		v.Mask = v.Mask.andNot(ones(f.Width() - n))
		return v, nil
	}
	v.Mask, err = one(mask)
	return v, err
}

// parseUint128 reads a number in base 10 or, after 0x, 16.
func parseUint128(s string) (u Uint128, err error) {
	digits, isHex := strings.CutPrefix(s, "0x")
	if len(digits) <= 16 || !isHex {
		u.Lo, err = strconv.ParseUint(s, 0, 64)
		return u, err
	}
	if u.Hi, err = strconv.ParseUint(digits[:len(digits)-16], 16, 64); err == nil {
		u.Lo, err = strconv.ParseUint(digits[len(digits)-16:], 16, 64)
	}
	return u, err
}

// parseFlags reads what appendFlags appended: "+syn-ack", "syn|ack" or "0"; and numbers.
func parseFlags(f Field, names []string, text string) (v FieldValue, err error) {
	if text != "" && (text[0] == '+' || text[0] == '-') {
		v.Field = f
		for text != "" {
			end := strings.IndexAny(text[1:], "+-") + 1
			if end == 0 {
				end = len(text)
			}
			bit, err := flagBit(names, text[1:end])
			if err != nil {
				return v, err
			}
			if v.Mask.Lo |= bit; text[0] == '+' {
				v.Value.Lo |= bit
			}
			text = text[end:]
		}
		return v, nil
	}
	v = f.Is(0)
	if v.Value, err = parseUint128(text); err == nil {
		return v, nil
	}
	for name := range strings.SplitSeq(text, "|") {
		bit, err := flagBit(names, name)
		if err != nil {
			return v, err
		}
		v.Value.Lo |= bit
	}
	return v, nil
}

func flagBit(names []string, name string) (uint64, error) {
	for i, n := range names {
		if n == name {
			return 1 << i, nil
		}
	}
	return 0, fmt.Errorf("%q is no flag", name)
}

// parsePort reads what appendPort appended.
func parsePort(s string) (uint32, bool) {
	for i, name := range portNames {
		if s == name {
			return PortInPort + uint32(i), true
		}
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return port16(uint16(n)), err == nil
}
