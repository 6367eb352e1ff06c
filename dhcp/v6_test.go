package dhcp

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

var (
	clientDUID = &dhcpv6.DUIDLL{HWType: 1, LinkLayerAddr: portMAC[:]}
	ourDUID    = &dhcpv6.DUIDUUID{UUID: id(1)}
	otherDUID  = &dhcpv6.DUIDUUID{UUID: id(9)}
	clientAddr = netip.AddrFrom16(linkLocal(portMAC))
	serverAddr = netip.AddrFrom16(linkLocal(dhcpMAC))
)

// networkIPv6 has subnets 2001:db8:0:1::/64 to …:6::/64: two stateful, one stateless, one for SLAAC, one
// without modes, and one without DHCP.
func networkIPv6() *flows.Network {
	n := &flows.Network{Network: &model.Network{Common: common(1), MTU: 1450}, LocalVLAN: 7,
		DHCP: &model.Port{Common: common(2), MACAddress: dhcpMAC}}
	for i, mode := range []string{model.DHCPv6Stateful, model.DHCPv6Stateful, model.DHCPv6Stateless, model.SLAAC, "", ""} {
		cidr := prefix(fmt.Sprintf("2001:db8:0:%d::/64", i+1))
		n.Subnets = append(n.Subnets, &model.Subnet{Common: common(byte(11 + i)), CIDR: cidr, IPVersion: 6, GatewayIP: cidr.Addr(),
			EnableDHCP: i < 5, IPv6RAMode: mode, IPv6AddressMode: mode})
	}
	n.Subnets[0].DNSNameservers = []netip.Addr{addr("2620:fe::fe"), addr("2001:4860:4860::8888")}
	n.Subnets[2].DNSNameservers = []netip.Addr{addr("2620:fe::fe"), addr("2606:4700:4700::1111")}
	return n
}

// puntIPv6 is of a port with the address …:5 in the subnets with these numbers.
func puntIPv6(subnets ...int) *flows.Punt {
	p := &flows.Punt{Op: flows.OpDHCPv6, Network: networkIPv6(), Port: &flows.LocalPort{Key: 3, OFPort: 3, Port: &model.Port{Common: common(3), MACAddress: portMAC}}}
	for _, s := range subnets {
		p.Port.FixedIPs = append(p.Port.FixedIPs, model.FixedIP{SubnetID: id(byte(10 + s)), IPAddress: addr(fmt.Sprintf("2001:db8:0:%d::5", s))})
	}
	return p
}

// messageIPv6 makes a client's message with its DUID; the modifiers come last.
func messageIPv6(t tb, m V6Message, with ...dhcpv6.Modifier) *dhcpv6.Message {
	t.Helper()
	d, err := dhcpv6.NewMessage(append([]dhcpv6.Modifier{dhcpv6.WithClientID(clientDUID)}, with...)...)
	if err != nil {
		t.Fatal(err)
	}
	d.MessageType, d.TransactionID = dhcpv6.MessageType(m), dhcpv6.TransactionID{1, 2, 3}
	return d
}

// withIA is an identity association, for addresses, with the IAID 0x000000n.
func withIA(n byte, addresses ...string) dhcpv6.Modifier {
	ia := &dhcpv6.OptIANA{IaId: [4]byte{3: n}}
	for _, a := range addresses {
		ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: ip(addr(a)), PreferredLifetime: time.Hour, ValidLifetime: time.Hour})
	}
	return func(d dhcpv6.DHCPv6) { d.AddOption(ia) }
}

func toServer(d dhcpv6.DUID) dhcpv6.Modifier { return dhcpv6.WithServerID(d) }

// packetIPv6 is the frame in which a client sends a message.
func packetIPv6(t tb, message []byte) []byte {
	t.Helper()
	udp := &layers.UDP{SrcPort: v6ClientPort, DstPort: v6ServerPort}
	ip6 := &layers.IPv6{Version: 6, HopLimit: 1, NextHeader: layers.IPProtocolUDP, SrcIP: ip(clientAddr), DstIP: ip(v6Servers)}
	if err := udp.SetNetworkLayerForChecksum(ip6); err != nil {
		t.Fatal(err)
	}
	return serialize(t, &layers.Ethernet{SrcMAC: portMAC[:], DstMAC: net.HardwareAddr{0x33, 0x33, 0, 1, 0, 2}, EthernetType: layers.EthernetTypeIPv6}, ip6, udp, gopacket.Payload(message))
}

