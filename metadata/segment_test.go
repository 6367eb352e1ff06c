package metadata

import (
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/tunbridge/tunbridge/flows"
)

// syn is a machine's SYN with an MSS, from port 40000 and sequence number 1000, of which change is what a
// test makes different.
func syn(t tester, from, to netip.Addr, mss uint16, change func(*layers.IPv4, *layers.TCP)) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: portMAC[:], DstMAC: gatewayMAC[:], EthernetType: layers.EthernetTypeIPv4}
	tcp := &layers.TCP{SrcPort: 40000, DstPort: 80, Seq: 1000, SYN: true, Window: 64240, Options: []layers.TCPOption{
		{OptionType: layers.TCPOptionKindNop}, {OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{byte(mss >> 8), byte(mss)}}}}
	ip4 := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: net.IP(from.AsSlice()), DstIP: net.IP(to.AsSlice())}
	if change != nil {
		change(ip4, tcp)
	}
	var network gopacket.NetworkLayer = ip4
	ip := gopacket.SerializableLayer(ip4)
	if from.Is6() {
		ip6 := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP, SrcIP: net.IP(from.AsSlice()), DstIP: net.IP(to.AsSlice())}
		network, ip, eth.EthernetType = ip6, ip6, layers.EthernetTypeIPv6
	}
	if err := tcp.SetNetworkLayerForChecksum(network); err != nil {
		t.Fatal(err)
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, tcp); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// guestIPv6 is the machine's link-local address, of which port security lets it send.
const guestIPv6 = "fe80::f816:3eff:fe00:5"

// Bytes in, bytes out: a SYN is answered with a SYN-ACK to the machine that sent it, from the address it
// was sent to, by way of the MAC address it was sent to, with checksums and lengths as others make them.
func TestHandshake(t *testing.T) {
	s := serve(t, Options{})
	v := deployment(1)
	n := v.Networks[0]
	for _, c := range []struct {
		from, to netip.Addr
		mss      uint16
	}{{addr("10.0.0.5"), AddressIPv4, 1460}, {addr(guestIPv6), AddressIPv6, 1440}} {
		frames := make(chan []byte, 4)
		frame := syn(t, c.from, c.to, 1460, nil)
		sent := string(frame)
		if err := s.Handle(&flows.Punt{Op: flows.OpMetadata, View: v, Network: n, Port: n.Local[0], Packet: frame}, func(f []byte) { frames <- append([]byte(nil), f...) }); err != nil {
			t.Fatal(err)
		}
		if string(frame) != sent {
			t.Error("the packet was changed")
		}
		clear(frame) // it is valid during the call only
		var answer []byte
		select {
		case answer = <-frames:
		case <-time.After(10 * time.Second):
			t.Fatal("no answer")
		}
		p := gopacket.NewPacket(answer, layers.LayerTypeEthernet, gopacket.Default)
		if p.ErrorLayer() != nil {
			t.Fatal(p.ErrorLayer().Error())
		}
		eth, tcp := p.LinkLayer().(*layers.Ethernet), p.TransportLayer().(*layers.TCP)
		src, dst := p.NetworkLayer().NetworkFlow().Endpoints()
		if eth.DstMAC.String() != portMAC.String() || eth.SrcMAC.String() != gatewayMAC.String() || src.String() != c.to.String() || dst.String() != c.from.String() {
			t.Errorf("%v %v to %v %v", eth.SrcMAC, src, eth.DstMAC, dst)
		}
		if !tcp.SYN || !tcp.ACK || tcp.RST || tcp.Ack != 1001 || tcp.SrcPort != 80 || tcp.DstPort != 40000 {
			t.Errorf("answered with %+v", tcp)
		}
		for _, o := range tcp.Options {
			if o.OptionType == layers.TCPOptionKindMSS && o.OptionData[0] != byte(c.mss>>8) {
				t.Errorf("MSS %x", o.OptionData)
			}
		}
		again := gopacket.NewSerializeBuffer()
		layersOf := []gopacket.SerializableLayer{}
		for _, l := range p.Layers() {
			layersOf = append(layersOf, l.(gopacket.SerializableLayer))
		}
		if err := tcp.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
			t.Fatal(err)
		}
		if err := gopacket.SerializeLayers(again, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, layersOf...); err != nil {
			t.Fatal(err)
		}
		if want := again.Bytes()[:len(answer)]; string(want) != string(answer) { // without Ethernet's padding
			t.Errorf("frame %x\nshould be %x", answer, want)
		}
	}
}

