package openflow

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// These tests are against a real Open vSwitch.

func TestSwitchAccept(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	c := s.accept(s.dialIn("tcp", listen(t)), Options{})
	if c.DatapathID() != 0xabcd {
		t.Errorf("datapath id %016x", c.DatapathID())
	}
	if _, err := c.Echo(s.within()); err != nil {
		t.Error(err)
	}
}

func TestSwitchWithoutOpenFlow15(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	s.vsctl("set", "bridge", "br0", "protocols=OpenFlow10,OpenFlow13")
	_, err := Accept(s.within(), s.dialIn("tcp", listen(t)), Options{})
	if err == nil {
		t.Fatal("accepted")
	}
	wantIn(t, err.Error(), "it speaks OpenFlow 1.0, 1.3 but not OpenFlow 1.5: allow it with `ovs-vsctl set bridge")
}

// A role is refused for a stale generation id, and asking for one changes nothing else.
func TestSwitchRole(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	first := s.accept(s.dialIn("tcp", listen(t)), Options{})
	role, generation, err := first.Role(s.within(), RoleNoChange, 0)
	if err != nil || role != RoleEqual || generation != 1<<64-1 {
		t.Errorf("fresh: %v, %x, %v", role, generation, err)
	}
	first.Close()
	demoted := make(chan RoleStatus, 1)

	primary := s.another(Options{RoleStatus: func(r *RoleStatus) { demoted <- *r }})
	role, generation, err = primary.Role(s.within(), RolePrimary, 100)
	if err != nil || role != RolePrimary || generation != 100 {
		t.Errorf("primary: %v, %d, %v", role, generation, err)
	}
	if err := primary.Setup(s.within()); err != nil {
		t.Error(err)
	}

	stale := s.another(Options{})
	_, _, err = stale.Role(s.within(), RolePrimary, 99)
	var refused *Error
	if !errors.As(err, &refused) || refused.Type != 11 || refused.Code != 0 {
		t.Errorf("stale: %v", err)
	}
	// It is EQUAL still; what it may do is up to who asked.
	if role, generation, err = stale.Role(s.within(), RoleNoChange, 0); err != nil || role != RoleEqual || generation != 100 {
		t.Errorf("after refusal: %v, %d, %v", role, generation, err)
	}

	if role, _, err = stale.Role(s.within(), RolePrimary, 101); err != nil || role != RolePrimary {
		t.Errorf("taking over: %v, %v", role, err)
	}
	select {
	case got := <-demoted:
		if got != (RoleStatus{Role: RoleSecondary, GenerationID: 101}) {
			t.Errorf("the former primary was told %+v", got)
		}
	case <-time.After(20 * time.Second):
		t.Error("the former primary was told nothing")
	}
	err = primary.Do(s.within(), flow(1))
	if !errors.As(err, &refused) {
		t.Errorf("a secondary wrote: %v", err)
	}
	if got := s.ofctl("dump-flows"); strings.Contains(got, "actions") {
		t.Errorf("installed: %s", got)
	}
}

// flow is one of as many different flows as one likes.
func flow(i int) *FlowMod {
	return &FlowMod{
		Table:        10,
		Priority:     100,
		Cookie:       uint64(i),
		Match:        MustMatch(EthType.Is(EthTypeIPv4), IPv4Dst.Is(uint64(i))),
		Instructions: Apply(SetField{TunID.Is(uint64(i))}, Output{Port: 2}),
	}
}

func flows(n int) []Message {
	list := make([]Message, n)
	for i := range list {
		list[i] = flow(i)
	}
	return list
}

// bad is a flow that Open vSwitch refuses but can be encoded.
func bad() *FlowMod {
	m := flow(0)
	m.Match = Match(m.Match[6:]) // without eth_type: OFPBMC_BAD_PREREQ
	return m
}

func (s *vswitch) flowCount() int {
	return strings.Count(s.ofctl("dump-flows"), "actions=")
}

