package system

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// sent is a frame that a guest tries to send, and whether it may.
type sent struct {
	what   string
	frame  []byte
	passes bool
}

// attempts are what a guest of a network may and may not send. tags are VLAN IDs that mean something to
// somebody on its host.
func attempts(g, victim *guest, tags []uint32) []sent {
	own, own6 := g.address(), netip.MustParseAddr(g.port.FixedIPs[1].Address)
	foreign, foreign6 := netip.MustParseAddr("10.0.0.99"), netip.MustParseAddr("fd00::99")
	nobody, nobody6 := netip.MustParseAddr("10.0.0.77"), netip.MustParseAddr("fd00::77")
	udp := func(src net.HardwareAddr, from netip.Addr, fromPort, toPort layers.UDPPort) []byte {
		return udpFrame(src, broadcastMAC, from.AsSlice(), net.IPv4bcast, fromPort, toPort, []byte("x"))
	}
	plain := udp(g.mac(), own, 1000, 2000)
	list := []sent{
		{"its own", plain, true},
		{"another port's MAC", udp(victim.mac(), own, 1000, 2000), false},
		{"another port's MAC and address", udp(victim.mac(), victim.address(), 1000, 2000), false},
		{"an address that it does not have", udp(g.mac(), foreign, 1000, 2000), false},
		{"another port's address", udp(g.mac(), victim.address(), 1000, 2000), false},
		{"its own IPv6", udp6Frame(g.mac(), allNodesMAC, own6, allNodes, 1000, 2000), true},
		{"an IPv6 address that it does not have", udp6Frame(g.mac(), allNodesMAC, foreign6, allNodes, 1000, 2000), false},
		{"an IPv4-mapped source", udp6Frame(g.mac(), allNodesMAC, netip.AddrFrom16(own.As16()), allNodes, 1000, 2000), false},
		{"ARP request", arpFrame(g.mac(), broadcastMAC, 1, g.mac(), own, nobody), true},
		{"gratuitous ARP", arpFrame(g.mac(), broadcastMAC, 1, g.mac(), own, own), true},
		{"ARP probe for its address", arpFrame(g.mac(), broadcastMAC, 1, g.mac(), netip.IPv4Unspecified(), own), true},
		{"ARP probe for another's", arpFrame(g.mac(), broadcastMAC, 1, g.mac(), netip.IPv4Unspecified(), foreign), false},
		{"ARP with a wrong sender address", arpFrame(g.mac(), broadcastMAC, 1, g.mac(), foreign, nobody), false},
		{"ARP with a wrong sender MAC", arpFrame(g.mac(), broadcastMAC, 1, victim.mac(), own, nobody), false},
		{"ARP reply that takes another's address", arpFrame(g.mac(), broadcastMAC, 2, g.mac(), victim.address(), own), false},
		{"neighbour solicitation", solicitationFrame(g.mac(), own6, nobody6), true},
		{"duplicate-address detection", solicitationFrame(g.mac(), netip.IPv6Unspecified(), own6), true},
		{"duplicate-address detection for another's", solicitationFrame(g.mac(), netip.IPv6Unspecified(), foreign6), false},
		{"neighbour advertisement", announcementFrame(g.mac(), own6, own6, g.mac()), true},
		{"advertisement of another's address", announcementFrame(g.mac(), own6, foreign6, g.mac()), false},
		{"advertisement with another's MAC", announcementFrame(g.mac(), own6, own6, victim.mac()), false},
		{"router advertisement", routerFrame(g.mac(), own6), false},
		{"redirect", icmp6Frame(g.mac(), allNodesMAC, own6, allNodes, 137, make([]byte, 36)), false},
		{"DHCP server", udp(g.mac(), own, 67, 68), false},
		{"DHCPv6 server", udp6Frame(g.mac(), allNodesMAC, own6, allNodes, 547, 546), false},
		{"spanning tree", append(net.HardwareAddr{0x01, 0x80, 0xc2, 0, 0, 0}, plain[6:]...), false},
		{"another EtherType", append(append(plain[:12:12], 0x88, 0xb5), plain[14:]...), false},
		{"priority tag", tagged(plain, 0x8100<<16), true},
	}
	return append(list, tagAttempts(plain, tags)...)
}

// tagAttempts are tagged frames: none goes anywhere.
func tagAttempts(plain []byte, tags []uint32) (list []sent) {
	for _, vid := range tags {
		list = append(list, sent{fmt.Sprintf("802.1Q tag %d", vid), tagged(plain, 0x8100<<16|vid), false})
	}
	first, second := 0x8100<<16|tags[0], 0x8100<<16|tags[1]
	return append(list,
		sent{"802.1Q tag with a priority", tagged(plain, 5<<13|first), false},
		sent{"two 802.1Q tags", tagged(plain, first, second), false},
		sent{"priority tag before an 802.1Q tag", tagged(plain, 0x8100<<16, first), false},
		sent{"802.1ad tag", tagged(plain, 0x88a8<<16|tags[0]), false},
		sent{"802.1ad tag before an 802.1Q tag", tagged(plain, 0x88a8<<16|tags[0], second), false})
}

