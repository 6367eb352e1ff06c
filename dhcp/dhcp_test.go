package dhcp

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/google/uuid"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

var (
	portMAC  = model.MAC{0xfa, 0x16, 0x3e, 0, 0, 5}
	pairMAC  = model.MAC{0, 0, 0x5e, 0, 1, 1}
	otherMAC = model.MAC{0xfa, 0x16, 0x3e, 0, 0, 6}
	dhcpMAC  = model.MAC{0xfa, 0x16, 0x3e, 0, 0, 2}
	relayMAC = model.MAC{2, 0, 0, 0, 0, 0x77}
)

func addr(s string) netip.Addr      { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix  { return netip.MustParsePrefix(s) }
func id(last byte) (u uuid.UUID)    { u[0], u[15] = 0xa0, last; return u }
func ip(a netip.Addr) net.IP        { return a.AsSlice() }
func common(last byte) model.Common { return model.Common{ID: id(last)} }

// tb is what a test, a benchmark and a property have in common.
type tb interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// network has four subnets: 10.0.0.0/24 and 10.0.1.0/24 with DHCP, 10.0.2.0/24 without, and one of
// IPv6. The DHCP port has an address in the first, the second and the IPv6 one.
func network() *flows.Network {
	subnet := func(last byte, cidr, gateway string, dhcp bool) *model.Subnet {
		s := &model.Subnet{Common: common(last), CIDR: prefix(cidr), EnableDHCP: dhcp}
		if gateway != "" {
			s.GatewayIP = addr(gateway)
		}
		return s
	}
	n := &flows.Network{
		Network:   &model.Network{Common: common(1), MTU: 1450},
		LocalVLAN: 7,
		Subnets: []*model.Subnet{subnet(10, "10.0.0.0/24", "10.0.0.1", true), subnet(11, "10.0.1.0/24", "", true),
			subnet(12, "10.0.2.0/24", "", false), subnet(13, "2001:db8::/64", "2001:db8::1", true)},
		DHCP: &model.Port{Common: common(2), MACAddress: dhcpMAC, FixedIPs: []model.FixedIP{{SubnetID: id(13), IPAddress: addr("2001:db8::2")},
			{SubnetID: id(10), IPAddress: addr("10.0.0.2")}, {SubnetID: id(11), IPAddress: addr("10.0.1.2")}}},
	}
	n.Subnets[0].DNSNameservers = []netip.Addr{addr("9.9.9.9"), addr("2620:fe::fe"), addr("1.1.1.1")}
	return n
}

// port has an address in the subnet without DHCP first, then one in each other.
func port() *flows.LocalPort {
	return &flows.LocalPort{Key: 3, OFPort: 3, Port: &model.Port{Common: common(3), MACAddress: portMAC,
		FixedIPs: []model.FixedIP{{SubnetID: id(13), IPAddress: addr("2001:db8::5")}, {SubnetID: id(12), IPAddress: addr("10.0.2.5")},
			{SubnetID: id(10), IPAddress: addr("10.0.0.5")}, {SubnetID: id(11), IPAddress: addr("10.0.1.5")}},
		AllowedAddressPairs: []model.AddressPair{{IPAddress: prefix("10.0.0.100/32")}, {IPAddress: prefix("10.0.0.101/32"), MACAddress: pairMAC}}}}
}

func punt() *flows.Punt { return &flows.Punt{Op: flows.OpDHCPv4, Network: network(), Port: port()} }

// message makes a client's message; the modifiers come last.
func message(t tb, m dhcpv4.MessageType, with ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	d, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithMessageType(m), dhcpv4.WithHwAddr(portMAC[:]),
		dhcpv4.WithTransactionID(dhcpv4.TransactionID{1, 2, 3, 4})}, with...)...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func withRequested(a string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(ip(addr(a))))
}

func withServer(a string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(ip(addr(a))))
}

func withCiaddr(a string) dhcpv4.Modifier { return dhcpv4.WithClientIP(ip(addr(a))) }

// sender says how a client's message goes.
type sender struct {
	srcMAC, dstMAC net.HardwareAddr
	src, dst       net.IP
	port           layers.UDPPort
}

