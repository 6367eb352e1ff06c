package dhcp

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

// codesOf are the codes of an answer's options, ascending.
func codesOf(a *answer) (list []byte) {
	for code := range a.Options {
		list = append(list, code)
	}
	slices.Sort(list)
	return list
}

// parameters asks for exactly these options.
func parameters(codes ...byte) dhcpv4.Modifier {
	return dhcpv4.WithGeneric(dhcpv4.OptionParameterRequestList, codes)
}

func TestOptionsSent(t *testing.T) {
	const inform = dhcpv4.MessageTypeInform
	for _, c := range []struct {
		name string
		d    *dhcpv4.DHCPv4
		want []byte
	}{
		{"nothing asked for", message(t, dhcpv4.MessageTypeDiscover), []byte{1, 3, 6, 12, 15, 26, 28, 51, 53, 54, 58, 59, 121, 249}},
		{"one asked for", message(t, dhcpv4.MessageTypeDiscover, parameters(12)), []byte{1, 3, 6, 12, 15, 26, 51, 53, 54, 58, 59, 121}},
		{"some that we have not", message(t, dhcpv4.MessageTypeDiscover, parameters(42, 28, 66)), []byte{1, 3, 6, 15, 26, 28, 51, 53, 54, 58, 59, 121}},
		{"routes of Microsoft", message(t, dhcpv4.MessageTypeDiscover, parameters(249)), []byte{1, 3, 6, 15, 26, 51, 53, 54, 58, 59, 121, 249}},
		{"inform", message(t, inform, withCiaddr("10.0.0.5"), parameters(51, 58, 59)), []byte{1, 3, 6, 15, 26, 53, 54, 121}},
		{"refused", message(t, dhcpv4.MessageTypeRequest, withRequested("10.0.0.6"), dhcpv4.WithGeneric(dhcpv4.OptionClientIdentifier, []byte{0, 1})), []byte{53, 54, 56, 61}},
		{"relay agent", message(t, dhcpv4.MessageTypeDiscover, parameters(1), dhcpv4.WithGeneric(dhcpv4.OptionRelayAgentInformation, []byte{1, 1, 9})), []byte{1, 3, 6, 15, 26, 51, 53, 54, 58, 59, 82, 121}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := mustAsk(t, New(Options{Domain: "example.org"}), punt(), c.d)
			if got := codesOf(a); !bytes.Equal(got, c.want) {
				t.Errorf("options %v, want %v", got, c.want)
			}
			for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionClientIdentifier, dhcpv4.OptionRelayAgentInformation} {
				if got, want := a.Options.Get(code), c.d.Options.Get(code); !bytes.Equal(got, want) {
					t.Errorf("option %v is %x, was %x", code, got, want)
				}
			}
		})
	}
}

func TestOptionValues(t *testing.T) {
	p := punt()
	p.Port.DNSName = "web"
	a := mustAsk(t, New(Options{LeaseDuration: time.Hour, Domain: "example.org."}), p, message(t, dhcpv4.MessageTypeDiscover))
	got := fmt.Sprintln(a.SubnetMask(), a.Router(), a.DNS(), a.HostName(), a.DomainName(), a.BroadcastAddress(), a.IPAddressLeaseTime(0),
		a.IPAddressRenewalTime(0), a.IPAddressRebindingTime(0), a.Options.Get(dhcpv4.OptionInterfaceMTU))
	if want := "ffffff00 [10.0.0.1] [9.9.9.9 1.1.1.1] web example.org 10.0.0.255 1h0m0s 30m0s 52m30s [5 170]\n"; got != want {
		t.Errorf("%s, want %s", got, want)
	}

	p = punt()
	p.Network.Subnets[0].DNSNameservers = []netip.Addr{addr("9.9.9.9"), addr("0.0.0.0")}
	p.Network.Subnets[0].GatewayIP = netip.Addr{}
	p.Network.MTU = 0
	a = mustAsk(t, New(Options{LeaseDuration: -1}), p, message(t, dhcpv4.MessageTypeDiscover))
	if want := []byte{1, 12, 28, 51, 53, 54, 121, 249}; !bytes.Equal(codesOf(a), want) {
		t.Errorf("options %v, want %v", codesOf(a), want)
	}
	if a.HostName() != "host-10-0-0-5" || !bytes.Equal(a.Options.Get(dhcpv4.OptionIPAddressLeaseTime), []byte{255, 255, 255, 255}) {
		t.Errorf("host name %q, lease %v", a.HostName(), a.IPAddressLeaseTime(0))
	}

	p = punt()
	p.Network.Subnets[0].CIDR = prefix("10.0.0.4/31")
	if a = mustAsk(t, New(Options{}), p, message(t, dhcpv4.MessageTypeDiscover)); a.BroadcastAddress() != nil || a.SubnetMask().String() != "fffffffe" {
		t.Errorf("broadcast address %v in a subnet of %v", a.BroadcastAddress(), a.SubnetMask())
	}
}

