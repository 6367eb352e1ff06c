package dhcp

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

// Firmware is told to load iPXE and iPXE what to boot, from one set of options. Conditions go before
// entries without, in whatever order they stand.
func TestExtraConditions(t *testing.T) {
	extra := []model.ExtraDHCPOpt{
		{Name: "67", Value: "fallback", IPVersion: 4},
		{Name: "tag:ipxe,bootfile-name", Value: "http://192.0.2.7/boot.ipxe", IPVersion: 4},
		{Name: "tag:!ipxe,67", Value: "undionly.kpxe", IPVersion: 4},
		{Name: "255", Value: "192.0.2.7", IPVersion: 4},
		{Name: "tag:ipxe,router", IPVersion: 4},
		{Name: "tag:ipxe,tag:!ipxe,150", Value: "192.0.2.8", IPVersion: 4},
		{Name: "tag:!ipxe6,59", Value: "tftp://x", IPVersion: 6},
	}
	option := func(code byte, value string) dhcpv4.Modifier {
		return dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(code), []byte(value))
	}
	for name, c := range map[string]struct {
		with   []dhcpv4.Modifier
		file   string
		router bool
	}{
		"firmware":                   {nil, "undionly.kpxe", true},
		"firmware with a user class": {[]dhcpv4.Modifier{option(optUserClass, "PXE")}, "undionly.kpxe", true},
		"iPXE by its options":        {[]dhcpv4.Modifier{option(optIPXE, "\xb1\x05\x01\x80\x86\x10\x0e")}, "http://192.0.2.7/boot.ipxe", false},
		"iPXE by its user class":     {[]dhcpv4.Modifier{option(optUserClass, "iPXE")}, "http://192.0.2.7/boot.ipxe", false},
		"iPXE in RFC 3004's form":    {[]dhcpv4.Modifier{option(optUserClass, "\x04iPXE")}, "http://192.0.2.7/boot.ipxe", false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, asked := range [][]byte{nil, {66, 67}, {66}} {
				p, s := punt(), New(Options{})
				p.Port.ExtraDHCPOpts = extra
				a := mustAsk(t, s, p, message(t, dhcpv4.MessageTypeDiscover, append(c.with, parameters(asked...))...))
				wanted := len(asked) != 1
				if a.BootFileName != c.file || a.ServerIPAddr.String() != "192.0.2.7" || (a.BootFileNameOption() == c.file) != wanted {
					t.Errorf("asked for %v: file %q, option 67 %q, siaddr %v", asked, a.BootFileName, a.BootFileNameOption(), a.ServerIPAddr)
				}
				if (len(a.Router()) > 0) != c.router || a.Options.Has(dhcpv4.GenericOptionCode(150)) || s.Counts().Omitted > 0 {
					t.Errorf("routers %v, option 150 %v, %d omitted", a.Router(), a.Options.Has(dhcpv4.GenericOptionCode(150)), s.Counts().Omitted)
				}
			}
		})
	}
}

// A client that tells its name (RFC 4702) is told what the port is called.
func TestClientName(t *testing.T) {
	for name, c := range map[string]struct {
		fqdn, portName, netDomain string
		want                      string // of option 81; "" none
		domain                    string // option 15
	}{
		"as text":              {"\x00\x00\x00guest", "db", "", "\x08\xff\xffdb.cloud.example", "cloud.example"},
		"on the wire":          {"\x04\x00\x00\x05guest\x00", "db", "", "\x0c\xff\xff\x02db\x05cloud\x07example\x00", "cloud.example"},
		"server to update":     {"\x05\x00\x00\x05guest\x00", "db", "", "\x0e\xff\xff\x02db\x05cloud\x07example\x00", "cloud.example"},
		"without a dns_name":   {"\x00\x00\x00", "", "", "\x08\xff\xffhost-10-0-0-5.cloud.example", "cloud.example"},
		"the network's domain": {"\x00\x00\x00", "db", "blue.example.", "\x08\xff\xffdb.blue.example", "blue.example"},
		"too short":            {"\x00\x00", "db", "", "", "cloud.example"},
		"not told":             {"", "db", "", "", "cloud.example"},
	} {
		t.Run(name, func(t *testing.T) {
			p := punt()
			p.Port.DNSName, p.Network.DNSDomain = c.portName, c.netDomain
			with := []dhcpv4.Modifier{parameters(1)}
			if c.fqdn != "" {
				with = append(with, dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(optFQDN), []byte(c.fqdn)))
			}
			a := mustAsk(t, New(Options{Domain: "cloud.example"}), p, message(t, dhcpv4.MessageTypeDiscover, with...))
			if got := string(a.Options.Get(dhcpv4.GenericOptionCode(optFQDN))); got != c.want || a.DomainName() != c.domain {
				t.Errorf("%q and domain %q, want %q and %q", got, a.DomainName(), c.want, c.domain)
			}
		})
	}
}

