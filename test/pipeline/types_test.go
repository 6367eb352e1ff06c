package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

// types are the six network types, all with the same segmentation id where they have one, and a GRE key
// of 32 bits.
var types = []struct {
	name, networkType string
	segmentationID    uint32
}{
	{"local", model.TypeLocal, 0}, {"flat", model.TypeFlat, 0}, {"vlan", model.TypeVLAN, 77}, {"vxlan", model.TypeVXLAN, 77},
	{"gre", model.TypeGRE, 77}, {"geneve", model.TypeGeneve, 77}, {"wide", model.TypeGRE, 0xfffffff1},
}

// everyType is a network of each type on two hosts, with the same addresses in all, and two ports on
// either host: 10+i and 20+i of network i.
func everyType() *topology {
	t := newTopology()
	h1, h2 := t.host(1), t.host(2)
	for i, kind := range types {
		net := t.segment(1+i, kind.networkType, kind.segmentationID)
		t.vlans[vlanKey{"h1", net.ID}], t.vlans[vlanKey{"h2", net.ID}] = uint16(76+i), uint16(101+i)
		for j, h := range []*model.Host{h1, h2} {
			t.port(0x10*(1+i)+2*j, net, h, uint32(10+i), fmt.Sprintf("10.0.0.%d", 1+2*j))
			t.port(0x10*(1+i)+2*j+1, net, h, uint32(20+i), fmt.Sprintf("10.0.0.%d", 2+2*j))
		}
	}
	return t
}

// fabric is switches with a network between them.
type fabric struct {
	*topology
	switches map[string]*realSwitch
}

func newFabric(t *testing.T, top *topology) (*fabric, map[string]*flows.Compiler) {
	wanted := map[string]*flows.Compiler{}
	for _, h := range top.hosts {
		wanted[h.Hostname] = compile(t, top.view(h), features()...)
	}
	return &fabric{top, newSwitches(t, top, wanted)}, wanted
}

// send lets a port send a packet and says which ports get it, "h2/v12", sorted.
func (f *fabric) send(from *model.Port, packet string) (got []string) {
	packet = fmt.Sprintf("dl_src=%s,%s", from.MACAddress, packet)
	went, _ := f.switches[from.HostID].trace("br-int", fmt.Sprintf("in_port=%d,%s", f.vifs[from.ID].ofport, packet))
	if strings.HasPrefix(went, "drop") {
		return nil
	}
	arrive := func(h *model.Host, bridge, packet string) {
		went, _ := f.switches[h.Hostname].trace(bridge, packet)
		for _, copy := range strings.Fields(went) {
			if strings.HasPrefix(copy, "v") {
				got = append(got, h.Hostname+"/"+copy)
			}
		}
	}
	for _, copy := range strings.Fields(went) {
		to, segment, _ := strings.Cut(copy, "/")
		for _, h := range f.hosts {
			switch kind, addr, ok := strings.Cut(to, ":"); {
			case strings.HasPrefix(copy, "v"):
				if h.Hostname == from.HostID {
					got = append(got, h.Hostname+"/"+copy)
				}
			case h.Hostname == from.HostID:
			case to == "wire" && segment == "":
				arrive(h, "br-int", fmt.Sprintf("in_port=%d,%s", uplink, packet))
			case to == "wire":
				arrive(h, "br-int", fmt.Sprintf("in_port=%d,dl_vlan=%s,%s", uplink, segment, packet))
			case ok && addr == h.EncapIP.String() || to == h.EncapIP.String():
				if !ok {
					kind = model.TypeVXLAN
				}
				arrive(h, "br-tun", fmt.Sprintf("in_port=%d,tun_src=%s,tun_dst=%s,tun_id=%s,%s", bridgePorts.Tunnel(kind), f.sender(from).EncapIP, h.EncapIP, segment, packet))
			}
		}
	}
	slices.Sort(got)
	return got
}

func (f *fabric) sender(p *model.Port) *model.Host {
	return f.hosts[slices.IndexFunc(f.hosts, func(h *model.Host) bool { return h.Hostname == p.HostID })]
}

// reach are the ports that a broadcast of p must reach.
func (f *fabric) reach(p *model.Port) (ports []string) {
	for _, q := range f.ports {
		if q.ID != p.ID && q.NetworkID == p.NetworkID && (q.HostID == p.HostID || f.typeOf(p) != model.TypeLocal) {
			ports = append(ports, f.name(q))
		}
	}
	slices.Sort(ports)
	return ports
}