func TestRoutes(t *testing.T) {
	route := func(to, via string) model.Route { return model.Route{Destination: prefix(to), Nexthop: addr(via)} }
	const siblings = "[10.0.1.0/24->0.0.0.0 10.0.2.0/24->0.0.0.0"
	for _, c := range []struct {
		name     string
		alone    bool // no other subnets
		metadata bool
		gateway  string
		host     []model.Route
		router   string
		want     string
	}{
		{"gateway only", true, false, "10.0.0.1", nil, "[10.0.0.1]", "[]"},
		{"nothing", true, false, "", nil, "[]", "[]"},
		{"other subnets", false, false, "10.0.0.1", nil, "[10.0.0.1]", siblings + " 0.0.0.0/0->10.0.0.1]"},
		{"other subnets, no gateway", false, false, "", nil, "[]", siblings + "]"},
		{"host route", true, false, "10.0.0.1", []model.Route{route("10.9.0.0/16", "10.0.0.254")}, "[10.0.0.1]", "[10.9.0.0/16->10.0.0.254 0.0.0.0/0->10.0.0.1]"},
		{"default host route beside a gateway", true, false, "10.0.0.1", []model.Route{route("0.0.0.0/0", "10.0.0.254")}, "[10.0.0.1]", "[]"},
		{"default host route as gateway", true, false, "", []model.Route{route("0.0.0.0/0", "10.0.0.254"), route("10.9.1.128/25", "10.0.0.253")}, "[10.0.0.254]", "[10.9.1.128/25->10.0.0.253 0.0.0.0/0->10.0.0.254]"},
		{"metadata", true, true, "10.0.0.1", nil, "[10.0.0.1]", "[169.254.169.254/32->10.0.0.2 0.0.0.0/0->10.0.0.1]"},
		{"metadata, isolated", true, true, "", nil, "[]", "[169.254.169.254/32->10.0.0.2]"},
		{"route to a host inside", true, false, "", []model.Route{route("10.9.0.7/32", "10.0.0.254")}, "[]", "[10.9.0.7/32->10.0.0.254]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := punt()
			s := p.Network.Subnets[0]
			if c.alone {
				p.Network.Subnets = p.Network.Subnets[:1]
			}
			s.HostRoutes, s.GatewayIP = c.host, netip.Addr{}
			if c.gateway != "" {
				s.GatewayIP = addr(c.gateway)
			}
			a := mustAsk(t, New(Options{Metadata: c.metadata}), p, message(t, dhcpv4.MessageTypeDiscover))
			var got []string
			for _, r := range a.ClasslessStaticRoute() {
				got = append(got, fmt.Sprintf("%v->%v", r.Dest, r.Router))
			}
			if fmt.Sprint(got) != c.want || fmt.Sprint(a.Router()) != c.router {
				t.Errorf("routes %v, router %v; want %v and %v", got, a.Router(), c.want, c.router)
			}
			if !bytes.Equal(a.Options.Get(dhcpv4.GenericOptionCode(optRoutesMS)), a.Options.Get(dhcpv4.OptionClasslessStaticRoute)) {
				t.Error("option 249 is not option 121")
			}
		})
	}
}

