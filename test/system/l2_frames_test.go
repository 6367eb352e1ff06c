package system

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// frame puts layers into bytes.
func frame(l ...gopacket.SerializableLayer) []byte {
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, l...); err != nil {
		panic(err) // of what a test made
	}
	return buffer.Bytes()
}

// arpFrame is an ARP packet: op 1 asks, 2 answers (RFC 826).
func arpFrame(src, dst net.HardwareAddr, op uint16, sha net.HardwareAddr, spa, tpa netip.Addr) []byte {
	return frame(&layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: op,
			SourceHwAddress: sha, SourceProtAddress: spa.AsSlice(), DstHwAddress: make([]byte, 6), DstProtAddress: tpa.AsSlice()})
}

// icmp6Frame is an ICMPv6 packet whose body, after the checksum, is given.
func icmp6Frame(src, dst net.HardwareAddr, from, to netip.Addr, typ uint8, body []byte) []byte {
	ip := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(typ, 0)}
	if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
		panic(err)
	}
	return frame(&layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: layers.EthernetTypeIPv6}, ip, icmp, gopacket.Payload(body))
}

var (
	allNodes    = netip.MustParseAddr("ff02::1")
	allNodesMAC = net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
)

// solicitationFrame asks for target (RFC 4861 4.3), from the solicited-node multicast address on.
func solicitationFrame(src net.HardwareAddr, from, target netip.Addr) []byte {
	t := target.As16()
	group := netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: t[13], 14: t[14], 15: t[15]})
	body := append(make([]byte, 4), t[:]...)
	if !from.IsUnspecified() {
		body = append(append(body, 1, 1), src...)
	}
	return icmp6Frame(src, net.HardwareAddr{0x33, 0x33, 0xff, t[13], t[14], t[15]}, from, group, 135, body)
}

// announcementFrame is an unsolicited neighbour advertisement (RFC 4861 4.4).
func announcementFrame(src net.HardwareAddr, from, target netip.Addr, lla net.HardwareAddr) []byte {
	body := append([]byte{0x20, 0, 0, 0}, target.AsSlice()...)
	return icmp6Frame(src, allNodesMAC, from, allNodes, 136, append(append(body, 2, 1), lla...))
}

// routerFrame is a router advertisement (RFC 4861 4.2).
func routerFrame(src net.HardwareAddr, from netip.Addr) []byte {
	return icmp6Frame(src, allNodesMAC, from, allNodes, 134, []byte{64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0})
}

// udp6Frame is a UDP datagram over IPv6.
func udp6Frame(src, dst net.HardwareAddr, from, to netip.Addr, fromPort, toPort layers.UDPPort) []byte {
	ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
	udp := &layers.UDP{SrcPort: fromPort, DstPort: toPort}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		panic(err)
	}
	return frame(&layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: layers.EthernetTypeIPv6}, ip, udp, gopacket.Payload("x"))
}

// tagged puts VLAN tags into a frame, the outermost first: the type above, the TCI below.
func tagged(f []byte, tags ...uint32) []byte {
	out := append([]byte(nil), f[:12]...)
	for _, t := range tags {
		out = binary.BigEndian.AppendUint32(out, t)
	}
	return append(out, f[12:]...)
}
