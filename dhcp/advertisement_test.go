package dhcp

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

// solicitation is a guest's router solicitation, before it has an address.
func solicitation(t tb) []byte {
	t.Helper()
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(routerSolicitation, 0)}
	ip6 := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: net.IPv6unspecified, DstIP: net.IPv6linklocalallrouters}
	if err := icmp.SetNetworkLayerForChecksum(ip6); err != nil {
		t.Fatal(err)
	}
	return serialize(t, &layers.Ethernet{SrcMAC: portMAC[:], DstMAC: net.HardwareAddr{0x33, 0x33, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv6}, ip6, icmp, &layers.ICMPv6RouterSolicitation{})
}

// advertised reads a router advertisement, whose headers and checksum must be right: "flags=…", and an
// element for each option.
func advertised(t tb, frame []byte) (said []string) {
	t.Helper()
	eth, ip6, icmp, ra := &layers.Ethernet{}, &layers.IPv6{}, &layers.ICMPv6{}, &layers.ICMPv6RouterAdvertisement{}
	parser := gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, eth, ip6, icmp, ra)
	var decoded []gopacket.LayerType
	if err := parser.DecodeLayers(frame, &decoded); err != nil || len(decoded) != 4 {
		t.Fatalf("%v: %v in %x", err, decoded, frame)
	}
	if string(eth.DstMAC) != string(allNodesMAC[:]) || string(eth.SrcMAC) != string(dhcpMAC[:]) || !ip6.SrcIP.Equal(ip(serverAddr)) || !ip6.DstIP.Equal(ip(allNodes)) || ip6.HopLimit != 255 {
		t.Fatalf("from %v %v to %v %v, hop limit %d", eth.SrcMAC, ip6.SrcIP, eth.DstMAC, ip6.DstIP, ip6.HopLimit)
	}
	payload := append([]byte(nil), icmp.LayerPayload()...)
	if err := icmp.SetNetworkLayerForChecksum(ip6); err != nil {
		t.Fatal(err)
	}
	if again := serialize(t, eth, ip6, icmp, gopacket.Payload(payload)); string(again) != string(frame) {
		t.Fatalf("frame %x\nshould be %x", frame, again)
	}
	if ra.RouterLifetime != 0 || ra.HopLimit != 64 {
		t.Fatalf("router lifetime %d, hop limit %d", ra.RouterLifetime, ra.HopLimit)
	}
	said = append(said, fmt.Sprintf("flags=%02x", ra.Flags))
	for _, o := range ra.Options {
		switch d := o.Data; o.Type {
		case layers.ICMPv6OptSourceAddress:
			said = append(said, "source="+net.HardwareAddr(d).String())
		case layers.ICMPv6OptMTU:
			said = append(said, fmt.Sprintf("mtu=%d", binary.BigEndian.Uint32(d[2:])))
		case layers.ICMPv6OptPrefixInfo:
			said = append(said, fmt.Sprintf("prefix=%v/%d %02x %d %d", net.IP(d[14:]), d[0], d[1], binary.BigEndian.Uint32(d[2:]), binary.BigEndian.Uint32(d[6:])))
		case ndServers:
			for a := d[6:]; len(a) > 0; a = a[16:] {
				said = append(said, "server="+net.IP(a[:16]).String())
			}
		case ndDomains:
			said = append(said, "domains="+strings.Trim(string(d[6:]), "\x00"))
		default:
			t.Fatalf("option %d", o.Type)
		}
	}
	return said
}