// answerIPv6 is a reply as other people's decoders read it.
type answerIPv6 struct {
	*dhcpv6.Message
	frame []byte
}

// decodeIPv6 reads a reply; its headers must be right, and its lengths and checksum what gopacket makes
// them.
func decodeIPv6(t tb, p *flows.Punt, frame []byte) *answerIPv6 {
	t.Helper()
	eth, ip6, udp := &layers.Ethernet{}, &layers.IPv6{}, &layers.UDP{}
	var payload gopacket.Payload
	parser := gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, eth, ip6, udp, &payload)
	parser.IgnoreUnsupported = true
	var decoded []gopacket.LayerType
	if err := parser.DecodeLayers(frame, &decoded); err != nil || len(decoded) < 3 {
		t.Fatalf("%v: %v in %x", err, decoded, frame)
	}
	if string(eth.DstMAC) != string(portMAC[:]) || string(eth.SrcMAC) != string(dhcpMAC[:]) || !ip6.SrcIP.Equal(ip(serverAddr)) || !ip6.DstIP.Equal(ip(clientAddr)) ||
		udp.SrcPort != v6ServerPort || udp.DstPort != v6ClientPort || ip6.HopLimit != 64 {
		t.Fatalf("from %v %v %v to %v %v %v", eth.SrcMAC, ip6.SrcIP, udp.SrcPort, eth.DstMAC, ip6.DstIP, udp.DstPort)
	}
	if most := ethernetLen + max(minDatagramIPv6, p.Network.MTU); len(frame) > most {
		t.Fatalf("frame of %d bytes, at most %d fit", len(frame), most)
	}
	message := udp.Payload
	d, err := dhcpv6.MessageFromBytes(message)
	if err != nil {
		t.Fatalf("%v in %x", err, frame)
	}
	if err := udp.SetNetworkLayerForChecksum(ip6); err != nil {
		t.Fatal(err)
	}
	if again := serialize(t, eth, ip6, udp, gopacket.Payload(message)); string(again) != string(frame) {
		t.Fatalf("frame %x\nshould be %x", frame, again)
	}
	return &answerIPv6{d, frame}
}

// askIPv6 has s answer a message; no answer is nil.
func askIPv6(t tb, s *Server, p *flows.Punt, d *dhcpv6.Message) (*answerIPv6, error) {
	t.Helper()
	p.Packet = packetIPv6(t, d.ToBytes())
	var frames [][]byte
	err := s.Handle(p, func(frame []byte) { frames = append(frames, append([]byte(nil), frame...)) })
	switch {
	case len(frames) > 1:
		t.Fatalf("%d answers to one request", len(frames))
	case len(frames) == 0:
		return nil, err
	}
	return decodeIPv6(t, p, frames[0]), err
}

func mustAskIPv6(t tb, s *Server, p *flows.Punt, d *dhcpv6.Message) *answerIPv6 {
	t.Helper()
	a, err := askIPv6(t, s, p, d)
	if a == nil {
		t.Fatalf("no answer: %v", err)
	}
	return a
}

