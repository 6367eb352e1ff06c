package openflow

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// all reads a multipart reply's entries.
func all[T any](s *bridge, m Message, parse func([]byte) (T, []byte, error)) (list []T) {
	s.t.Helper()
	s.ask(m, func(b []byte) error {
		for len(b) > 0 {
			v, rest, err := parse(b)
			if err != nil {
				return err
			}
			list, b = append(list, v), rest
		}
		return nil
	})
	return list
}

func TestSwitchGivesBackGroups(t *testing.T) {
	s := startBridge(t)
	reg := func(v uint64) Actions { return MustActions(set(Reg7.Is(v)), Resubmit{Table: 90}) }
	groups := []GroupMod{
		{ID: 7, Buckets: []Bucket{{ID: 3, Actions: reg(3)}, {ID: 1, Actions: reg(1)}}},
		{ID: 8, Buckets: []Bucket{{ID: 2887712771, Actions: MustActions(set(TunDst.Addr(remote)), Output{Port: 4})}}},
		{ID: 9, Type: GroupTypeSelect, Buckets: []Bucket{{ID: 1, Weight: 5, Actions: MustActions(Output{Port: 1})}, {ID: 2, Weight: 1, Actions: MustActions(Output{Port: 2})}}},
		{ID: 10, Type: GroupTypeFailover, Buckets: []Bucket{{ID: 1, WatchPort: 1, Actions: MustActions(Output{Port: 1})}, {ID: 2, WatchGroup: 9}}},
		{ID: 11},
		{ID: 12, Type: GroupTypeIndirect, Buckets: []Bucket{{ID: 1, Actions: MustActions(Group{11})}}},
	}
	var messages []Message
	for _, g := range groups {
		messages = append(messages, g)
	}
	s.mustDo(messages...)
	s.mustDo(GroupMod{Command: GroupInsertBuckets, ID: 7, CommandBucketID: BucketLast, Buckets: []Bucket{{ID: 4, Actions: reg(4)}, {ID: 5, Actions: reg(5)}}},
		GroupMod{Command: GroupRemoveBuckets, ID: 7, CommandBucketID: 3},
		GroupMod{Command: GroupInsertBuckets, ID: 7, CommandBucketID: BucketFirst, Buckets: []Bucket{{ID: 6, Actions: reg(6)}}})
	groups[0].Buckets = []Bucket{{ID: 6, Actions: reg(6)}, {ID: 1, Actions: reg(1)}, {ID: 4, Actions: reg(4)}, {ID: 5, Actions: reg(5)}}

	got := map[uint32]GroupDesc{}
	var text []string
	for _, g := range all(s, GroupDescRequest{GroupAll}, ParseGroupDesc) {
		got[g.ID] = g
		text = append(text, " "+g.String())
	}
	for _, want := range groups {
		if g := got[want.ID]; g.Type != want.Type || !reflect.DeepEqual(g.Buckets, want.Buckets) {
			t.Errorf("group %d: got %v, want %v", want.ID, g, want)
		}
	}
	dump := s.ofctl("dump-groups")
	for _, line := range text {
		if !strings.Contains(dump, line+"\n") {
			t.Errorf("ovs-ofctl doesn't print %q but\n%s", line, dump)
		}
	}
	if one := all(s, GroupDescRequest{9}, ParseGroupDesc); len(one) != 1 || one[0].ID != 9 {
		t.Errorf("asked for group 9, got %v", one)
	}
}

func TestSwitchGivesBackMeters(t *testing.T) {
	s := startBridge(t)
	meters := []MeterMod{
		{ID: 3, Flags: MeterPktps | MeterBurst | MeterStats, Bands: []MeterBand{{Type: BandDrop, Rate: 20, Burst: 40}}},
		{ID: 5, Flags: MeterKbps, Bands: []MeterBand{{Type: BandDrop, Rate: 1000}}},
	}
	s.mustDo(meters[0], meters[1])
	dump := s.ofctl("dump-meters")
	got := all(s, MeterConfigRequest{MeterAll}, ParseMeterConfig)
	if len(got) != len(meters) {
		t.Fatalf("%d meters: %v", len(got), got)
	}
	slices.SortFunc(got, func(a, b MeterConfig) int { return int(a.ID) - int(b.ID) })
	for i, m := range got {
		if m.ID != meters[i].ID || m.Flags != meters[i].Flags || !reflect.DeepEqual(m.Bands, meters[i].Bands) {
			t.Errorf("got %#v, want %#v", m, meters[i])
		}
		if !strings.Contains(dump, m.String()+"\n") {
			t.Errorf("ovs-ofctl doesn't print %q but\n%s", m.String(), dump)
		}
	}
	counters := all(s, MeterStatsRequest{3}, ParseMeterCounters)
	if len(counters) != 1 || counters[0].ID != 3 || len(counters[0].Bands) != 1 {
		t.Errorf("counters of meter 3: %v", counters)
	}
	s.mustDo(MeterMod{Command: MeterDelete, ID: 3})
	if left := all(s, MeterConfigRequest{MeterAll}, ParseMeterConfig); len(left) != 1 {
		t.Errorf("after one was deleted: %v", left)
	}
}

