package system

import (
	"errors"
	"fmt"
	"net"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// udpFrame is an Ethernet frame with a UDP datagram over IPv4.
func udpFrame(src, dst net.HardwareAddr, from, to net.IP, fromPort, toPort layers.UDPPort, payload []byte) []byte {
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from, DstIP: to}
	udp := &layers.UDP{SrcPort: fromPort, DstPort: toPort}
	buffer := gopacket.NewSerializeBuffer()
	err := errors.Join(udp.SetNetworkLayerForChecksum(ip), gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: layers.EthernetTypeIPv4}, ip, udp, gopacket.Payload(payload)))
	if err != nil {
		panic(err) // of what a test made
	}
	return buffer.Bytes()
}

// plainFrame is what one port's guest sends to another's.
func plainFrame(from, to *port) []byte {
	return udpFrame(from.vif().MAC, to.vif().MAC, net.ParseIP(from.address()), net.ParseIP(to.address()), 1000, 2000, []byte("hello"))
}

// dhcpFrame is what a guest broadcasts before it has an address.
func dhcpFrame(p *port, kind dhcpv4.MessageType, more ...dhcpv4.Modifier) []byte {
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(p.vif().MAC), dhcpv4.WithMessageType(kind)}, more...)...)
	if err != nil {
		panic(err)
	}
	return udpFrame(p.vif().MAC, layers.EthernetBroadcast, net.IPv4zero, net.IPv4bcast, 68, 67, m.ToBytes())
}

// dhcpAnswers reads the DHCP answers that a host has sent out of a VIF.
func (d *deployment) dhcpAnswers(h *testbed.CheapHost, p *port) []*dhcpv4.DHCPv4 {
	d.t.Helper()
	frames, err := h.Sent(p.device())
	if err != nil {
		d.t.Fatal(err)
	}
	var answers []*dhcpv4.DHCPv4
	for _, f := range frames {
		packet := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default)
		udp, ok := packet.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if !ok || udp.DstPort != 68 {
			continue
		}
		m, err := dhcpv4.FromBytes(udp.Payload)
		if err != nil {
			d.t.Fatalf("port %s was sent a DHCP answer that cannot be read: %v: %x", p.ID, err, f)
		}
		answers = append(answers, m)
	}
	return answers
}

// ask has a port's guest broadcast a DHCP message and waits for the answer.
func (d *deployment) ask(h *testbed.CheapHost, p *port, kind dhcpv4.MessageType, more ...dhcpv4.Modifier) (answer *dhcpv4.DHCPv4) {
	d.t.Helper()
	had := len(d.dhcpAnswers(h, p))
	if err := h.Inject(p.device(), dhcpFrame(p, kind, more...)); err != nil {
		d.t.Fatal(err)
	}
	d.await(fmt.Sprintf("an answer to %v of port %s", kind, p.ID), func() error {
		answers := d.dhcpAnswers(h, p)
		if len(answers) <= had {
			return errors.New("none")
		}
		answer = answers[had]
		return nil
	})
	return answer
}