// manyRoutes makes options 121 and 249 of 9 bytes a host route, and one default.
func manyRoutes(p *flows.Punt, n int) {
	for i := range n {
		p.Network.Subnets[0].HostRoutes = append(p.Network.Subnets[0].HostRoutes,
			model.Route{Destination: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 32), Nexthop: addr("10.0.0.254")})
	}
	p.Network.Subnets = p.Network.Subnets[:1]
}

// allOptions puts the options of all three fields together, in the order of RFC 3396.
func allOptions(t *testing.T, a *answer) dhcpv4.Options {
	t.Helper()
	message := a.udp.Payload
	fields := [][]byte{message[bootpLen:]}
	if used := a.Options.Get(dhcpv4.OptionOptionOverload); len(used) == 1 {
		if used[0]&1 != 0 {
			fields = append(fields, message[atFile:atCookie])
		}
		if used[0]&2 != 0 {
			fields = append(fields, message[atSname:atFile])
		}
	}
	o := dhcpv4.Options{}
	for _, f := range fields {
		more := dhcpv4.Options{}
		if err := more.FromBytes(f); err != nil {
			t.Fatalf("%v in %x", err, f)
		}
		for code, value := range more {
			o[code] = append(o[code], value...)
		}
	}
	return o
}

// TestMaxSize: an answer is never longer than the client takes (option 57), nor than the network does;
// routes that do not fit go to the unused header fields, and only what fits nowhere is left out.
func TestMaxSize(t *testing.T) {
	size := func(n uint16) dhcpv4.Modifier { return dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(n)) }
	for _, c := range []struct {
		name    string
		routes  int
		with    []dhcpv4.Modifier
		most    int // bytes of IP datagram
		have    []byte
		lacks   []byte
		omitted uint64
	}{
		{"fits", 5, nil, 576, []byte{12, 28, 121, 249}, []byte{52}, 0},
		{"249 moves to file", 12, nil, 576, []byte{12, 28, 52, 121, 249}, nil, 0},
		{"no room for 249", 20, nil, 576, []byte{12, 28, 121}, []byte{249}, 1},
		{"client takes more", 20, []dhcpv4.Modifier{size(1500)}, 1450, []byte{12, 28, 121, 249}, []byte{52}, 0},
		{"client says less than it must", 20, []dhcpv4.Modifier{size(100)}, 576, []byte{121}, []byte{249}, 1},
		{"long option", 40, []dhcpv4.Modifier{size(1500)}, 1450, []byte{121, 249}, []byte{52}, 0},
		{"more than the network takes", 130, []dhcpv4.Modifier{size(65535)}, 1450, []byte{1, 12, 28, 51, 53, 54}, []byte{52, 121, 249}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, s := punt(), New(Options{Domain: "openstacklocal"})
			manyRoutes(p, c.routes)
			a := mustAsk(t, s, p, message(t, dhcpv4.MessageTypeDiscover, c.with...))
			if int(a.ip.Length) > c.most {
				t.Errorf("%d bytes, want at most %d", a.ip.Length, c.most)
			}
			o := allOptions(t, a)
			for _, code := range c.have {
				if !o.Has(dhcpv4.GenericOptionCode(code)) {
					t.Errorf("no option %d in %d bytes", code, a.ip.Length)
				}
			}
			for _, code := range c.lacks {
				if o.Has(dhcpv4.GenericOptionCode(code)) {
					t.Errorf("option %d in %d bytes", code, a.ip.Length)
				}
			}
			if c.routes <= 40 {
				var routes dhcpv4.Routes
				if err := routes.FromBytes(o.Get(dhcpv4.OptionClasslessStaticRoute)); err != nil || len(routes) != c.routes+1 {
					t.Errorf("%d routes, want %d: %v", len(routes), c.routes+1, err)
				}
			}
			if got := s.Counts().Omitted; got != c.omitted {
				t.Errorf("%d omitted, want %d", got, c.omitted)
			}
		})
	}
}