func TestSwitchDescribesItself(t *testing.T) {
	s := startBridge(t)
	ports := map[string]Port{}
	for _, p := range all(s, PortDescRequest{PortAny}, ParsePort) {
		ports[p.Name] = p
	}
	if p := ports["p2"]; p.Number != 2 || p.MAC == (MAC{}) || p.State&PortLinkDown != 0 {
		t.Errorf("p2: %+v", p)
	}
	if p := ports["br0"]; p.Number != PortLocal {
		t.Errorf("br0: %+v", p)
	}
	s.ask(DescRequest{}, func(b []byte) error {
		d, err := ParseDesc(b)
		if d.Hardware != "Open vSwitch" || d.Software == "" {
			t.Errorf("%+v", d)
		}
		return err
	})
	s.send(FeaturesRequest{})
	var features Features
	if err := features.Decode(s.receive()); err != nil || features.DatapathID == 0 || features.Tables != 254 {
		t.Errorf("%+v, %v", features, err)
	}
	s.send(RoleRequest{Role: RolePrimary, ShortID: 0xffff, GenerationID: 7})
	var role RoleReply
	if err := role.Decode(s.receive()); err != nil || role.Role != RolePrimary || role.GenerationID != 7 {
		t.Errorf("%+v, %v", role, err)
	}
	s.send(RoleRequest{Role: RolePrimary, ShortID: 0xffff, GenerationID: 6})
	var refused Error
	if err := refused.Decode(s.receive()); err != nil || refused.Name() != "OFPRRFC_STALE" {
		t.Errorf("%v, %v", &refused, err)
	}
}

// The switch's names for errors are read from what it logs or prints, ours from its
// numbers: they must agree.
func TestErrorsHaveTheSwitchsNames(t *testing.T) {
	s := startBridge(t)
	bad := Match(UDPDst.Bits(0, 0).Field.appendHeader(nil, false)) + "\x00\x43" // no prerequisites
	for i, c := range []struct {
		name string
		m    Message
	}{
		{"OFPBMC_BAD_PREREQ", FlowMod{Match: bad}},
		{"OFPBAC_BAD_OUT_GROUP", FlowMod{Instructions: Apply(Group{77})}},
		{"OFPGMFC_UNKNOWN_GROUP", GroupMod{Command: GroupModify, ID: 99}},
		{"OFPMMFC_UNKNOWN_METER", MeterMod{Command: MeterModify, ID: 99, Flags: MeterKbps, Bands: []MeterBand{{Rate: 1}}}},
		{"OFPBRC_EPERM", FlowMod{Table: 254}},
		{"OFPBFC_BAD_ID", BundleControl{ID: 5, Command: BundleCommit}},
	} {
		refused := s.do(c.m)
		e := refused[0]
		if e == nil {
			t.Errorf("%d: %s: accepted", i, c.name)
			continue
		}
		printedName := printed(t, errorFrame(e))[0]
		if !strings.Contains(printedName, e.Name()) {
			t.Errorf("%d: %s, and ovs-ofctl prints %s", i, e.Name(), printedName)
		}
		if e.Name() != c.name {
			t.Errorf("%d: expected %s, got %s", i, c.name, e.Name())
		}
	}
	// Every name in the table is the one that ovs-ofctl prints for the numbers.
	var wire []byte
	var names []string
	add := func(e Error, name string) {
		if name != "" {
			wire, names = append(wire, errorFrame(&e)...), append(names, name)
		}
	}
	for typ, codes := range errorNames {
		for code, name := range codes {
			add(Error{Type: uint16(typ), Code: uint16(code)}, name)
		}
	}
	for code, name := range niciraErrors {
		add(Error{Type: ErrorExperimenter, Code: code}, name)
	}
	var lines []string
	for _, line := range printed(t, wire) {
		if strings.HasPrefix(line, "OFPT_ERROR ") {
			lines = append(lines, line)
		}
	}
	if len(lines) != len(names) || len(names) < 100 {
		t.Fatalf("%d lines for %d errors", len(lines), len(names))
	}
	for i, line := range lines {
		if !strings.HasSuffix(line, ": "+names[i]) {
			t.Errorf("%s: ovs-ofctl prints %s", names[i], line)
		}
	}
}

