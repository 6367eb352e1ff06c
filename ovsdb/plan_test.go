package ovsdb

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// wanted is a host as the controller wants it.
func wanted(controllers ...string) Wanted {
	tables := make(map[int]WantedTable)
	for i := range 20 {
		tables[i*5] = WantedTable{Name: fmt.Sprint("table_", i)}
	}
	tables[10] = WantedTable{Name: "table_2", Prefixes: []string{"ip_src", "ipv6_src"}}
	w := Wanted{Owner: "tunbridge", Managers: []WantedManager{{Target: "ptcp:0:127.0.0.1"}, {Target: "tcp:192.0.2.1:6640", MustExist: true, MaxBackoff: 1000}}}
	for i, name := range []string{"br-int", "br-tun"} {
		b := WantedBridge{
			Name: name, DatapathType: "netdev", FailMode: "secure", DatapathID: fmt.Sprintf("00000000000000a%d", i),
			Protocols: []string{"OpenFlow10", "OpenFlow15", "OpenFlow13", "OpenFlow14"}, Tables: tables,
			OtherConfig: map[string]string{"mac-table-size": "50"}, ExternalIDs: map[string]string{"owner": "tunbridge"},
		}
		for _, target := range controllers {
			b.Controllers = append(b.Controllers, WantedController{Target: target, ConnectionMode: "out-of-band", QueueSize: 512, MaxBackoff: 1000, InactivityProbe: 10000})
		}
		w.Bridges = append(w.Bridges, b)
	}
	w.Bridges[0].Ports = []WantedPort{{Name: "patch-tun", Type: "patch", Options: map[string]string{"peer": "patch-int"}}}
	w.Bridges[1].Ports = []WantedPort{
		{Name: "patch-int", Type: "patch", Options: map[string]string{"peer": "patch-tun"}, OFPortRequest: 1},
		{Name: "vxlan-tun", Type: "vxlan", OFPortRequest: 4, Options: map[string]string{"remote_ip": "flow", "key": "flow", "local_ip": "127.0.0.1"}, ExternalIDs: map[string]string{"kind": "overlay"}},
	}
	return w
}

// converge commits the plan and proves that nothing is left to do: at once,
// and when ovs-vswitchd has acted.
func converge(t *testing.T, s *Session, w Wanted) *Mirror {
	t.Helper()
	commit(t, s, s.Mirror().Plan(w)...)
	if left := s.Mirror().Plan(w); left != nil {
		t.Fatalf("left to do after the commit: %v", describe(left))
	}
	m := until(t, s, "configuration", (*Mirror).Configured)
	if left := m.Plan(w); left != nil {
		t.Fatalf("left to do after ovs-vswitchd acted: %v", describe(left))
	}
	return m
}

func describe(ops []Operation) (text []string) {
	for _, op := range ops {
		text = append(text, fmt.Sprintf("%s %s %v%v", op.Op, op.Table, op.Row, op.Mutations))
	}
	return text
}

func TestPlanFromNothing(t *testing.T) {
	h := newHost(t)
	h.vswitchd()
	s := h.dial()
	if (&Mirror{}).Plan(wanted()) != nil {
		t.Error("a plan without a mirror")
	}
	m := converge(t, s, wanted("tcp:127.0.0.1:1", "tcp:127.0.0.1:2"))
	b := m.Bridge("br-tun")
	if b.DatapathID != "00000000000000a1" || b.FailMode != "secure" || len(b.Controllers) != 2 || len(b.FlowTables) != 20 || len(m.FlowTables[b.FlowTables[10]].Prefixes) != 2 {
		t.Errorf("br-tun is %+v", b)
	}
	ofports := make(map[string]int)
	for _, i := range m.Attached(b) {
		ofports[i.Name] = i.OFPort
		if on := m.BridgeOf(i); on != b {
			t.Errorf("%s is on %v", i.Name, on)
		}
	}
	if ofports["patch-int"] != 1 || ofports["vxlan-tun"] != 4 || ofports["br-tun"] != 65534 {
		t.Errorf("OpenFlow ports %v", ofports)
	}
	for command, want := range map[string]string{
		"get-fail-mode br-int":                               "secure",
		"list-ports br-tun":                                  "patch-int\nvxlan-tun",
		"get-controller br-int":                              "tcp:127.0.0.1:1\ntcp:127.0.0.1:2",
		"get-manager":                                        "ptcp:0:127.0.0.1",
		"get bridge br-int protocols":                        "[OpenFlow10, OpenFlow13, OpenFlow14, OpenFlow15]",
		"get interface vxlan-tun options":                    `{key=flow, local_ip="127.0.0.1", remote_ip=flow}`,
		"--bare --columns=name find flow_table name=table_3": "table_3\n\ntable_3",
		"--bare --columns=controller_queue_size,max_backoff,inactivity_probe,connection_mode list controller": strings.TrimSpace(strings.Repeat("512\n1000\n10000\nout-of-band\n\n", 4)),
	} {
		if got := h.vsctl(strings.Fields(command)...); got != want {
			t.Errorf("ovs-vsctl %s: %q, want %q", command, got, want)
		}
	}
	out := h.run("ovs-ofctl", "-O", "OpenFlow15", "dump-table-features", "unix:"+h.path("br-int.mgmt"))
	if !strings.Contains(out, `table 5 ("table_1")`) {
		t.Errorf("the switch does not know its tables' names:\n%.300s", out)
	}
}