func (f *fabric) typeOf(p *model.Port) string {
	i := slices.IndexFunc(f.networks, func(n *model.Network) bool { return n.ID == p.NetworkID })
	return f.networks[i].Segment.NetworkType
}

func (f *fabric) name(p *model.Port) string {
	return fmt.Sprintf("%s/v%d", p.HostID, f.vifs[p.ID].ofport)
}

// All types at once: each port reaches those of its network, on both hosts but for a local one, and no
// other, whatever it sends.
func TestEveryType(t *testing.T) {
	f, _ := newFabric(t, everyType())
	for _, h := range f.hosts {
		golden(t, "types-"+h.Hostname+".txt", networksOnly(compile(t, f.view(h), features()...).Plan()))
	}
	for _, p := range f.ports {
		ip := "ip,nw_src=" + p.FixedIPs[0].IPAddress.String()
		all := f.reach(p)
		if got := f.send(p, "dl_dst=ff:ff:ff:ff:ff:ff,"+ip); !slices.Equal(got, all) {
			t.Errorf("%s of the %s network: a broadcast reached %v, want %v", f.name(p), f.typeOf(p), got, all)
		}
		for _, q := range f.ports {
			var want []string
			if slices.Contains(all, f.name(q)) {
				want = []string{f.name(q)}
			}
			if got := f.send(p, fmt.Sprintf("dl_dst=%s,%s", q.MACAddress, ip)); !slices.Equal(got, want) && p.ID != q.ID {
				t.Errorf("%s of the %s network to %s of the %s network: reached %v, want %v", f.name(p), f.typeOf(p), f.name(q), f.typeOf(q), got, want)
			}
		}
		if got := f.send(p, "dl_dst=fa:16:3e:99:99:99,"+ip); got != nil {
			t.Errorf("%s of the %s network: unicast to nobody reached %v", f.name(p), f.typeOf(p), got)
		}
		// A guest with 802.1Q of its own reaches nobody: not the local VLANs, not the provider's.
		for _, tag := range []int{1, 76, 77, 78, 79, 80, 81, 82, 101, 102, 103, 4095} {
			if got := f.send(p, fmt.Sprintf("dl_vlan=%d,dl_dst=ff:ff:ff:ff:ff:ff,%s", tag, ip)); got != nil {
				t.Errorf("%s of the %s network with tag %d: reached %v", f.name(p), f.typeOf(p), tag, got)
			}
		}
	}
}

// A guest that may send anything may not send a VLAN tag behind a priority tag either: once that one is
// taken off, the other would be the frame's on a flat network's wire.
func TestTagBehindPriorityTag(t *testing.T) {
	top := everyType()
	for _, p := range top.ports {
		p.PortSecurityEnabled = false
	}
	f, _ := newFabric(t, top)
	s := f.switches["h1"]
	const broadcast, ip = "ffffffffffff0200000000aa", "08004500001c000000004011000001020304ffffffff00010002000800000000"
	for _, limit := range []string{"1", "0", "2"} { // how many tags Open vSwitch looks into; 0 is all
		s.vsctl("set Open_vSwitch . other_config:vlan-limit=%s", limit)
		for _, p := range f.ports {
			if p.HostID != "h1" {
				continue
			}
			port := f.vifs[p.ID].ofport
			if went, _ := s.traceFrame(port, broadcast+"81000000"+ip); strings.HasPrefix(went, "drop") {
				t.Fatalf("vlan-limit %s: a priority-tagged frame from %s: %s", limit, f.name(p), went)
			}
			for _, tags := range []string{"8100004d", "81000000" + "8100004d", "81000000" + "88a8004d", "81000000" + "81000000" + "8100004d", "88a80000" + "8100004d"} {
				if went, final := s.traceFrame(port, broadcast+tags+ip); !strings.HasPrefix(went, "drop") {
					t.Errorf("vlan-limit %s: %s from the %s network went to %s as %s", limit, tags, f.typeOf(p), went, final)
				}
			}
		}
	}
}

// networksOnly leaves out of a plan what is there for hosts; see h1.txt for that.
func networksOnly(p *flows.Plan) string {
	var s strings.Builder
	for line := range strings.Lines(p.String()) {
		if !strings.Contains(line, ": host ") && !strings.Contains(line, ": peer ") {
			s.WriteString(line)
		}
	}
	return s.String()
}