func TestAdvertisement(t *testing.T) {
	const source, mtu = "source=fa:16:3e:00:00:02", "mtu=1450"
	stateful := []string{"prefix=2001:db8:0:1::/64 80 2592000 604800", "prefix=2001:db8:0:2::/64 80 2592000 604800"}
	stateless, slaac := "prefix=2001:db8:0:3::/64 c0 2592000 604800", "prefix=2001:db8:0:4::/64 c0 2592000 604800"
	quad9, google, cloudflare := "server=2620:fe::fe", "server=2001:4860:4860::8888", "server=2606:4700:4700::1111"
	for name, c := range map[string]struct {
		subnets []int // of networkIPv6
		change  func(n *flows.Network, s *Server)
		want    []string
	}{
		"slaac":          {[]int{4}, nil, []string{"flags=00", source, mtu, slaac, "domains=\x05cloud\x07example"}},
		"stateless":      {[]int{3}, nil, []string{"flags=40", source, mtu, stateless, quad9, cloudflare, "domains=\x05cloud\x07example"}},
		"stateful":       {[]int{1, 2}, nil, []string{"flags=c0", source, mtu, stateful[0], stateful[1], quad9, google, "domains=\x05cloud\x07example"}},
		"all":            {[]int{1, 2, 3, 4, 5, 6}, nil, []string{"flags=c0", source, mtu, stateful[0], stateful[1], stateless, slaac, quad9, google, cloudflare, "domains=\x05cloud\x07example"}},
		"no domain":      {[]int{4}, func(_ *flows.Network, s *Server) { s.domain = "" }, []string{"flags=00", source, mtu, slaac}},
		"address mode":   {[]int{4}, func(n *flows.Network, _ *Server) { n.Subnets[0].IPv6RAMode = "" }, nil},
		"no mode":        {[]int{5}, nil, nil},
		"no DHCP":        {[]int{4}, func(n *flows.Network, _ *Server) { n.Subnets[0].EnableDHCP = false }, nil},
		"no DHCP port":   {[]int{4}, func(n *flows.Network, _ *Server) { n.DHCP = nil }, nil},
		"no subnets":     {nil, nil, nil},
		"another router": {[]int{4}, func(n *flows.Network, _ *Server) { n.MTU = 1500 }, []string{"flags=00", source, "mtu=1500", slaac, "domains=\x05cloud\x07example"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, n := New(Options{Domain: "cloud.example"}), networkIPv6()
			all := n.Subnets
			n.Subnets = nil
			for _, i := range c.subnets {
				n.Subnets = append(n.Subnets, all[i-1])
			}
			if c.change != nil {
				c.change(n, s)
			}
			frame := s.Announce(n)
			if c.want == nil {
				if frame != nil {
					t.Errorf("announced %q", advertised(t, frame))
				}
			} else if got := advertised(t, frame); strings.Join(got, "; ") != strings.Join(c.want, "; ") {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			// Whoever asks is told the same, and punted if there is something to tell.
			punted := strings.Contains(wanted(t, flows.NewCompiler(s), n), "icmp_type=133 actions=set_field:0x3->reg10,goto_table:21")
			if n.DHCP != nil && punted != (c.want != nil) {
				t.Errorf("punted: %v", punted)
			}
			if frame == nil {
				return
			}
			p, answers := &flows.Punt{Op: flows.OpRouterSolicitation, Network: n, Port: puntIPv6().Port, Packet: solicitation(t)}, 0
			if err := s.Handle(p, func(b []byte) {
				if answers++; string(b) != string(frame) {
					t.Errorf("answered %x, announced %x", b, frame)
				}
			}); err != nil || answers != 1 {
				t.Errorf("%d answers, error %v", answers, err)
			}
			if c := s.Counts().V6; c.Solicitations != 1 || c.Advertisements != 1 {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestAdvertisementFull: what does not fit is left out, and counted.
func TestAdvertisementFull(t *testing.T) {
	s, n := New(Options{Domain: "cloud.example"}), networkIPv6()
	for i := range 300 {
		n.Subnets = append(n.Subnets, &model.Subnet{CIDR: netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 1, byte(i >> 8), byte(i)}), 64), EnableDHCP: true, IPv6RAMode: model.SLAAC})
	}
	frame := s.Announce(n)
	if said := advertised(t, frame); len(frame) > ethernetLen+n.MTU || len(said) < 35 || s.Counts().Omitted == 0 {
		t.Errorf("%d bytes with %d options; %d left out", len(frame), len(said), s.Counts().Omitted)
	}
}

// TestMalformedSolicitation: RFC 4861 section 6.1.1.
func TestMalformedSolicitation(t *testing.T) {
	const icmp = ethernetLen + ipv6Len
	for name, change := range map[string]func(b []byte) []byte{
		"empty":       func([]byte) []byte { return nil },
		"ethertype":   func(b []byte) []byte { b[12] = 8; return b },
		"hop limit":   func(b []byte) []byte { b[ethernetLen+7] = 254; return b },
		"next header": func(b []byte) []byte { b[ethernetLen+6] = 17; return b },
		"type":        func(b []byte) []byte { b[icmp] = routerAdvertisement; return b },
		"code":        func(b []byte) []byte { b[icmp+1] = 1; return b },
		"cut":         func(b []byte) []byte { b[ethernetLen+5]--; return b },
	} {
		t.Run(name, func(t *testing.T) {
			s, p := New(Options{}), puntIPv6(4)
			p.Op, p.Packet = flows.OpRouterSolicitation, change(solicitation(t))
			if err := s.Handle(p, func(frame []byte) { t.Errorf("answered with %x", frame) }); !errors.Is(err, Malformed) || s.Counts().Silent[Malformed] != 1 {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAdvertisementGolden(t *testing.T) {
	n := networkIPv6()
	n.Subnets = n.Subnets[2:4]
	golden(t, "advertisement", hex.Dump(New(Options{Domain: "openstacklocal"}).Announce(n)))
}