// On networks of every type a guest's frames reach the members of its network if they are its own, and
// otherwise nobody and no wire. A port without port security may send what it likes, but no VLAN tag.
func (w *layer2) spoof() {
	type scene struct {
		network     *network
		guest, free *guest
		near, far   *guest
	}
	var scenes []*scene
	var all []*guest
	tags := []uint32{1, 2, 3, 4, 5, 6, 7, 8, 4095} // local VLANs first
	for _, networkType := range allTypes {
		s := &scene{network: w.network(networkType, "10.0.0.0/24", "fd00::/64")}
		s.guest, s.near = w.guest(s.network, w.hosts[0], nil), w.guest(s.network, w.hosts[0], nil)
		s.free = w.guest(s.network, w.hosts[0], object{"port_security_enabled": false})
		all = append(all, s.guest, s.near, s.free)
		if networkType != "local" {
			s.far = w.guest(s.network, w.hosts[1], nil)
			all = append(all, s.far)
		}
		if networkType == "vlan" {
			tags = append(tags, s.network.VNI)
		}
		scenes = append(scenes, s)
	}
	w.active(all...)

	var m marks
	for i, s := range scenes {
		m.listen(w.t, s.near.Namespace, "eth0", "near"+strconv.Itoa(i), false)
		if s.far != nil {
			m.listen(w.t, s.far.Namespace, "eth0", "far"+strconv.Itoa(i), false)
		}
	}
	m.listen(w.t, w.bed.Underlay, w.hosts[0].UnderlayPort(), "underlay", true)
	m.listen(w.t, w.physnet.Namespace, w.physnet.Port(w.hosts[0]), "physnet", true)

	type attempt struct {
		sent
		scene  *scene
		from   *guest
		places map[string]int // where it is to be seen, once
	}
	var tried []attempt // a frame carries the number of its place here, counted from 1
	try := func(list ...attempt) {
		w.t.Helper()
		var frames [][]byte
		for _, a := range list {
			tried = append(tried, a)
			frames = append(frames, mark(a.frame, len(tried)))
		}
		if err := send(list[0].from.Namespace, "eth0", frames...); err != nil {
			w.t.Fatal(err)
		}
	}
	for i, s := range scenes {
		passes := map[string]int{"near" + strconv.Itoa(i): 1}
		switch s.network.Name {
		case "local":
		case "vlan", "flat":
			passes["far"+strconv.Itoa(i)], passes["physnet"] = 1, 1
		default:
			passes["far"+strconv.Itoa(i)], passes["underlay"] = 1, 1
		}
		by := func(g *guest, frames []sent) (list []attempt) {
			for _, frame := range frames {
				a := attempt{sent: frame, scene: s, from: g}
				if frame.passes {
					a.places = passes
				}
				list = append(list, a)
			}
			return list
		}
		plain := s.free.datagram(broadcastMAC)
		try(by(s.guest, attempts(s.guest, s.near, tags))...)
		try(by(s.free, append(tagAttempts(plain, tags), sent{"what its neighbour would send", s.guest.datagram(broadcastMAC), true}, sent{"its own", plain, true}))...)
	}

	// A busy userspace datapath may lose a frame: its guest sends it again. One that turns up where it
	// should not, or twice, has no such excuse.
	for i, spare := 0, 20; i < len(tried); i++ {
		a := tried[i]
		missing := func() bool {
			for place := range a.places {
				if m.at(i+1, place) == 0 {
					return true
				}
			}
			return false
		}
		for since := time.Now(); missing() && time.Since(since) < time.Second; {
			time.Sleep(5 * time.Millisecond)
		}
		if !missing() {
			continue
		}
		if spare--; spare < 0 {
			w.t.Fatal("too many frames are lost")
		}
		w.t.Logf("%s: %s of %s is sent again: seen at %s of %v", a.scene.network.Name, a.what, a.from.port.ID, m.of(i+1), a.places)
		try(a)
	}
	m.stop(w.t)
	for i, a := range tried {
		m.mu.Lock()
		for place, n := range m.seen[i+1] {
			if n > a.places[place] {
				w.t.Errorf("%s: %s of %s: seen at %s %d times, want %d", a.scene.network.Name, a.what, a.from.port.ID, place, n, a.places[place])
			}
		}
		m.mu.Unlock()
	}
}