// text is what an answer says: its type, its status, and each association as IAID(T1,T2) with its status
// and its addresses and their lifetimes.
func (a *answerIPv6) text() string {
	var s strings.Builder
	s.WriteString(V6Message(a.MessageType).String())
	code := func(c *dhcpv6.OptStatusCode) {
		if c != nil {
			fmt.Fprintf(&s, " status %d", c.StatusCode)
		}
	}
	code(a.Options.Status())
	if a.GetOneOption(dhcpv6.OptionRapidCommit) != nil {
		s.WriteString(" rapid")
	}
	for _, o := range a.Options.Options {
		var inside dhcpv6.Options
		switch ia := o.(type) {
		case *dhcpv6.OptIANA:
			fmt.Fprintf(&s, " na%d(%.f,%.f)", ia.IaId[3], ia.T1.Seconds(), ia.T2.Seconds())
			inside = ia.Options.Options
		case *dhcpv6.OptIATA:
			fmt.Fprintf(&s, " ta%d", ia.IaId[3])
			inside = ia.Options.Options
		case *dhcpv6.OptIAPD:
			fmt.Fprintf(&s, " pd%d", ia.IaId[3])
			inside = ia.Options.Options
		}
		for _, o := range inside {
			switch o := o.(type) {
			case *dhcpv6.OptStatusCode:
				code(o)
			case *dhcpv6.OptIAAddress:
				fmt.Fprintf(&s, " %v for %.f", o.IPv6Addr, o.ValidLifetime.Seconds())
				if o.PreferredLifetime != o.ValidLifetime {
					s.WriteString(" (preferred otherwise)")
				}
			}
		}
	}
	return s.String()
}