// TestPlanRepairs breaks the host in every way that Plan looks at. What is not
// ours must stay through all of it.
func TestPlanRepairs(t *testing.T) {
	h := newHost(t)
	h.vswitchd()
	s := h.dial()
	w := wanted("tcp:127.0.0.1:1")
	converge(t, s, w)
	h.vsctl(strings.Fields("add-port br-int tap0 -- set interface tap0 type=dummy external_ids:iface-id=vif0 -- set port tap0 external_ids:owner=nova tag=7" +
		" -- set bridge br-int external_ids:theirs=kept other_config:theirs=kept -- set interface patch-tun external_ids:theirs=kept" +
		" -- --id=@m create manager target=\"ptcp:0:127.0.0.2\" -- add open_vswitch . manager_options @m" +
		" -- --id=@t create flow_table name=theirs -- set bridge br-int flow_tables:250=@t")...)
	until(t, s, "tap0", func(m *Mirror) bool { return len(m.Managers) == 2 })
	if left := s.Mirror().Plan(w); left != nil {
		t.Fatalf("what is not ours makes work: %v", describe(left))
	}
	for _, command := range []string{
		"set bridge br-int fail_mode=standalone protocols=OpenFlow10",
		"set bridge br-int other_config:datapath-id=00000000000000ff external_ids:owner=me",
		"remove bridge br-int other_config mac-table-size",
		"set interface vxlan-tun options:local_ip=127.0.0.9 options:csum=true ofport_request=9",
		"set interface vxlan-tun type=gre external_ids:kind=x",
		"remove port vxlan-tun external_ids owner",
		"del-port patch-int",
		"del-br br-tun",
		"remove open_vswitch . manager_options ptcp:0:127.0.0.1",
		"set controller br-int connection_mode=in-band max_backoff=9000",
		"clear controller br-int inactivity_probe",
		"set-controller br-int tcp:127.0.0.1:1 tcp:127.0.0.1:9",
		"del-controller br-int",
		"remove bridge br-int flow_tables 5",
		"-- --id=@t create flow_table name=wrong -- set bridge br-int flow_tables:10=@t",
	} {
		if strings.HasPrefix(command, "remove open_vswitch") {
			command = strings.Replace(command, "ptcp:0:127.0.0.1", h.vsctl("--bare", "--columns=_uuid", "find", "manager", `target="ptcp:0:127.0.0.1"`), 1)
		}
		h.vsctl(append([]string{"--"}, strings.Fields(command)...)...)
		until(t, s, "damage by "+command, func(m *Mirror) bool { return m.Plan(w) != nil })
		converge(t, s, w)
	}
	for command, want := range map[string]string{
		"get interface tap0 external_ids:iface-id":    "vif0",
		"get port tap0 tag":                           "7",
		"get bridge br-int external_ids:theirs":       "kept",
		"get bridge br-int other_config:theirs":       "kept",
		"get interface patch-tun external_ids:theirs": "kept",
		"get-manager": "ptcp:0:127.0.0.1\nptcp:0:127.0.0.2",
		"--bare --columns=name find flow_table name=theirs": "theirs",
	} {
		if got := strings.Trim(h.vsctl(strings.Fields(command)...), `"`); got != want {
			t.Errorf("ovs-vsctl %s: %q, want %q", command, got, want)
		}
	}
}

// TestPlanKeepsFlows moves a bridge to another controller: its flows stay.
func TestPlanKeepsFlows(t *testing.T) {
	h := newHost(t)
	h.vswitchd()
	s := h.dial()
	converge(t, s, wanted("tcp:127.0.0.1:1"))
	flows := func() string {
		return h.run("ovs-ofctl", "-O", "OpenFlow15", "--no-stats", "dump-flows", "unix:"+h.path("br-int.mgmt"))
	}
	h.run("ovs-ofctl", "-O", "OpenFlow15", "add-flow", "unix:"+h.path("br-int.mgmt"), "cookie=7,in_port=1,actions=drop")
	before := flows()
	if !strings.Contains(before, "cookie=0x7") {
		t.Fatalf("no flow: %s", before)
	}
	if foreign := s.Mirror().ForeignControllers("br-int", "tcp:127.0.0.1:2"); !slices.Equal(foreign, []string{"tcp:127.0.0.1:1"}) {
		t.Errorf("foreign controllers %v", foreign)
	}
	m := converge(t, s, wanted("tcp:127.0.0.1:2"))
	if foreign := m.ForeignControllers("br-int", "tcp:127.0.0.1:2"); foreign != nil {
		t.Errorf("foreign controllers %v", foreign)
	}
	if after := flows(); after != before {
		t.Errorf("flows before %s, after %s", before, after)
	}
}