// What a frame of each type looks like on the wire, and what is taken from there.
func TestWireFormat(t *testing.T) {
	f, _ := newFabric(t, everyType())
	s := f.switches["h1"]
	for i, kind := range types {
		ours, theirs := f.ports[4*i], f.ports[4*i+2]
		went, final := s.trace("br-int", fmt.Sprintf("in_port=%d,dl_src=%s,dl_dst=%s,ip,nw_src=%s", f.vifs[ours.ID].ofport, ours.MACAddress, theirs.MACAddress, ours.FixedIPs[0].IPAddress))
		want := map[string]string{"local": "drop in br-int 60 l2", "flat": "wire", "vlan": "wire/77", "vxlan": "172.31.0.2/77",
			"gre": "gre:172.31.0.2/77", "geneve": "geneve:172.31.0.2/77", "wide": "gre:172.31.0.2/4294967281"}[kind.name]
		if went != want {
			t.Errorf("%s: went to %s, want %s", kind.name, went, want)
		}
		if tagged := strings.Contains(final, "dl_vlan=77"); tagged != (kind.name == "vlan") || strings.Contains(final, "vlan_tci1=0x1") {
			t.Errorf("%s: on the wire: %s", kind.name, final)
		}
	}
	to := func(name string) string {
		i := slices.IndexFunc(types, func(k struct {
			name, networkType string
			segmentationID    uint32
		}) bool {
			return k.name == name
		})
		return fmt.Sprintf("dl_src=fa:16:3e:aa:aa:aa,dl_dst=%s,ip", f.ports[4*i].MACAddress)
	}
	const everyone = "dl_src=fa:16:3e:aa:aa:aa,dl_dst=ff:ff:ff:ff:ff:ff,"
	const tunnel = "tun_src=172.31.0.2,tun_dst=172.31.0.1,"
	for _, tc := range []struct{ bridge, packet, went string }{
		{"br-int", "in_port=2," + to("flat"), "v11"},
		{"br-int", "in_port=2,dl_vlan=0,dl_vlan_pcp=3," + to("flat"), "v11"},
		{"br-int", "in_port=2," + everyone + "ip", "v11 v21"},
		{"br-int", "in_port=2,dl_vlan=77," + to("vlan"), "v12"},
		{"br-int", "in_port=2,dl_vlan=77," + everyone + "ip", "v12 v22"},
		{"br-int", "in_port=2,dl_vlan=77," + everyone + "arp,arp_op=1,arp_tpa=10.0.0.1", "v12 v22"},
		{"br-int", "in_port=2,dl_vlan=77," + everyone + "udp,nw_src=0.0.0.0,nw_dst=255.255.255.255,udp_src=68,udp_dst=67", "v12 v22"},
		{"br-int", "in_port=2," + to("vlan"), "drop in br-int 90 output"},
		{"br-int", "in_port=2,dl_vlan=77," + to("flat"), "drop in br-int 90 output"},
		{"br-int", "in_port=2,dl_vlan=78," + to("vlan"), "drop in br-int 0 classify"}, // the network's local VLAN
		{"br-int", "in_port=2,dl_vlan=79," + everyone + "ip", "drop in br-int 0 classify"},
		{"br-tun", "in_port=4,tun_id=77," + tunnel + to("vxlan"), "v13"},
		{"br-tun", "in_port=5,tun_id=77," + tunnel + to("gre"), "v14"},
		{"br-tun", "in_port=6,tun_id=77," + tunnel + to("geneve"), "v15"},
		{"br-tun", "in_port=5,tun_id=4294967281," + tunnel + to("wide"), "v16"},
		{"br-tun", "in_port=4,tun_id=77," + tunnel + to("gre"), "drop in br-int 90 output"},
		{"br-tun", "in_port=4,tun_id=4294967281," + tunnel + to("wide"), "drop in br-tun 4 from_vxlan"},
		{"br-tun", "in_port=5,tun_id=0," + tunnel + to("gre"), "drop in br-tun 3 from_gre"},
		{"br-tun", "in_port=5,tun_id=77,tun_src=172.31.0.66,tun_dst=172.31.0.1," + to("gre"), "drop in br-tun 0 classify"},
		{"br-tun", "in_port=6,tun_id=77,tun_src=172.31.0.66,tun_dst=172.31.0.1," + to("geneve"), "drop in br-tun 0 classify"},
	} {
		if went, _ := s.trace(tc.bridge, tc.packet); went != tc.went {
			t.Errorf("%s %s\n got %s\nwant %s", tc.bridge, tc.packet, went, tc.went)
		}
	}
}