// TestIPv6Messages walks the messages of RFC 8415 section 18.3.
func TestIPv6Messages(t *testing.T) {
	const (
		own, second  = "2001:db8:0:1::5", "2001:db8:0:2::5"
		neighbours   = "2001:db8:0:1::6"
		elsewhere    = "2001:db8:99::5"
		both         = " na1(43200,69120) 2001:db8:0:1::5 for 86400 2001:db8:0:2::5 for 86400"
		one          = " na1(43200,69120) 2001:db8:0:1::5 for 86400"
		nothingForNA = " na1(0,0) status 2"
	)
	ours := toServer(ourDUID)
	temporary := dhcpv6.WithIATA([4]byte{3: 2})
	delegated := dhcpv6.WithIAPD([4]byte{3: 3})
	nobody := func(m dhcpv6.DHCPv6) { m.(*dhcpv6.Message).Options.Del(dhcpv6.OptionClientID) }
	for _, c := range []struct {
		name    string
		subnets []int
		m       V6Message
		with    []dhcpv6.Modifier
		want    string // "": silence
		err     error
	}{
		{"solicit", []int{1}, V6Solicit, []dhcpv6.Modifier{withIA(1)}, "ADVERTISE" + one, nil},
		{"solicit, two addresses", []int{1, 2}, V6Solicit, []dhcpv6.Modifier{withIA(1)}, "ADVERTISE" + both, nil},
		{"solicit, an address in mind", []int{1}, V6Solicit, []dhcpv6.Modifier{withIA(1, neighbours)}, "ADVERTISE" + one, nil},
		{"solicit, rapid commit", []int{1}, V6Solicit, []dhcpv6.Modifier{withIA(1), dhcpv6.WithRapidCommit}, "REPLY rapid" + one, nil},
		{"solicit, a subnet without modes", []int{5}, V6Solicit, []dhcpv6.Modifier{withIA(1)}, "ADVERTISE na1(43200,69120) 2001:db8:0:5::5 for 86400", nil},
		{"solicit, stateless", []int{3}, V6Solicit, []dhcpv6.Modifier{withIA(1), dhcpv6.WithRapidCommit}, "ADVERTISE" + nothingForNA, nil},
		{"solicit, SLAAC", []int{4}, V6Solicit, []dhcpv6.Modifier{withIA(1)}, "", NotServed},
		{"solicit, without DHCP", []int{6}, V6Solicit, []dhcpv6.Modifier{withIA(1)}, "", NotServed},
		{"solicit, without an address", nil, V6Solicit, []dhcpv6.Modifier{withIA(1)}, "", NotServed},
		{"solicit, all kinds", []int{1}, V6Solicit, []dhcpv6.Modifier{withIA(1), temporary, delegated, withIA(4)}, "ADVERTISE" + one + " ta2 status 2 pd3 status 6 na4(0,0) status 2", nil},
		{"solicit without a DUID", []int{1}, V6Solicit, []dhcpv6.Modifier{withIA(1), nobody}, "", Malformed},
		{"solicit to a server", []int{1}, V6Solicit, []dhcpv6.Modifier{withIA(1), ours}, "", Malformed},

		{"request", []int{1, 2}, V6Request, []dhcpv6.Modifier{ours, withIA(1, own, second)}, "REPLY" + both, nil},
		{"request of another's address", []int{1}, V6Request, []dhcpv6.Modifier{ours, withIA(1, neighbours)}, "REPLY" + one, nil},
		{"request of an address of elsewhere", []int{1}, V6Request, []dhcpv6.Modifier{ours, withIA(1, elsewhere)}, "REPLY na1(0,0) status 4", nil},
		{"request to another server", []int{1}, V6Request, []dhcpv6.Modifier{toServer(otherDUID), withIA(1, own)}, "", OtherServer},
		{"request to no server", []int{1}, V6Request, []dhcpv6.Modifier{withIA(1, own)}, "", Malformed},

		{"renew", []int{1}, V6Renew, []dhcpv6.Modifier{ours, withIA(1, own)}, "REPLY" + one, nil},
		{"renew after the address changed", []int{2}, V6Renew, []dhcpv6.Modifier{ours, withIA(1, own)}, "REPLY na1(43200,69120) 2001:db8:0:1::5 for 0 2001:db8:0:2::5 for 86400", nil},
		{"renew after the address went", []int{3}, V6Renew, []dhcpv6.Modifier{ours, withIA(1, own)}, "REPLY na1(0,0) 2001:db8:0:1::5 for 0", nil},
		{"renew to another server", []int{1}, V6Renew, []dhcpv6.Modifier{toServer(otherDUID), withIA(1, own)}, "", OtherServer},
		{"rebind", []int{1}, V6Rebind, []dhcpv6.Modifier{withIA(1, own)}, "REPLY" + one, nil},
		{"rebind another's address", []int{1}, V6Rebind, []dhcpv6.Modifier{withIA(1, neighbours)}, "REPLY na1(43200,69120) 2001:db8:0:1::6 for 0 2001:db8:0:1::5 for 86400", nil},
		{"rebind to a server", []int{1}, V6Rebind, []dhcpv6.Modifier{ours, withIA(1, own)}, "", Malformed},

		{"confirm", []int{1, 2}, V6Confirm, []dhcpv6.Modifier{withIA(1, own), withIA(2, second)}, "REPLY status 0", nil},
		{"confirm another's address", []int{1}, V6Confirm, []dhcpv6.Modifier{withIA(1, own, neighbours)}, "REPLY status 4", nil},
		{"confirm an address of elsewhere", []int{1}, V6Confirm, []dhcpv6.Modifier{withIA(1), withIA(2, elsewhere)}, "REPLY status 4", nil},
		{"confirm nothing", []int{1}, V6Confirm, []dhcpv6.Modifier{withIA(1)}, "", Malformed},

		{"release", []int{1}, V6Release, []dhcpv6.Modifier{ours, withIA(1, own)}, "REPLY status 0", nil},
		{"release to no server", []int{1}, V6Release, []dhcpv6.Modifier{withIA(1, own)}, "", Malformed},

		{"information-request", []int{3}, V6InformationRequest, nil, "REPLY", nil},
		{"information-request, stateful", []int{1}, V6InformationRequest, []dhcpv6.Modifier{ours}, "REPLY", nil},
		{"information-request without a DUID", []int{3}, V6InformationRequest, []dhcpv6.Modifier{nobody}, "REPLY", nil},
		{"information-request to another server", []int{3}, V6InformationRequest, []dhcpv6.Modifier{toServer(otherDUID)}, "", OtherServer},
		{"information-request with an association", []int{3}, V6InformationRequest, []dhcpv6.Modifier{temporary}, "", Malformed},
		{"information-request, SLAAC", []int{4}, V6InformationRequest, nil, "", NotServed},

		{"advertise of a guest", []int{1}, V6Advertise, nil, "", UnexpectedMessage},
		{"reply of a guest", []int{1}, V6Reply, nil, "", UnexpectedMessage},
		{"reconfigure of a guest", []int{1}, V6Reconfigure, nil, "", UnexpectedMessage},
		{"relay-reply of a guest", []int{1}, V6RelayReply, nil, "", UnexpectedMessage},
		{"unknown type", []int{1}, 99, nil, "", UnexpectedMessage},
		{"type zero", []int{1}, 0, nil, "", UnexpectedMessage},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := New(Options{})
			d := messageIPv6(t, c.m, c.with...)
			a, err := askIPv6(t, s, puntIPv6(c.subnets...), d)
			if !errors.Is(err, c.err) || c.err == nil && err != nil {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			counts := s.Counts()
			if c.want == "" {
				if a != nil {
					t.Fatalf("answered with %s", a.text())
				}
				if silence := c.err.(Silence); counts.Silent[silence] != 1 {
					t.Errorf("not counted: %+v", counts)
				}
				return
			}
			if a == nil {
				t.Fatal("no answer")
			}
			if got := a.text(); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
			if counts.V6.Requests[c.m] != 1 || counts.V6.Answers[a.MessageType] != 1 {
				t.Errorf("not counted: %+v", counts)
			}
			if a.TransactionID != d.TransactionID || !a.Options.ServerID().Equal(ourDUID) {
				t.Errorf("transaction %v, server %v", a.TransactionID, a.Options.ServerID())
			}
			if client := d.Options.ClientID(); client == nil && a.Options.ClientID() != nil || client != nil && !client.Equal(a.Options.ClientID()) {
				t.Errorf("client %v", a.Options.ClientID())
			}
			if advertised := a.MessageType == dhcpv6.MessageTypeAdvertise; advertised != (a.Options.Preference() == 255) {
				t.Errorf("preference %d", a.Options.Preference())
			}
		})
	}
	t.Run("decline", func(t *testing.T) {
		s := New(Options{})
		a, err := askIPv6(t, s, puntIPv6(1), messageIPv6(t, V6Decline, ours, withIA(1, own)))
		if a == nil || a.text() != "REPLY status 0" || err == nil || !strings.Contains(err.Error(), own) || s.Counts().V6.Requests[V6Decline] != 1 {
			t.Errorf("%v, %v, %+v", a, err, s.Counts())
		}
	})
}