// broadcastClient is a client without an address.
var broadcastClient = sender{portMAC[:], net.HardwareAddr{255, 255, 255, 255, 255, 255}, net.IP{0, 0, 0, 0}, net.IP{255, 255, 255, 255}, clientPort}

// packet is the frame in which a client sends d: by broadcast, to the server it renews with, or by
// way of a relay.
func packet(t tb, d *dhcpv4.DHCPv4) []byte {
	t.Helper()
	from := broadcastClient
	from.srcMAC = d.ClientHWAddr
	if !d.ClientIPAddr.IsUnspecified() {
		from.src, from.dst, from.dstMAC = d.ClientIPAddr, ip(addr("10.0.0.2")), dhcpMAC[:]
	}
	if !d.GatewayIPAddr.IsUnspecified() {
		from.src, from.srcMAC, from.port = d.GatewayIPAddr, relayMAC[:], serverPort
	}
	return datagram(t, from, d.ToBytes())
}

func datagram(t tb, from sender, message []byte) []byte {
	t.Helper()
	udp := &layers.UDP{SrcPort: from.port, DstPort: serverPort}
	ip4 := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from.src, DstIP: from.dst}
	if err := udp.SetNetworkLayerForChecksum(ip4); err != nil {
		t.Fatal(err)
	}
	return serialize(t, &layers.Ethernet{SrcMAC: from.srcMAC, DstMAC: from.dstMAC, EthernetType: layers.EthernetTypeIPv4}, ip4, udp, gopacket.Payload(message))
}

func serialize(t tb, l ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, l...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// answer is a reply as other people's decoders read it.
type answer struct {
	*dhcpv4.DHCPv4
	eth   *layers.Ethernet
	ip    *layers.IPv4
	udp   *layers.UDP
	frame []byte
}

// decode reads a reply; its lengths and checksums must be what gopacket makes them.
func decode(t tb, frame []byte) *answer {
	t.Helper()
	a := &answer{eth: &layers.Ethernet{}, ip: &layers.IPv4{}, udp: &layers.UDP{}, frame: frame}
	var payload gopacket.Payload
	parser := gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, a.eth, a.ip, a.udp, &payload)
	parser.IgnoreUnsupported = true
	var decoded []gopacket.LayerType
	if err := parser.DecodeLayers(frame, &decoded); err != nil || len(decoded) < 3 {
		t.Fatalf("%v: %v in %x", err, decoded, frame)
	}
	d, err := dhcpv4.FromBytes(a.udp.Payload)
	if err != nil {
		t.Fatalf("%v in %x", err, frame)
	}
	a.DHCPv4 = d
	if err := a.udp.SetNetworkLayerForChecksum(a.ip); err != nil {
		t.Fatal(err)
	}
	ip4, udp := *a.ip, *a.udp
	if again := serialize(t, a.eth, &ip4, &udp, gopacket.Payload(a.udp.Payload)); string(again) != string(frame) {
		t.Fatalf("frame %x\nshould be %x", frame, again)
	}
	return a
}

// ask has s answer a message; no answer is nil.
func ask(t tb, s *Server, p *flows.Punt, d *dhcpv4.DHCPv4) (*answer, error) {
	t.Helper()
	p.Packet = packet(t, d)
	var frames [][]byte
	err := s.Handle(p, func(frame []byte) { frames = append(frames, append([]byte(nil), frame...)) })
	switch {
	case len(frames) > 1:
		t.Fatalf("%d answers to one request", len(frames))
	case len(frames) == 0:
		return nil, err
	case err != nil:
		t.Fatalf("an answer and an error: %v", err)
	}
	return decode(t, frames[0]), nil
}

func mustAsk(t tb, s *Server, p *flows.Punt, d *dhcpv4.DHCPv4) *answer {
	t.Helper()
	a, err := ask(t, s, p, d)
	if a == nil {
		t.Fatalf("no answer: %v", err)
	}
	return a
}

// fixChecksum makes the IPv4 header of a frame right again after a test changed it.
func fixChecksum(frame []byte) {
	ip := frame[ethernetLen:]
	if n := int(ip[0]&0x0f) * 4; n >= ipv4Len && n <= len(ip) {
		binary.BigEndian.PutUint16(ip[10:], 0)
		binary.BigEndian.PutUint16(ip[10:], checksum(0, ip[:n]))
	}
}
