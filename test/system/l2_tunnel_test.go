package system

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// encapsulate puts a guest's frame into a tunnel of a type as it is on the wire, from one address to a host.
func encapsulate(networkType string, key uint32, src, dst net.HardwareAddr, from, to netip.Addr, inner []byte) []byte {
	ethernet := &layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: layers.EthernetTypeIPv4}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
	if networkType == "gre" { // RFC 2890: flags with K, the type of Ethernet frames, the key
		ip.Protocol = layers.IPProtocolGRE
		header := binary.BigEndian.AppendUint32([]byte{0x20, 0, 0x65, 0x58}, key)
		return frame(ethernet, ip, gopacket.Payload(append(header, inner...)))
	}
	header := []byte{0x08, 0, 0, 0} // RFC 7348 5: a VNI is there
	port := layers.UDPPort(4789)
	if networkType == "geneve" { // RFC 8926 3.4: no options, Ethernet
		header, port = []byte{0, 0, 0x65, 0x58}, 6081
	}
	header = binary.BigEndian.AppendUint32(header, key<<8)
	udp := &layers.UDP{SrcPort: 50000, DstPort: port}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		panic(err)
	}
	return frame(ethernet, ip, udp, gopacket.Payload(append(header, inner...)))
}

// Frames in tunnels are taken from enrolled hosts, whoever else knows the key.
func (w *layer2) strangers() {
	h, peer, stranger := w.hosts[1], w.hosts[0], netip.MustParseAddr("172.31.200.200")
	var device net.HardwareAddr
	if err := h.Do(func() error {
		i, err := net.InterfaceByName("br-phy")
		if err == nil {
			device = i.HardwareAddr
		}
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	for _, networkType := range []string{"vxlan", "gre", "geneve"} {
		n := w.network(networkType, "10.0.0.0/24")
		g, remote := w.guest(n, h, nil), w.guest(n, peer, nil)
		w.active(g, remote)
		var m marks
		m.listen(w.t, g.Namespace, "eth0", "guest", false)
		put := func(number int, from netip.Addr, key uint32) {
			w.t.Helper()
			raw := encapsulate(networkType, key, net.HardwareAddr{2, 0, 0, 9, 9, 9}, device, from, h.VTEP, remote.plain(g.mac(), number))
			if err := send(w.bed.Underlay, h.UnderlayPort(), raw); err != nil {
				w.t.Fatal(err)
			}
		}
		put(1, stranger, n.VNI)
		put(2, peer.VTEP, n.VNI+1)
		put(3, peer.VTEP, 0)
		put(4, h.VTEP, n.VNI) // its own address
		put(5, peer.VTEP, n.VNI)
		w.await("a frame from a host", func() error {
			if m.at(5, "guest") == 0 {
				return errors.New("not heard")
			}
			return nil
		})
		m.stop(w.t)
		for number := 1; number <= 4; number++ {
			if got := m.of(number); got != "[]" {
				w.t.Errorf("%s: frame %d was seen at %s", networkType, number, got)
			}
		}
	}
}

// A host's tunnel address changes while it runs, to another one and to one of IPv6; when all have those,
// tunnels of every type run over IPv6.
func (w *layer2) readdress() {
	type pair struct{ a, b *guest }
	var pairs []pair
	for _, networkType := range []string{"vxlan", "gre", "geneve"} {
		n := w.network(networkType, "10.0.0.0/24")
		pairs = append(pairs, pair{w.guest(n, w.hosts[3], nil), w.guest(n, w.hosts[4], nil)})
	}
	for _, p := range pairs {
		w.active(p.a, p.b)
		w.reaches(p.a, p.b.address())
	}
	change := func(h *testbed.Host, to netip.Addr) {
		w.t.Helper()
		if err := h.SetVTEP(to); err != nil {
			w.t.Fatal(err)
		}
		if _, err := h.Vsctl("set", "Open_vSwitch", ".", fmt.Sprintf("external_ids:tunbridge-encap-ip=%q", to)); err != nil {
			w.t.Fatal(err)
		}
	}
	enrolled := func() {
		w.t.Helper()
		for _, h := range w.hosts {
			w.await("host "+h.Name+" enrolled with its address", func() error {
				state, err := w.host(h.Name)
				if err == nil {
					err = is(state.EncapIP, h.VTEP.String())
				}
				if err == nil {
					err = unsettled(state)
				}
				return err
			})
		}
		if err := w.bed.WarmTunnels(); err != nil {
			w.t.Fatal(err)
		}
	}
	all := func(how string) {
		w.t.Helper()
		start := time.Now()
		for _, p := range pairs {
			w.reaches(p.a, p.b.address())
			w.reaches(p.b, p.a.address())
		}
		w.t.Logf("%s: all pairs reach each other again after %s", how, time.Since(start).Round(time.Millisecond))
	}
	first := w.hosts[3].VTEP
	change(w.hosts[3], netip.MustParseAddr("172.31.7.7"))
	enrolled()
	all("another address")
	change(w.hosts[3], first)

	olds := make([]netip.Addr, len(w.hosts))
	for i, h := range w.hosts {
		olds[i] = h.VTEP
		change(h, netip.MustParseAddr("fd31::"+strconv.Itoa(i+1)))
	}
	enrolled()
	all("IPv6 underlay")
	wire, err := w.bed.Underlay.Capture(w.hosts[3].UnderlayPort(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range pairs {
		if r, err := p.a.Ping(p.b.address(), 5, 5*time.Millisecond); err != nil || r.Lost() > 0 {
			w.t.Errorf("over IPv6: %s, error %v", r, err)
		}
	}
	frames, err := wire.Stop()
	if err != nil {
		w.t.Fatal(err)
	}
	seen := map[string]int{} // by next header and port (RFC 8200 3)
	for _, f := range frames {
		if len(f.Raw) < 58 || binary.BigEndian.Uint16(f.Raw[12:]) != 0x86dd {
			continue
		}
		switch header := f.Raw[14+6]; {
		case header == 47:
			seen["gre"]++
		case header == 17 && slices.Contains([]uint16{4789, 6081}, binary.BigEndian.Uint16(f.Raw[14+40+2:])):
			seen[map[uint16]string{4789: "vxlan", 6081: "geneve"}[binary.BigEndian.Uint16(f.Raw[14+40+2:])]]++
		}
	}
	for _, networkType := range []string{"vxlan", "gre", "geneve"} {
		if seen[networkType] < 10 {
			w.t.Errorf("%d frames of %s over IPv6 on the wire, want 10", seen[networkType], networkType)
		}
	}
	for i, h := range w.hosts {
		change(h, olds[i])
	}
	enrolled()
	all("IPv4 again")
	if out, err := w.hosts[3].Ofctl("dump-flows", "br-tun"); err != nil || strings.Contains(out, "tun_ipv6") {
		w.t.Errorf("br-tun still has flows for IPv6, error %v:\n%s", err, out)
	}
}