// TestIPv6Configuration: what a client is told beside its addresses.
func TestIPv6Configuration(t *testing.T) {
	ask := dhcpv6.WithRequestedOptions
	all := []string{"DNS [2620:fe::fe 2001:4860:4860::8888]", "domains [cloud.example]"}
	for name, c := range map[string]struct {
		change func(p *flows.Punt, s *Server)
		m      V6Message
		with   []dhcpv6.Modifier
		want   []string
	}{
		"all":               {m: V6InformationRequest, want: append(all, "refresh 24h0m0s")},
		"solicit":           {m: V6Solicit, want: all},
		"wanted only":       {m: V6InformationRequest, with: []dhcpv6.Modifier{ask(dhcpv6.OptionDomainSearchList)}, want: all[1:]},
		"nothing wanted":    {m: V6InformationRequest, with: []dhcpv6.Modifier{dhcpv6.WithOption(dhcpv6.OptRequestedOption())}},
		"no domain":         {m: V6Solicit, change: func(_ *flows.Punt, s *Server) { s.domain = "" }, want: all[:1]},
		"no name servers":   {m: V6Solicit, change: func(p *flows.Punt, _ *Server) { p.Network.Subnets[0].DNSNameservers = nil }, want: all[1:]},
		"none, says ::":     {m: V6Solicit, change: func(p *flows.Punt, _ *Server) { p.Network.Subnets[0].DNSNameservers[1] = netip.IPv6Unspecified() }, want: all[1:]},
		"of both subnets":   {m: V6Solicit, change: func(p *flows.Punt, _ *Server) { p.Port.FixedIPs = puntIPv6(3, 4, 1).Port.FixedIPs }, want: []string{"DNS [2620:fe::fe 2606:4700:4700::1111 2001:4860:4860::8888]", all[1]}},
		"network's domain":  {m: V6Solicit, change: func(p *flows.Punt, _ *Server) { p.Network.DNSDomain = "blue.example." }, want: []string{all[0], "domains [blue.example]"}},
		"short lease":       {m: V6InformationRequest, change: func(_ *flows.Punt, s *Server) { s.lease = 60 }, want: append(all, "refresh 10m0s")},
		"name":              {m: V6Solicit, with: []dhcpv6.Modifier{dhcpv6.WithFQDN(1, "me.example"), ask(dhcpv6.OptionFQDN)}, want: []string{"FQDN 4 [host-2001-db8-0-1--5.cloud.example]"}},
		"name of the port":  {m: V6Request, with: []dhcpv6.Modifier{toServer(ourDUID), dhcpv6.WithFQDN(0, "me"), ask(dhcpv6.OptionFQDN)}, change: func(p *flows.Punt, _ *Server) { p.Port.DNSName = "web" }, want: []string{"FQDN 4 [web.cloud.example]"}},
		"name, not its own": {m: V6Solicit, with: []dhcpv6.Modifier{ask(dhcpv6.OptionFQDN)}},
	} {
		t.Run(name, func(t *testing.T) {
			s, p := New(Options{Domain: "cloud.example"}), puntIPv6(1)
			if c.change != nil {
				c.change(p, s)
			}
			if c.m != V6InformationRequest {
				c.with = append(c.with, withIA(1))
			}
			a := mustAskIPv6(t, s, p, messageIPv6(t, c.m, c.with...))
			var got []string
			if dns := a.Options.DNS(); dns != nil {
				got = append(got, fmt.Sprint("DNS ", dns))
			}
			if domains := a.Options.DomainSearchList(); domains != nil {
				got = append(got, fmt.Sprint("domains ", domains.Labels))
			}
			if a.GetOneOption(dhcpv6.OptionInformationRefreshTime) != nil {
				got = append(got, fmt.Sprint("refresh ", a.Options.InformationRefreshTime(0)))
			}
			if fqdn := a.Options.FQDN(); fqdn != nil {
				got = append(got, fmt.Sprint("FQDN ", fqdn.Flags, " ", fqdn.DomainName.Labels))
			}
			if strings.Join(got, "; ") != strings.Join(c.want, "; ") {
				t.Errorf("%q\nwant %q", got, c.want)
			}
		})
	}
}