// What is behind a port without port security, with a MAC that no API knows, is reached by unicast that
// no other port hears. The port says so itself, or its network does.
func (w *layer2) nested() {
	for _, networkType := range []string{"vxlan", "gre", "geneve", "vlan", "flat"} {
		n := w.network(networkType, "10.0.0.0/24")
		off, on := object{"port_security_enabled": false}, object(nil)
		if networkType == "gre" || networkType == "flat" {
			w.must(http.MethodPut, "/v2.0/networks/"+n.ID, object{"network": off}, nil)
			off, on = nil, object{"port_security_enabled": true}
		}
		open, other := w.guest(n, w.hosts[1], off), w.guest(n, w.hosts[2], off)
		near, far, third := w.guest(n, w.hosts[1], on), w.guest(n, w.hosts[0], on), w.guest(n, w.hosts[2], on)
		w.active(open, other, near, far, third)
		nested := netip.MustParseAddr("10.0.0.200")
		for _, args := range [][]string{{"link", "set", "eth0", "address", "02:00:00:00:02:00"}, {"addr", "add", "10.0.0.200/24", "dev", "eth0"}} {
			if _, err := open.Exec("ip", args...); err != nil {
				w.t.Fatal(err)
			}
		}
		var m marks
		m.listen(w.t, near.Namespace, "eth0", "near", false)
		m.listen(w.t, third.Namespace, "eth0", "third", false)
		m.listen(w.t, open.Namespace, "eth0", "open", false)
		m.listen(w.t, other.Namespace, "eth0", "other", false)
		nobody := net.HardwareAddr{2, 0, 0, 0, 9, 9}
		if err := send(far.Namespace, "eth0", far.plain(nobody, 1)); err != nil {
			w.t.Fatal(err)
		}
		w.await("unknown unicast", func() error {
			if m.at(1, "open") == 0 || m.at(1, "other") == 0 {
				return fmt.Errorf("seen at %s", m.of(1))
			}
			return nil
		})
		w.reaches(far, nested) // an ARP request for an address of no port, and its answer
		w.reaches(near, nested)
		number := 1
		w.await("unicast to a learnt MAC", func() error { // once the switches have learnt it
			number++
			if err := send(far.Namespace, "eth0", far.plain(net.HardwareAddr{2, 0, 0, 0, 2, 0}, number)); err != nil {
				return err
			}
			time.Sleep(20 * time.Millisecond)
			return is(m.of(number), "[open:1]")
		})
		m.stop(w.t)
		for number := range number {
			if seen := m.of(number + 1); strings.Contains(seen, "near") || strings.Contains(seen, "third") {
				w.t.Errorf("%s: unicast to a MAC of no port was seen at %s", networkType, seen)
			}
		}
	}
}

// A port that may send from everywhere costs the switches no megaflow per source.
func (w *layer2) megaflows() {
	n := w.network("vxlan", "10.0.0.0/24", "fd00::/64")
	wide := w.guest(n, w.hosts[0], object{"allowed_address_pairs": []object{{"ip_address": "0.0.0.0/0"}, {"ip_address": "::/0"}}})
	near, far := w.guest(n, w.hosts[0], nil), w.guest(n, w.hosts[1], nil)
	w.active(wide, near, far)
	w.reaches(wide, far.address())
	w.reaches(wide, near.address())

	count := func(h *testbed.Host) int {
		out, err := h.Appctl("dpctl/dump-flows")
		if err != nil {
			w.t.Fatal(err)
		}
		return strings.Count(out, "actions:")
	}
	const sources = 1000
	to6 := netip.MustParseAddr(far.port.FixedIPs[1].Address)
	var m marks
	m.listen(w.t, near.Namespace, "eth0", "near", false)
	m.listen(w.t, far.Namespace, "eth0", "far", false)
	before := []int{count(w.hosts[0]), count(w.hosts[1])}
	var frames [][]byte
	for i := range sources {
		from := net.IPv4(byte(11+i%200), byte(i>>8), byte(i), 7)
		from6 := netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 2: 0xd, 3: 0xb8, 14: byte(i >> 8), 15: byte(i)})
		frames = append(frames,
			mark(udpFrame(wide.mac(), far.mac(), from, far.address().AsSlice(), 1000, 2000, nil), 1),
			mark(udpFrame(wide.mac(), near.mac(), from, near.address().AsSlice(), 1000, 2000, nil), 2),
			mark(udp6Frame(wide.mac(), far.mac(), from6, to6, 1000, 2000), 3))
		if len(frames) == 60 {
			if err := send(wide.Namespace, "eth0", frames...); err != nil {
				w.t.Fatal(err)
			}
			frames = frames[:0]
			time.Sleep(2 * time.Millisecond)
		}
	}
	if err := send(wide.Namespace, "eth0", frames...); err != nil {
		w.t.Fatal(err)
	}
	w.await("frames from a thousand sources", func() error {
		for number, place := range map[int]string{1: "far", 2: "near", 3: "far"} {
			if got := m.at(number, place); got < sources*9/10 { // the sockets may drop some
				return fmt.Errorf("%d of kind %d arrived", got, number)
			}
		}
		return nil
	})
	for i, h := range w.hosts[:2] {
		after := count(h)
		w.t.Logf("host %s: %d megaflows, before %d sources %d", h.Name, after, sources, before[i])
		if after-before[i] > sources/10 { // one a source would be 1000; what else goes on here makes some
			w.t.Errorf("host %s: %d sources made %d more megaflows", h.Name, sources, after-before[i])
		}
	}
	m.stop(w.t)
}