func TestExtraOptions(t *testing.T) {
	for _, c := range []struct {
		name, value string
		code        byte
		want        string // bytes; an error if it begins with !
	}{
		{"mtu", "1400", 26, "\x05\x78"},
		{"router", "10.0.0.9", 3, "\x0a\x00\x00\x09"},
		{"3", "10.0.0.9", 3, "\x0a\x00\x00\x09"},
		{"ntp-server", "10.0.0.9, 10.0.0.10", 42, "\x0a\x00\x00\x09\x0a\x00\x00\x0a"},
		{"time-offset", "-3600", 2, "\xff\xff\xf1\xf0"},
		{"default-ttl", "128", 23, "\x80"},
		{"tftp-server", "boot.example.org", 66, "boot.example.org"},
		{"150", "10.0.0.9", 150, "\x0a\x00\x00\x09"},
		{"domain-search", "example.org,a.b.", 119, "\x07example\x03org\x00\x01a\x01b\x00"},
		{"classless-static-route", "10.1.0.0/16,10.0.0.9,0.0.0.0/0,10.0.0.1", 121, "\x10\x0a\x01\x0a\x00\x00\x09\x00\x0a\x00\x00\x01"},
		{"249", "10.1.0.0/16,10.0.0.9", 249, "\x10\x0a\x01\x0a\x00\x00\x09"},
		{"T1", "600", 58, "\x00\x00\x02\x58"},
		{"224", "01:ab:ff", 224, "\x01\xab\xff"},
		{"224", "10.0.0.9", 224, "\x0a\x00\x00\x09"},
		{"224", "a:bc, text", 224, "a:bc, text"},
		{"hostname", "db", 12, "db"},
		{"tag:!ipxe,67", "undionly.kpxe", 67, "undionly.kpxe"},
		{"client-id", "01:02:03", 61, ""},

		{"mtu", "70000", 0, "!not a number of 2 bytes"},
		{"default-ttl", "-200", 0, "!not a number of 1 bytes"},
		{"router", "10.0.0.x", 0, "!not an IPv4 address"},
		{"router", "2001:db8::1", 0, "!not an IPv4 address"},
		{"classless-static-route", "10.1.0.0/16", 0, "!not a list"},
		{"classless-static-route", "10.1.0.0,10.0.0.1", 0, "!not an IPv4 prefix"},
		{"domain-search", "a..b", 0, "!not a domain name"},
		{"domain-search", strings.Repeat("abcdefg.", 32), 0, "!longer than"},
		{"bootfile-name", "a\nb", 0, "!control characters"},
		{"no-such-option", "1", 0, "!not the name or number"},
		{"tag:other,67", "http://boot", 0, "!not the name or number"},
		{"tag:ipxe", "http://boot", 0, "!not the name or number"},
		{"tag:!ipxe,mtu", "70000", 0, "!not a number of 2 bytes"},
		{"0", "1", 0, "!not the name or number"},
		{"255", "1", 0, "!not an IPv4 address"},
		{"256", "1", 0, "!not the name or number"},
		{"message-type", "5", 0, "!not the name or number"},
		{"54", "10.0.0.9", 0, "!not the name or number"},
	} {
		t.Run(c.name+"="+c.value[:min(len(c.value), 20)], func(t *testing.T) {
			p, s := punt(), New(Options{})
			e := model.ExtraDHCPOpt{Name: c.name, Value: c.value, IPVersion: 4}
			p.Port.ExtraDHCPOpts = []model.ExtraDHCPOpt{e, {Name: "23", Value: "2001:db8::9", IPVersion: 6}}
			a := mustAsk(t, s, p, message(t, dhcpv4.MessageTypeDiscover))
			err := CheckExtraOption(e)
			if wrong, ok := strings.CutPrefix(c.want, "!"); ok {
				if err == nil || !strings.Contains(err.Error(), wrong) {
					t.Errorf("error %v, want %s", err, wrong)
				}
				if s.Counts().Omitted == 0 {
					t.Error("not counted")
				}
				return
			}
			if got := a.Options.Get(dhcpv4.GenericOptionCode(c.code)); err != nil || string(got) != c.want || s.Counts().Omitted != 0 {
				t.Errorf("% x (%v), want % x", got, err, c.want)
			}
		})
	}
}