// TestIPv6Lifetimes: a lease of any duration.
func TestIPv6Lifetimes(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Minute:     "na1(30,48) 2001:db8:0:1::5 for 60",
		-1:              "na1(4294967295,4294967295) 2001:db8:0:1::5 for 4294967295",
		1 << 62:         "na1(2147483647,3435973835) 2001:db8:0:1::5 for 4294967294",
		3 * time.Second: "na1(1,2) 2001:db8:0:1::5 for 3",
	} {
		if a := mustAskIPv6(t, New(Options{LeaseDuration: d}), puntIPv6(1), messageIPv6(t, V6Solicit, withIA(1))); a.text() != "ADVERTISE "+want {
			t.Errorf("%s: %s, want %s", d, a.text(), want)
		}
	}
}

// TestIPv6Extra: each form of extra_dhcp_opts, as it is sent.
func TestIPv6Extra(t *testing.T) {
	for _, c := range []struct{ name, value, code, want string }{
		{"dns-server", "2001:db8::53,[2001:db8::54]", "23", "20010db800000000000000000000005320010db8000000000000000000000054"},
		{"23", "2001:db8::53", "23", "20010db8000000000000000000000053"},
		{"domain-search", "a.example,b", "24", "01610765" + "78616d706c6500" + "016200"},
		{"sntp-server", "2001:db8::1", "31", "20010db8000000000000000000000001"},
		{"ntp-server", "2001:db8::1,ff05::101,time.b", "56", "0001001020010db8000000000000000000000001" + "00020010ff050000000000000000000000000101" + "000300080474696d65016200"},
		{"bootfile-url", "tftp://[2001:db8::1]/x", "59", hex.EncodeToString([]byte("tftp://[2001:db8::1]/x"))},
		{"bootfile-param", "a,bc", "60", "000161" + "00026263"},
		{"sol-max-rt", "120", "82", "00000078"},
		{"posix-timezone", "CET-1", "41", "4345542d31"},
		{"143", "01:02:ff", "143", "0102ff"},
		{"1000", "2001:db8::1", "1000", "20010db8000000000000000000000001"},
		{"1000", "text", "1000", "74657874"},
	} {
		p := puntIPv6(1)
		p.Port.ExtraDHCPOpts = []model.ExtraDHCPOpt{{Name: c.name, Value: c.value, IPVersion: 6}, {Name: "mtu", Value: "1400", IPVersion: 4}}
		if err := CheckExtraOption(p.Port.ExtraDHCPOpts[0]); err != nil {
			t.Error(err)
		}
		a := mustAskIPv6(t, New(Options{Domain: "cloud.example"}), p, messageIPv6(t, V6InformationRequest))
		var found []string
		for rest := a.frame[v6HeadersLen:]; len(rest) > 0; {
			code, value, after, ok := v6NextOption(rest)
			if !ok {
				t.Fatalf("%x", a.frame)
			}
			if rest = after; fmt.Sprint(code) == c.code {
				found = append(found, hex.EncodeToString(value))
			}
		}
		if len(found) != 1 || found[0] != c.want {
			t.Errorf("%s=%s: option %s is %v, want %s", c.name, c.value, c.code, found, c.want)
		}
		wanted := mustAskIPv6(t, New(Options{}), p, messageIPv6(t, V6InformationRequest, dhcpv6.WithRequestedOptions(9999)))
		if len(wanted.Options.Options) != 2 {
			t.Errorf("%s was sent to a client that did not want it: %v", c.name, wanted)
		}
	}
	for _, c := range [][2]string{{"no-such", "1"}, {"tag:ipxe,59", "x"}, {"tag:ipxe6", "x"}, {"0", "1"}, {"65536", "1"}, {"client-id", "1"}, {"3", "1"}, {"dns-server", "10.0.0.1"}, {"dns-server", "fe80::1%eth0"},
		{"domain-search", "a..b"}, {"ntp-server", "a..b"}, {"sol-max-rt", "x"}, {"bootfile-url", "a\nb"}, {"bootfile-param", "a,\x00"}} {
		if CheckExtraOption(model.ExtraDHCPOpt{Name: c[0], Value: c[1], IPVersion: 6}) == nil {
			t.Errorf("%q=%q was accepted", c[0], c[1])
		}
	}
	// Firmware loads iPXE, and iPXE the rest; whoever is neither told otherwise, gets the last.
	iPXE := dhcpv6.WithUserClass([]byte("iPXE"))
	boot := puntIPv6(1)
	boot.Port.ExtraDHCPOpts = []model.ExtraDHCPOpt{{Name: "59", Value: "tftp://else", IPVersion: 6}, {Name: "tag:ipxe6,bootfile-url", Value: "http://script", IPVersion: 6}}
	for url, with := range map[string]dhcpv6.Modifier{"http://script": iPXE, "tftp://else": dhcpv6.WithUserClass([]byte("x"))} {
		if a := mustAskIPv6(t, New(Options{}), boot, messageIPv6(t, V6Solicit, withIA(1), with)); a.Options.BootFileURL() != url {
			t.Errorf("told to load %q, want %q", a.Options.BootFileURL(), url)
		}
	}
	boot.Port.ExtraDHCPOpts[0].Name = "tag:!ipxe6,59"
	if a := mustAskIPv6(t, New(Options{}), boot, messageIPv6(t, V6Solicit, withIA(1))); a.Options.BootFileURL() != "tftp://else" {
		t.Errorf("told to load %q", a.Options.BootFileURL())
	}
	// An empty value keeps the option from being sent.
	p := puntIPv6(1)
	p.Port.ExtraDHCPOpts = []model.ExtraDHCPOpt{{Name: "dns-server", IPVersion: 6}}
	if a := mustAskIPv6(t, New(Options{}), p, messageIPv6(t, V6InformationRequest)); a.Options.DNS() != nil {
		t.Errorf("name servers %v", a.Options.DNS())
	}
}