func errorFrame(e *Error) []byte {
	b := begin(nil, TypeError, 1)
	b = append(b, byte(e.Type>>8), byte(e.Type), byte(e.Code>>8), byte(e.Code))
	if e.Type == ErrorExperimenter {
		b = append(b, 0, 0, 0x23, 0x20)
	}
	b, _ = end(append(b, e.Data...), 0)
	return b
}

func TestPackets(t *testing.T) {
	s := startBridge(t)
	s.send(SetPacketInFormat{}, SetConfig{MissSendLen: 0xffff})
	user := []byte{0, 0, 0, 3, 1}
	s.mustDo(FlowMod{Table: 0, Priority: 5, Match: MustMatch(InPort.Is(2)), Instructions: ApplyGoto(21, set(Reg5.Is(3)), set(Reg6.Is(7)), set(Metadata.Is(9)))},
		FlowMod{Table: 21, Priority: 5, Cookie: 0xabcdef, Instructions: Apply(Controller{UserData: user})},
		FlowMod{Table: 0, Priority: 5, Match: MustMatch(InPort.Is(1)), Instructions: Apply(set(TunID.Is(5001)), Controller{UserData: user, Pause: true})})
	frame := append(append(BroadcastMAC[:], mac1[:]...), 0x88, 0xb5)
	frame = append(frame, bytes.Repeat([]byte{0xa5}, 100)...)
	next := func() (p PacketIn) {
		t.Helper()
		if err := p.Decode(s.receive()); err != nil {
			t.Fatal(err)
		}
		return p
	}
	s.send(PacketOut{InPort: 2, Actions: MustActions(Output{Port: PortTable}), Data: frame})
	p := next()
	if !bytes.Equal(p.Packet, frame) || int(p.TotalLen) != len(frame) || p.Table != 21 || p.Cookie != 0xabcdef || p.Reason != ReasonAction || !bytes.Equal(p.UserData, user) {
		t.Errorf("%v\n%x", &p, p.Packet)
	}
	for field, want := range map[Field]uint64{InPort: 2, Reg5: 3, Reg6: 7, Metadata: 9, XReg3: 7 << 32} {
		if got, ok := p.Uint(field); !ok || got != want {
			t.Errorf("%v: %d, %v", field, got, ok)
		}
	}
	if _, ok := p.Uint(TunID); ok {
		t.Errorf("a tun_id from nowhere: %v", &p)
	}
	if text := p.Match().String(); text != "reg5=0x3,reg6=0x7,metadata=0x9,in_port=2" {
		t.Error(text)
	}

	// from a device, with a continuation
	s.appctl("netdev-dummy/receive", "p1", fmt.Sprintf("%x", frame))
	p = next()
	if vni, ok := p.Uint(TunID); !ok || vni != 5001 || !bytes.Equal(p.Packet, frame) || p.Continuation == nil {
		t.Errorf("%v: %d bytes", &p, len(p.Packet))
	}
	// by the actions of a packet-out
	s.send(PacketOut{Actions: MustActions(set(EthDst.MAC(mac1)), Controller{UserData: []byte{9}}), Data: frame})
	p = next()
	if in, _ := p.Uint(InPort); in != uint64(PortController) || !bytes.Equal(p.Packet[:6], mac1[:]) {
		t.Errorf("%v", &p)
	}
}