// TestPlanProvider patches into a bridge that is somebody else's.
func TestPlanProvider(t *testing.T) {
	h := newHost(t)
	h.vswitchd()
	s := h.dial()
	patch := WantedPort{Name: "phy-br-ex", Type: "patch", Options: map[string]string{"peer": "int-br-ex"}}
	w := Wanted{Owner: "tunbridge", Bridges: []WantedBridge{{Name: "br-ex", MustExist: true, Ports: []WantedPort{patch}}}}
	if ops := s.Mirror().Plan(w); ops != nil {
		t.Errorf("no br-ex, and yet: %v", describe(ops))
	}
	h.vsctl("add-br", "br-ex", "--", "set", "bridge", "br-ex", "fail_mode=standalone")
	until(t, s, "br-ex", func(m *Mirror) bool { return m.Bridge("br-ex") != nil })
	m := converge(t, s, w)
	if b := m.Bridge("br-ex"); b.FailMode != "standalone" || b.Controllers != nil || len(b.Ports) != 2 {
		t.Errorf("br-ex is %+v", b)
	}
	w.Bridges[0].Ports = nil
	m = converge(t, s, w)
	if b := m.Bridge("br-ex"); len(b.Ports) != 1 || len(m.Interfaces) != 1 {
		t.Errorf("br-ex is %+v, with %d interfaces", b, len(m.Interfaces))
	}
}

// TestPlanOnStaleMirror: somebody else's controller, added since, is not swept away unseen.
func TestPlanOnStaleMirror(t *testing.T) {
	h := newHost(t)
	s := h.dial()
	commit(t, s, s.Mirror().Plan(wanted("tcp:127.0.0.1:1"))...)
	stale := s.Mirror().Plan(wanted("tcp:127.0.0.1:2"))
	h.vsctl("--no-wait", "set-controller", "br-int", "tcp:127.0.0.1:1", "tcp:127.0.0.1:9")
	_, err := s.Transact(testContext(t), stale...)
	var e *OperationError
	if !errors.As(err, &e) || e.Op.Op != "wait" {
		t.Errorf("stale plan: %v", err)
	}
	if foreign := s.Mirror().ForeignControllers("br-int", "tcp:127.0.0.1:1"); !slices.Equal(foreign, []string{"tcp:127.0.0.1:9"}) {
		t.Errorf("foreign controllers %v", foreign)
	}
}

// TestDatapathMissing: a bridge that ovs-vswitchd cannot make has no
// datapath-id when the configuration is done.
func TestDatapathMissing(t *testing.T) {
	h := newHost(t)
	h.vswitchd()
	s := h.dial()
	for datapath, made := range map[string]bool{"nosuch": false, "netdev": true} {
		w := Wanted{Bridges: []WantedBridge{{Name: "br-" + datapath, DatapathType: datapath, DatapathID: "00000000000000aa"}}}
		m := converge(t, s, w)
		if b := m.Bridge("br-" + datapath); made != (b.DatapathID != "") {
			t.Errorf("datapath type %s: datapath_id %q", datapath, b.DatapathID)
		}
	}
}

// TestVIF follows a VIF as os-vif plugs it, and keeps a note on its port.
func TestVIF(t *testing.T) {
	h := newHost(t)
	h.vswitchd()
	s := h.dial()
	converge(t, s, wanted())
	h.vsctl(strings.Fields("add-port br-int tap0 -- set interface tap0 type=dummy external_ids:iface-id=vif0")...)
	vif := func(m *Mirror) (port *Port, vif *Interface) {
		for p, i := range m.Attached(m.Bridge("br-int")) {
			if i.ExternalIDs["iface-id"] == "vif0" && i.OFPort >= 1 {
				return p, i
			}
		}
		return nil, nil
	}
	m := until(t, s, "VIF", func(m *Mirror) bool { _, i := vif(m); return i != nil })
	port, _ := vif(m)
	commit(t, s, SetPortTag(port.UUID, 12, map[string]string{"net_uuid": "n", "gone": ""})...)
	noted, i := vif(s.Mirror())
	if noted.Tag == nil || *noted.Tag != 12 || noted.OtherConfig["net_uuid"] != "n" || port.Tag != nil {
		t.Errorf("port was %s, is %s", rowText(port), rowText(noted))
	}
	commit(t, s, SetPortTag(port.UUID, 13, map[string]string{"net_uuid": ""})...)
	if noted, _ = vif(s.Mirror()); *noted.Tag != 13 || noted.OtherConfig != nil {
		t.Errorf("port is %s", rowText(noted))
	}
	// A device that cannot be opened is seen as such.
	h.vsctl("--no-wait", "set", "interface", "tap0", "type=nosuch")
	until(t, s, "loss of the device", func(m *Mirror) bool { return m.Interfaces[i.UUID].OFPort < 1 && m.Interfaces[i.UUID].Error != "" })
	h.vsctl("del-port", "tap0")
	until(t, s, "end of the VIF", func(m *Mirror) bool { return m.Interfaces[i.UUID] == nil && m.Ports[port.UUID] == nil })
}