// TestIPv6Full: what does not fit is left out from the end, and counted.
func TestIPv6Full(t *testing.T) {
	s, p := New(Options{Domain: "cloud.example"}), puntIPv6()
	for i := range 100 {
		p.Port.FixedIPs = append(p.Port.FixedIPs, model.FixedIP{SubnetID: id(11), IPAddress: addr(fmt.Sprintf("2001:db8:0:1::%x", i+1))})
	}
	a := mustAskIPv6(t, s, p, messageIPv6(t, V6Solicit, withIA(1)))
	if n := len(a.Options.OneIANA().Options.Addresses()); n < 40 || n == 100 || s.Counts().Omitted == 0 {
		t.Errorf("%d addresses, %d left out", n, s.Counts().Omitted)
	}
}

// TestIPv6Malformed: frames that are no DHCPv6 message of a client.
func TestIPv6Malformed(t *testing.T) {
	const udp, options = ethernetLen + ipv6Len, v6HeadersLen
	for name, change := range map[string]func(b []byte) []byte{
		"empty":                   func([]byte) []byte { return nil },
		"header cut":              func(b []byte) []byte { return b[:udp-1] },
		"ethertype":               func(b []byte) []byte { b[12] = 8; return b },
		"ip version":              func(b []byte) []byte { b[ethernetLen] = 0x40; return b },
		"payload beyond frame":    func(b []byte) []byte { return b[:len(b)-1] },
		"next header":             func(b []byte) []byte { b[ethernetLen+6] = 0; return b },
		"not link-local":          func(b []byte) []byte { b[ethernetLen+8] = 0x20; return b },
		"unspecified":             func(b []byte) []byte { clear(b[ethernetLen+8 : ethernetLen+24]); return b },
		"udp header cut":          func(b []byte) []byte { b[ethernetLen+5] = 7; return b },
		"udp shorter than header": func(b []byte) []byte { b[udp+4], b[udp+5] = 0, 7; return b },
		"udp beyond payload":      func(b []byte) []byte { b[udp+5]++; return b },
		"udp port":                func(b []byte) []byte { b[udp+3]++; return b },
		"option past the end":     func(b []byte) []byte { b[options+3]++; b[options+2] = 9; return b },
		"option cut":              func(b []byte) []byte { b[ethernetLen+5] -= 2; b[udp+5] -= 2; return b[:len(b)-2] },
		"short DUID":              func(b []byte) []byte { b[options+3] = 2; return b },
	} {
		t.Run(name, func(t *testing.T) {
			p, s := puntIPv6(1), New(Options{})
			p.Packet = change(packetIPv6(t, messageIPv6(t, V6Solicit, withIA(1)).ToBytes()))
			err := s.Handle(p, func(frame []byte) { t.Errorf("answered with %x", frame) })
			if !errors.Is(err, Malformed) || s.Counts().Silent[Malformed] != 1 {
				t.Errorf("%v", err)
			}
		})
	}
	for name, o := range map[string]string{
		"long DUID":                  "\x00\x01\x00\x83" + strings.Repeat("d", 131),
		"short IA_NA":                "\x00\x03\x00\x0b" + strings.Repeat("a", 11),
		"short IA_TA":                "\x00\x04\x00\x03" + strings.Repeat("a", 3),
		"short IA_PD":                "\x00\x19\x00\x0b" + strings.Repeat("a", 11),
		"short address":              "\x00\x03\x00\x13" + strings.Repeat("a", 12) + "\x00\x05\x00\x03aaa",
		"address beyond association": "\x00\x03\x00\x13" + strings.Repeat("a", 12) + "\x00\x05\x00\x18aaa",
		"odd option request":         "\x00\x06\x00\x03\x00\x17\x00",
		"FQDN without flags":         "\x00\x27\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			p := puntIPv6(1)
			p.Packet = packetIPv6(t, append(messageIPv6(t, V6Solicit).ToBytes(), o...))
			if err := New(Options{}).Handle(p, func(frame []byte) { t.Errorf("answered with %x", frame) }); !errors.Is(err, Malformed) {
				t.Errorf("%v", err)
			}
		})
	}
}