// A port with addresses in several subnets gets the one it asks for, else that of the relay's subnet,
// else the first, each with its own subnet's options.
func TestSeveralSubnets(t *testing.T) {
	relay := func(a string) dhcpv4.Modifier { return dhcpv4.WithGatewayIP(net.IP(addr(a).AsSlice())) }
	for name, c := range map[string]struct {
		with []dhcpv4.Modifier
		want string
	}{
		"nothing in mind":                  {nil, "10.0.0.5"},
		"the second":                       {[]dhcpv4.Modifier{withRequested("10.0.1.5")}, "10.0.1.5"},
		"another port's":                   {[]dhcpv4.Modifier{withRequested("10.0.1.6")}, "10.0.0.5"},
		"one without DHCP":                 {[]dhcpv4.Modifier{withRequested("10.0.2.5")}, "10.0.0.5"},
		"relay of the second subnet":       {[]dhcpv4.Modifier{relay("10.0.1.77")}, "10.0.1.5"},
		"relay of no subnet":               {[]dhcpv4.Modifier{relay("192.0.2.77")}, "10.0.0.5"},
		"the first, by the second's relay": {[]dhcpv4.Modifier{withRequested("10.0.0.5"), relay("10.0.1.77")}, "10.0.0.5"},
	} {
		t.Run(name, func(t *testing.T) {
			a := mustAsk(t, New(Options{}), punt(), message(t, dhcpv4.MessageTypeDiscover, c.with...))
			gateway := 0
			if c.want == "10.0.0.5" {
				gateway = 1
			}
			if a.YourIPAddr.String() != c.want || len(a.Router()) != gateway {
				t.Errorf("offered %v with routers %v, want %s", a.YourIPAddr, a.Router(), c.want)
			}
		})
	}
}

// A lease without end has no times at which it should be renewed.
func TestInfiniteLease(t *testing.T) {
	a := mustAsk(t, New(Options{LeaseDuration: -time.Second}), punt(), message(t, dhcpv4.MessageTypeDiscover))
	if !bytes.Equal(a.Options.Get(dhcpv4.OptionIPAddressLeaseTime), []byte{255, 255, 255, 255}) || a.Options.Has(dhcpv4.OptionRenewTimeValue) || a.Options.Has(dhcpv4.OptionRebindingTimeValue) {
		t.Errorf("lease time % x, options %v", a.Options.Get(dhcpv4.OptionIPAddressLeaseTime), a.Options)
	}
}

// A host route to the metadata address is the user's word.
func TestMetadataRoute(t *testing.T) {
	for name, c := range map[string]struct {
		routes []model.Route
		want   string
	}{
		"ours":       {nil, "10.0.0.2"},
		"the user's": {[]model.Route{{Destination: prefix("169.254.169.254/32"), Nexthop: addr("10.0.0.9")}}, "10.0.0.9"},
	} {
		t.Run(name, func(t *testing.T) {
			p := punt()
			p.Network.Subnets[0].HostRoutes = c.routes
			var via []string
			for _, r := range mustAsk(t, New(Options{Metadata: true}), p, message(t, dhcpv4.MessageTypeDiscover)).ClasslessStaticRoute() {
				if r.Dest.IP.String() == "169.254.169.254" {
					via = append(via, r.Router.String())
				}
			}
			if len(via) != 1 || via[0] != c.want {
				t.Errorf("by way of %v, want %s", via, c.want)
			}
		})
	}
}