// What is no TCP segment of a machine's to a metadata address is refused, and counted.
func TestMalformed(t *testing.T) {
	s := serve(t, Options{})
	v := deployment(1)
	n := v.Networks[0]
	good := func(change func(*layers.IPv4, *layers.TCP)) []byte {
		return syn(t, addr("10.0.0.5"), AddressIPv4, 1460, change)
	}
	edit := func(at int, value byte) []byte {
		b := good(nil)
		b[at] = value
		return b
	}
	for name, c := range map[string]struct {
		frame []byte
		why   string
	}{
		"nothing":            {nil, "frame of 0 bytes"},
		"Ethernet only":      {good(nil)[:14], "no IPv4 header"},
		"cut":                {good(nil)[:40], "in 26"},
		"ARP":                {edit(13, 6), "ethertype 0x0806"},
		"IPv6 for IPv4":      {edit(12, 0x86), "ethertype 0x8600"},
		"IP options":         {edit(14, 0x46), "without options"},
		"fragment":           {good(func(ip *layers.IPv4, _ *layers.TCP) { ip.Flags = layers.IPv4MoreFragments }), "fragment"},
		"UDP":                {edit(23, 17), "IP protocol 17"},
		"elsewhere":          {syn(t, addr("10.0.0.5"), addr("169.254.169.253"), 1460, nil), "to 169.254.169.253"},
		"another port":       {good(func(_ *layers.IPv4, tcp *layers.TCP) { tcp.DstPort = 443 }), "TCP port 443"},
		"from itself":        {syn(t, AddressIPv4, AddressIPv4, 1460, nil), "from 169.254.169.254"},
		"from nobody":        {syn(t, addr("0.0.0.0"), AddressIPv4, 1460, nil), "from 0.0.0.0"},
		"from many":          {syn(t, addr("224.0.0.1"), AddressIPv4, 1460, nil), "from 224.0.0.1"},
		"total length small": {edit(17, 39), "datagram of 39"},
		"total length large": {edit(16, 1), "datagram of"},
		"TCP header short":   {edit(14+20+12, 0x40), "TCP header of 16"},
		"TCP header long":    {edit(14+20+12, 0xf0), "TCP header of 60"},
		"mapped":             {syn(t, netip.MustParseAddr("::ffff:10.0.0.5"), AddressIPv6, 1440, nil), "from ::ffff:10.0.0.5"},
	} {
		before := s.Counts().Silent[Malformed]
		err := s.Handle(&flows.Punt{View: v, Network: n, Port: n.Local[0], Packet: c.frame}, func([]byte) {})
		if !errors.Is(err, Malformed) || !strings.Contains(err.Error(), c.why) || s.Counts().Silent[Malformed] != before+1 {
			t.Errorf("%s: %v, want %s", name, err, c.why)
		}
	}
}

// A machine that says more than the network's MTU leaves room for is taken at the network's word.
func TestMSS(t *testing.T) {
	for _, c := range []struct {
		options string
		most    int
		want    string
	}{
		{"01020405b4", 1410, "0102040582"}, {"02040218", 1410, "02040218"}, {"0402080a00000000000000000204ffff", 1410, "0402080a00000000000000000204" + "0582"},
		{"00020405b4000000", 1410, "00020405b4000000"}, {"0200", 100, "0200"}, {"02", 100, "02"}, {"0208", 100, "0208"}, {"0203ff01", 100, "0203ff01"},
	} {
		options, err := hex.DecodeString(c.options)
		if err != nil {
			t.Fatal(err)
		}
		for len(options)%4 != 0 {
			options = append(options, 0)
		}
		tcp := append(make([]byte, tcpLen), options...)
		tcp[atTCPOffset] = byte(len(tcp)/4) << 4
		lowerMSS(tcp, c.most)
		if got := hex.EncodeToString(tcp[tcpLen:]); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s became %s, want %s", c.options, got, c.want)
		}
	}
}

// No frame of a machine's makes the server fail, and what is accepted is translated and nothing else.
func FuzzHandle(f *testing.F) {
	v := deployment(1)
	n := v.Networks[0]
	f.Add(syn(f, addr("10.0.0.5"), AddressIPv4, 1460, nil))
	f.Add(syn(f, addr(guestIPv6), AddressIPv6, 1440, nil))
	f.Add(syn(f, addr("10.0.0.5"), AddressIPv4, 1460, func(_ *layers.IPv4, tcp *layers.TCP) { tcp.SYN, tcp.ACK, tcp.FIN = false, true, true }))
	f.Add([]byte{})
	s := serve(f, Options{})
	f.Fuzz(func(t *testing.T, frame []byte) {
		before := string(frame)
		_ = s.Handle(&flows.Punt{View: v, Network: n, Port: n.Local[0], Packet: frame}, func([]byte) {})
		if string(frame) != before {
			t.Fatal("the packet was changed")
		}
		var in segment
		if in.parse(frame) != nil {
			return
		}
		synthetic := addr("10.0.0.1")
		if in.source.Is6() {
			synthetic = addr("fd00::1")
		}
		b := make([]byte, len(in.packet))
		in.translate(b, synthetic, 1450)
		out := appendFrame(nil, [][]byte{b}, in.nextHop, in.guest, in.source)
		if len(out) != ethernetLen+len(in.packet) {
			t.Fatalf("%d bytes became %d", len(in.packet), len(out))
		}
	})
}