func TestEvents(t *testing.T) {
	s := startBridge(t)
	s.send(SetConfig{MissSendLen: 0xffff}) // without it this kind of connection gets no events
	f := FlowMod{Table: 3, Priority: 9, Cookie: 5, Flags: FlowSendRemoved, Match: MustMatch(Reg6.Is(7)), Instructions: Apply(Output{Port: 1})}
	s.mustDo(f)
	events := func(f Frame) (list []FlowUpdate) {
		t.Helper()
		_, _, b, err := ParseMultipart(f)
		for err == nil && len(b) > 0 {
			var u FlowUpdate
			u, b, err = ParseFlowUpdate(b)
			list = append(list, u)
		}
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	s.send(FlowMonitorRequest{ID: 1, Table: 3, Flags: MonitorInitial | MonitorAdd | MonitorRemoved | MonitorModify | MonitorInstructions})
	initial := events(s.receive())
	if len(initial) != 1 || initial[0].Event != FlowInitial || initial[0].Match != f.Match || initial[0].Instructions != f.Instructions || initial[0].Cookie != 5 || initial[0].Priority != 9 {
		t.Errorf("%+v", initial)
	}
	s.ofctl("add-flow", "table=3,priority=1,arp,actions=drop")
	added := events(s.receive())
	if len(added) != 1 || added[0].Event != FlowAdded || added[0].Match != MustMatch(ARP()...) || added[0].Instructions != Drop || added[0].Table != 3 {
		t.Errorf("%+v", added)
	}
	s.ofctl("add-flow", "table=4,priority=1,arp,actions=drop") // not watched
	s.send(FlowMod{Command: FlowDelete, Table: 3, Match: f.Match})
	var removed FlowRemoved
	for range 2 { // the flow_removed and the abbreviated update, in either order
		f := s.receive()
		if f.Type() == TypeFlowRemoved {
			if err := removed.Decode(f); err != nil {
				t.Fatal(err)
			}
		} else if u := events(f); len(u) != 1 || u[0].Event != FlowAbbreviated || u[0].XID != s.xid {
			t.Errorf("%+v", u)
		}
	}
	if removed.Match != f.Match || removed.Reason != RemovedDelete || removed.Table != 3 || removed.Cookie != 5 || removed.Duration <= 0 || removed.Duration > time.Minute {
		t.Errorf("%+v", removed)
	}

	s.vsctl("del-port", "p2")
	var status PortStatus
	if err := status.Decode(s.receive()); err != nil || status.Reason != PortDeleted || status.Port.Number != 2 || status.Port.Name != "p2" {
		t.Errorf("%+v, %v", status, err)
	}
}

// What doesn't hold is said at once and in words, not by the switch later.
func TestMistakesAreNamed(t *testing.T) {
	for want, v := range map[string][]FieldValue{
		"arp_tpa needs eth_type=0x0806 or 0x8035":             {ARPTpa.Addr(address)},
		"tcp_dst needs ip, nw_proto=6":                        append(UDP(), TCPDst.Is(80)),
		"nd_sll needs icmp6, icmpv6_type=135":                 append(ICMP6(), ICMPv6Type.Is(136), NDSll.MAC(mac1)),
		"nd_target needs":                                     append(ICMP6(), ICMPv6Type.Is(136), ICMPv6Code.Is(1), NDTarget.Addr(address6)),
		"vlan_pcp needs a vlan_vid":                           {VlanPCP.Is(1)},
		"in_port: given twice":                                {InPort.Is(1), InPort.Is(2)},
		"xreg2: given twice":                                  {Reg5.Is(1), XReg2.Masked(1, 1)},
		"in_port: takes no mask":                              {InPort.Masked(1, 1)},
		"reg5: value has bits outside":                        {Reg5.Is(1 << 32)},
		"reg5: mask 0x":                                       {Reg5.Masked(0, 1<<32)},
		"eth_dst: value has bits outside":                     {EthDst.Masked(3, 1)},
		"ip_src: value has bits outside":                      append(IPv4(), IPv4Src.Addr(address6)),
		"arp_op: 256 is more than 255":                        append(ARP(), ARPOp.Is(256)),
		"in_port: no port has the number 65280":               {InPort.Is(0xff00)},
		"vlan_tci: a mask of 0x2000 cannot be expressed":      {VlanTCI.Masked(0, 0x2000)},
		"udp_dst needs ip, nw_proto=17 and no later fragment": append(UDP(), IPFrag.Is(3), UDPDst.Is(1)),
		"unknown field":                                       {Field(0x1234<<48 | 4).Is(1)},
	} {
		if _, err := NewMatch(v...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	for want, a := range map[string]Action{
		"set_field: in_port is not writable":                   set(InPort.Is(1)),
		"set_field: vlan_vid: the value needs":                 set(VlanVID.Is(7)),
		"set_field: ip_dscp: takes no mask":                    set(IPDSCP.Masked(1, 1)),
		"output: the port must come from a register":           OutputReg{Src: EthDst.Bits(0, 15)},
		"output: no port has the number 0":                     Output{},
		"move: NXM_NX_REG6[] has 32 bits, NXM_OF_ETH_DST[] 48": move(Reg6.All(), EthDst.All()),
		"cannot be copied to eth_type":                         move(Reg6.Bits(0, 15), EthType.All()),
		"reg6[31..32] is not in":                               move(Reg6.Bits(31, 32), Reg7.Bits(0, 1)),
	} {
		if _, err := NewActions(PopVLAN{}, a); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "action 2: ") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	var buckets []Bucket
	for i := range uint32(3000) {
		buckets = append(buckets, Bucket{ID: i, Actions: MustActions(Output{Port: 1})})
	}
	b := []byte("before")
	if got, err := (GroupMod{ID: 5, Buckets: buckets}).AppendTo(b, 1); !errors.Is(err, ErrTooLong) || string(got) != "before" {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if got, err := (FlowMod{Instructions: Instructions(strings.Repeat("\x00", 70000))}).AppendTo(b, 1); !errors.Is(err, ErrTooLong) || string(got) != "before" {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := (GroupMod{ID: 5, Buckets: []Bucket{{ID: BucketAll}}}).AppendTo(nil, 1); err == nil {
		t.Error("a bucket id that is a position was taken")
	}
}