// What a port gets and what became of its requests, in words.
func TestExplain(t *testing.T) {
	s := New(Options{})
	tell := func(p *flows.Punt, d *dhcpv4.DHCPv4) Exchange {
		var frame []byte
		p.Packet = packet(t, d)
		err := s.Handle(p, func(b []byte) { frame = bytes.Clone(b) })
		return s.Explain(p, frame, err)
	}
	for name, c := range map[string]struct {
		d                         *dhcpv4.DHCPv4
		request, decision, reason string
	}{
		"discover":    {message(t, dhcpv4.MessageTypeDiscover), "DHCPDISCOVER", "DHCPOFFER", "10.0.0.5 is the port's address in a subnet with enable_dhcp"},
		"selecting":   {message(t, dhcpv4.MessageTypeRequest, withRequested("10.0.0.5"), withServer("10.0.0.2")), "DHCPREQUEST (SELECTING 10.0.0.5)", "DHCPACK", "10.0.0.5 is the port's address in a subnet with enable_dhcp"},
		"init-reboot": {message(t, dhcpv4.MessageTypeRequest, withRequested("10.0.0.6")), "DHCPREQUEST (INIT-REBOOT with 10.0.0.6)", "DHCPNAK", "10.0.0.6 is not the port's address"},
		"renewing":    {message(t, dhcpv4.MessageTypeRequest, withCiaddr("10.0.0.5")), "DHCPREQUEST (RENEWING or REBINDING 10.0.0.5)", "DHCPACK", "10.0.0.5 is the port's address in a subnet with enable_dhcp"},
		"inform":      {message(t, dhcpv4.MessageTypeInform, withCiaddr("10.0.0.5")), "DHCPINFORM", "DHCPACK", "10.0.0.5 is the port's address: it is told the rest"},
		"release":     {message(t, dhcpv4.MessageTypeRelease, withCiaddr("10.0.0.5")), "DHCPRELEASE", "silence", "a DHCPRELEASE has no answer; the address stays the port's"},
		"decline":     {message(t, dhcpv4.MessageTypeDecline, withRequested("10.0.0.5"), withServer("10.0.0.2")), "DHCPDECLINE", "silence", "10.0.0.5 is in use by another machine, the client found (DHCPDECLINE)"},
		"spoofed":     {message(t, dhcpv4.MessageTypeDiscover, dhcpv4.WithHwAddr(otherMAC[:])), "DHCPDISCOVER", "silence", WrongHardware.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			x := tell(punt(), c.d)
			if x.Request != c.request || x.Decision != c.decision || x.Reason != c.reason {
				t.Errorf("%+v", x)
			}
			if len(x.RequestText) < 5 || (len(x.AnswerText) > 5) != (c.decision != "silence") {
				t.Errorf("decoded as %q and %q", x.RequestText, x.AnswerText)
			}
		})
	}
	p := punt()
	p.Packet = []byte{1, 2, 3}
	if x := s.Explain(p, nil, s.Handle(p, nil)); x.Request != "not a DHCP message" || x.Reason != "malformed request: frame of 3 bytes" {
		t.Errorf("%+v", x)
	}
}

func TestLease(t *testing.T) {
	s := New(Options{LeaseDuration: time.Hour})
	p := punt()
	l, err := s.Lease(p.Network, p.Port)
	if a := decode(t, l.Offer); err != nil || l.Address != addr("10.0.0.5") || l.Server != addr("10.0.0.2") || l.Duration != time.Hour || a.MessageType() != dhcpv4.MessageTypeOffer || !a.Options.Has(dhcpv4.OptionHostName) {
		t.Errorf("%+v, %v", l, err)
	}
	if c := s.Counts(); c != (Counts{}) {
		t.Errorf("looking at a lease was counted: %+v", c)
	}
	for name, c := range map[string]struct {
		change func(p *flows.Punt)
		why    string
	}{
		"no address":   {func(p *flows.Punt) { p.Port.FixedIPs = nil }, "the port has no IPv4 address: see its fixed_ips"},
		"no DHCP":      {func(p *flows.Punt) { p.Port.FixedIPs = p.Port.FixedIPs[1:2] }, "enable_dhcp is false on subnet 10.0.2.0/24 (" + id(12).String() + ") of 10.0.2.5"},
		"no DHCP port": {func(p *flows.Punt) { p.Network.DHCP, p.Port.FixedIPs = nil, p.Port.FixedIPs[2:3] }, "the network's DHCP port has no address in subnet 10.0.0.0/24 (" + id(10).String() + ")"},
	} {
		t.Run(name, func(t *testing.T) {
			p := punt()
			c.change(p)
			if _, err := s.Lease(p.Network, p.Port); err == nil || err.Error() != c.why {
				t.Errorf("%v, want %s", err, c.why)
			}
		})
	}
}

// Text is shown of whatever a guest sent.
func FuzzText(f *testing.F) {
	f.Add(packet(f, message(f, dhcpv4.MessageTypeDiscover, parameters(1, 3, 6))))
	f.Add(packet(f, message(f, dhcpv4.MessageTypeRequest, dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(optIPXE), []byte{1, 1, 1}), dhcpv4.WithOption(dhcpv4.OptRelayAgentInfo(dhcpv4.OptGeneric(dhcpv4.AgentCircuitIDSubOption, []byte("x")))))))
	f.Fuzz(func(_ *testing.T, frame []byte) {
		_ = Text(frame)
	})
}