// TestExtraOptionsRules: what extra_dhcp_opts do beside being sent.
func TestExtraOptionsRules(t *testing.T) {
	extra := func(nv ...string) *flows.Punt {
		p := punt()
		for i := 0; i < len(nv); i += 2 {
			p.Port.ExtraDHCPOpts = append(p.Port.ExtraDHCPOpts, model.ExtraDHCPOpt{Name: nv[i], Value: nv[i+1], IPVersion: 4})
		}
		return p
	}
	discover := message(t, dhcpv4.MessageTypeDiscover)

	a := mustAsk(t, New(Options{}), extra("router", "", "classless-static-route", ""), discover)
	if a.Router() != nil || a.ClasslessStaticRoute() != nil || a.Options.Has(dhcpv4.GenericOptionCode(optRoutesMS)) {
		t.Error("an empty value did not suppress the option")
	}
	a = mustAsk(t, New(Options{}), extra("121", "10.1.0.0/16,10.0.0.9"), discover)
	if r := a.ClasslessStaticRoute(); len(r) != 1 || !bytes.Equal(a.Options.Get(dhcpv4.GenericOptionCode(optRoutesMS)), a.Options.Get(dhcpv4.OptionClasslessStaticRoute)) {
		t.Errorf("routes %v, and of Microsoft %x", r, a.Options.Get(dhcpv4.GenericOptionCode(optRoutesMS)))
	}
	a = mustAsk(t, New(Options{}), extra("server-ip-address", "10.0.0.9", "bootfile-name", "pxelinux.0", "tftp-server", "10.0.0.9"), discover)
	if a.ServerIPAddr.String() != "10.0.0.9" || a.BootFileName != "pxelinux.0" || a.BootFileNameOption() != "pxelinux.0" || a.TFTPServerName() != "10.0.0.9" {
		t.Errorf("siaddr %v, file %q, option 67 %q, 66 %q", a.ServerIPAddr, a.BootFileName, a.BootFileNameOption(), a.TFTPServerName())
	}
	a = mustAsk(t, New(Options{}), extra("ntp-server", "10.0.0.9", "mtu", "1400"), message(t, dhcpv4.MessageTypeDiscover, parameters(1)))
	if a.NTPServers() != nil || !bytes.Equal(a.Options.Get(dhcpv4.OptionInterfaceMTU), []byte{5, 120}) {
		t.Errorf("not as asked for: %v", a.Options)
	}
	a = mustAsk(t, New(Options{}), extra("3", "10.0.0.9", "router", "10.0.0.8"), discover)
	if r := a.Router(); len(r) != 1 || r[0].String() != "10.0.0.9" {
		t.Errorf("routers %v of the same option given twice", r)
	}
	a = mustAsk(t, New(Options{}), extra("T1", "60", "T2", "90"), message(t, dhcpv4.MessageTypeInform, withCiaddr("10.0.0.5")))
	if a.Options.Has(dhcpv4.OptionRenewTimeValue) || a.Options.Has(dhcpv4.OptionRebindingTimeValue) {
		t.Error("lease times in the answer to DHCPINFORM")
	}
}