func TestSwitchBundle(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	c := s.connect(Options{})
	group := GroupMod{Command: GroupAdd, Type: GroupTypeAll, ID: 7, Buckets: []Bucket{
		{ID: 1, Actions: MustActions(Output{Port: 1})},
		{ID: 2, Actions: MustActions(SetField{TunID.Is(9)}, Output{Port: 2})},
	}}
	toGroup := flow(50)
	toGroup.Instructions = Apply(Group{ID: 7})
	sent := append([]Message{group, toGroup}, flows(10)...)
	if err := c.Bundle(s.within(), sent...); err != nil {
		t.Fatal(err)
	}
	installed := map[Match]Instructions{}
	if err := c.DumpFlows(s.within(), FlowStatsRequest{Table: TableAll}, func(f *FlowStats) error {
		installed[f.Match] = f.Instructions
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, m := range sent[1:] {
		f := m.(*FlowMod)
		if got := installed[f.Match]; got != f.Instructions {
			t.Errorf("%v: %v, want %v", f.Match, got, f.Instructions)
		}
	}
	if len(installed) != 11 {
		t.Errorf("%d flows", len(installed))
	}
	var groups []GroupDesc
	if err := c.DumpGroups(s.within(), func(g *GroupDesc) error {
		groups = append(groups, *g)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(groups) != 1 || groups[0].ID != 7 || len(groups[0].Buckets) != 2 || groups[0].Buckets[1].ID != 2 ||
		groups[0].Buckets[1].Actions != group.Buckets[1].Actions {
		t.Errorf("groups: %+v", groups)
	}
	// A dump of part of the switch, and one that its reader stops.
	n := 0
	count := func(*FlowStats) error { n++; return nil }
	if err := c.DumpFlows(s.within(), FlowStatsRequest{Table: TableAll, Match: toGroup.Match}, count); err != nil || n != 1 {
		t.Errorf("%d flows, %v", n, err)
	}
	stop := errors.New("enough")
	if err := c.DumpFlows(s.within(), FlowStatsRequest{Table: TableAll}, func(*FlowStats) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped: %v", err)
	}
	if err := c.Bundle(s.within()); err != nil {
		t.Errorf("nothing at all: %v", err)
	}
}

// A refused message names itself, and nothing of its bundle takes effect, wherever it stands.
func TestSwitchBundleRefused(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	c := s.connect(Options{Trouble: func(err error) { t.Error(err) }})
	overlapping := flow(3)
	overlapping.Flags = FlowCheckOverlap
	overlapping.Match = MustMatch(IPv4()...)
	tooLong := flow(0)
	tooLong.Instructions = Instructions(make([]byte, 1<<16))
	for _, test := range []struct {
		name    string
		message Message
		at      []int
		want    string
	}{
		{"when added", bad(), []int{0, 10, 20}, "OFPBMC_BAD_PREREQ"},
		{"at the commit", overlapping, []int{10, 20}, "OFPFMFC_OVERLAP"},
		{"when encoded", tooLong, []int{0, 10, 20}, "longer than 65535 bytes"},
	} {
		for _, at := range test.at {
			t.Run(fmt.Sprint(test.name, " at ", at), func(t *testing.T) {
				sent := append(flows(at), test.message)
				for i := at; i < 20; i++ {
					sent = append(sent, flow(i))
				}
				err := c.Bundle(s.within(), sent...)
				var which *MessageError
				if !errors.As(err, &which) || which.Index != at || which.Message != test.message {
					t.Fatalf("got %v", err)
				}
				wantIn(t, err.Error(), test.want)
				var refused *Error
				if errors.As(err, &refused) == (test.message == tooLong) {
					t.Errorf("the switch refused it: %v", refused)
				}
				if n := s.flowCount(); n != 0 {
					t.Errorf("%d flows are installed", n)
				}
			})
		}
	}
	// The connection is as good as before.
	if err := c.Bundle(s.within(), flows(5)...); err != nil || s.flowCount() != 5 {
		t.Error(err, s.flowCount())
	}
}

func TestSwitchBundleGivenUp(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	c := s.connect(Options{Trouble: func(err error) { t.Error(err) }})
	ctx, cancel := context.WithCancel(context.Background())
	many := flows(20000)
	many[10000] = cancelling{many[10000], cancel}
	if err := c.Bundle(ctx, many...); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := c.Do(s.within()); err != nil {
		t.Fatal(err)
	}
	if n := s.flowCount(); n != 0 {
		t.Errorf("%d flows are installed", n)
	}
}

// cancelling is a message whose sending ends the wait of who sends it.
type cancelling struct {
	Message
	cancel func()
}

func (m cancelling) AppendTo(b []byte, xid uint32) ([]byte, error) {
	m.cancel()
	return m.Message.AppendTo(b, xid)
}

func TestSwitchDo(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	c := s.connect(Options{})
	wrong := bad()
	err := c.Do(s.within(), flow(1), flow(2), wrong)
	var which *MessageError
	var refused *Error
	if !errors.As(err, &which) || which.Index != 2 || which.Message != Message(wrong) || !errors.As(err, &refused) {
		t.Fatalf("got %v", err)
	}
	wantIn(t, err.Error(), "message 2, "+wrong.String()+": switch refused FLOW_MOD: OFPBMC_BAD_PREREQ")
	if n := s.flowCount(); n != 2 {
		t.Errorf("%d flows", n)
	}
}

func TestSwitchLargeBundle(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	c := s.connect(Options{})
	const n = 20000
	start := time.Now()
	if err := c.Bundle(s.within(), flows(n)...); err != nil {
		t.Fatal(err)
	}
	installed := time.Now()
	seen := map[Match]bool{}
	if err := c.DumpFlows(s.within(), FlowStatsRequest{Table: TableAll}, func(f *FlowStats) error {
		seen[f.Match] = true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d flows in %v, dumped in %v", n, installed.Sub(start), time.Since(installed))
	if len(seen) != n {
		t.Errorf("%d flows", len(seen))
	}
	// And one that fails at its very end, after 20,000 good messages.
	if err := c.Bundle(s.within(), FlowMod{Command: FlowDelete, Table: TableAll}); err != nil {
		t.Fatal(err)
	}
	err := c.Bundle(s.within(), append(flows(n), bad())...)
	var which *MessageError
	if !errors.As(err, &which) || which.Index != n {
		t.Fatalf("got %v", err)
	}
	if n := s.flowCount(); n != 0 {
		t.Errorf("%d flows are installed", n)
	}
}

// Meters cannot be in a bundle: they go before the flows that use them, and after
// those that no longer do.
func TestSwitchMeters(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	c := s.connect(Options{})
	meter := MeterMod{Command: MeterAdd, ID: 5, Flags: MeterPktps | MeterBurst, Bands: []MeterBand{{Type: BandDrop, Rate: 20, Burst: 40}}}
	metered := flow(1)
	metered.Instructions = Apply(Meter{ID: 5}, Output{Port: 2})
	if err := c.Bundle(s.within(), meter, metered); err == nil {
		t.Fatal("a bundle took a meter")
	}
	if err := c.Do(s.within(), meter); err != nil {
		t.Fatal(err)
	}
	if err := c.Bundle(s.within(), metered); err != nil {
		t.Fatal(err)
	}
	var meters []MeterConfig
	if err := c.DumpMeters(s.within(), func(m *MeterConfig) error {
		meters = append(meters, *m)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(meters) != 1 || meters[0].ID != 5 || len(meters[0].Bands) != 1 || meters[0].Bands[0] != meter.Bands[0] {
		t.Errorf("meters: %+v", meters)
	}
	deleted := *metered
	deleted.Command, deleted.Instructions = FlowDeleteStrict, ""
	if err := c.Bundle(s.within(), deleted); err != nil {
		t.Fatal(err)
	}
	meter.Command = MeterDelete
	if err := c.Do(s.within(), meter); err != nil {
		t.Fatal(err)
	}
}

func TestSwitchPorts(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	changed := make(chan PortStatus, 10)
	c := s.connect(Options{PortStatus: func(p *PortStatus) { changed <- *p }})
	names := map[string]uint32{}
	if err := c.DumpPorts(s.within(), func(p *Port) error {
		names[p.Name] = p.Number
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if names["p1"] != 1 || names["p2"] != 2 || names["br0"] != PortLocal {
		t.Errorf("ports: %v", names)
	}
	s.vsctl("add-port", "br0", "p3", "--", "set", "interface", "p3", "type=dummy", "ofport_request=3")
	select {
	case p := <-changed:
		if p.Port.Name != "p3" || p.Port.Number != 3 {
			t.Errorf("port status %+v", p)
		}
	case <-time.After(20 * time.Second):
		t.Error("no port status")
	}
}

const dhcpPacket = "in_port(1),eth(src=fa:16:3e:00:00:01,dst=ff:ff:ff:ff:ff:ff),eth_type(0x0800),ipv4(src=0.0.0.0,dst=255.255.255.255,proto=17,tos=0,ttl=64,frag=no),udp(src=68,dst=67)"

func TestSwitchManyDumps(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	c := s.connect(Options{})
	if err := c.Bundle(s.within(), flows(3000)...); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error)
	for range 10 {
		go func() {
			seen := 0
			err := c.DumpFlows(s.within(), FlowStatsRequest{Table: TableAll}, func(*FlowStats) error { seen++; return nil })
			if err == nil && seen != 3000 {
				err = fmt.Errorf("%d flows", seen)
			}
			errs <- err
		}()
	}
	for range 10 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// Changes are told whoever makes them, and only in the tables that are watched.
func TestSwitchFlowMonitor(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	updates := make(chan FlowUpdate, 100)
	c := s.connect(Options{FlowUpdate: func(u *FlowUpdate) { updates <- *u }, Trouble: func(err error) { t.Error(err) }})
	next := func() FlowUpdate {
		t.Helper()
		select {
		case u := <-updates:
			return u
		case <-time.After(20 * time.Second):
			t.Fatal("no update")
			return FlowUpdate{}
		}
	}
	if err := c.Bundle(s.within(), flow(1)); err != nil {
		t.Fatal(err)
	}
	watch := FlowMonitorRequest{ID: 1, Table: 10, Flags: MonitorInitial | MonitorAdd | MonitorRemoved | MonitorModify | MonitorInstructions}
	if err := c.Monitor(s.within(), watch); err != nil {
		t.Fatal(err)
	}
	if u := next(); u.Event != FlowInitial || u.Match != flow(1).Match || u.Instructions != flow(1).Instructions || u.Table != 10 || u.Cookie != 1 {
		t.Errorf("initial: %+v", u)
	}
	// Our own change is told by its transaction id alone.
	if err := c.Bundle(s.within(), flow(2)); err != nil {
		t.Fatal(err)
	}
	if u := next(); u.Event != FlowAbbreviated || u.XID == 0 {
		t.Errorf("own: %+v", u)
	}
	// Table 11 is not watched.
	s.ofctl("add-flow", "table=11,priority=5,actions=drop")
	s.ofctl("add-flow", "table=10,priority=5,tcp,cookie=0x77,actions=output:1")
	if u := next(); u.Event != FlowAdded || u.Priority != 5 || u.Cookie != 0x77 || u.Match != MustMatch(TCP()...) || u.Instructions != Apply(Output{Port: 1}) {
		t.Errorf("added: %+v", u)
	}
	s.ofctl("mod-flows", "--strict", "table=10,priority=5,tcp,actions=drop")
	if u := next(); u.Event != FlowModified || u.Instructions != "" {
		t.Errorf("modified: %+v", u)
	}
	s.ofctl("del-flows", "table=10,tcp")
	if u := next(); u.Event != FlowRemovedEvent || u.Reason != RemovedDelete || u.Match != MustMatch(TCP()...) {
		t.Errorf("removed: %+v", u)
	}
	watch.Command = MonitorCommandDelete
	if err := c.Monitor(s.within(), watch); err != nil {
		t.Fatal(err)
	}
	s.ofctl("del-flows")
	if err := c.Do(s.within()); err != nil {
		t.Fatal(err)
	}
	if n := len(updates); n != 0 {
		t.Errorf("%d updates after the monitor's end: %+v", n, <-updates)
	}
}

func TestSwitchDesc(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	d, err := s.connect(Options{}).Desc(s.within())
	if err != nil || d.Hardware != "Open vSwitch" || d.Software == "" {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestSwitchEcho(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	c := s.connect(Options{EchoInterval: 50 * time.Millisecond})
	time.Sleep(500 * time.Millisecond)
	if rtt, err := c.Echo(s.within()); err != nil || rtt <= 0 {
		t.Error(rtt, err)
	}
}

// The switch's end is told by name.
func TestSwitchGone(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	c := s.connect(Options{})
	s.vsctl("del-controller", "br0")
	wantIn(t, ended(t, c), "(datapath 000000000000abcd): closed by the switch")
}
