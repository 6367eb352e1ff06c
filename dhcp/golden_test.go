package dhcp

import (
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

var update = flag.Bool("update", false, "rewrite testdata")

// golden compares with testdata/name.txt.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// extras makes a port's extra_dhcp_opts of names and values.
func extras(version int, nameValue ...string) (list []model.ExtraDHCPOpt) {
	for i := 0; i < len(nameValue); i += 2 {
		list = append(list, model.ExtraDHCPOpt{Name: nameValue[i], Value: nameValue[i+1], IPVersion: version})
	}
	return list
}

// TestGolden keeps every byte of one answer of each kind, with what another decoder reads in it.
func TestGolden(t *testing.T) {
	ask249 := dhcpv4.WithRequestedOptions(dhcpv4.OptionSubnetMask, dhcpv4.OptionHostName, dhcpv4.OptionBroadcastAddress, dhcpv4.GenericOptionCode(optRoutesMS))
	clientID := dhcpv4.WithOption(dhcpv4.OptClientIdentifier(append([]byte{1}, portMAC[:]...)))
	relay := dhcpv4.WithGatewayIP(net.IP{10, 0, 0, 77})
	discover := func(with ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
		return message(t, dhcpv4.MessageTypeDiscover, with...)
	}
	boots := func(p *flows.Punt) {
		p.Port.ExtraDHCPOpts = extras(4, "server-ip-address", "192.0.2.7", "tftp-server", "192.0.2.7", "tag:!ipxe,bootfile-name", "undionly.kpxe", "tag:ipxe,67", "http://192.0.2.7/boot.ipxe",
			"150", "192.0.2.7", "path-prefix", "/boot/", "vendor-encap", "06:01:08:ff")
	}
	for name, c := range map[string]struct {
		d      *dhcpv4.DHCPv4
		change func(*flows.Punt)
	}{
		"offer":             {d: discover()},
		"offer-asked":       {d: discover(ask249, clientID)},
		"offer-relay":       {d: discover(relay)},
		"offer-relay-agent": {d: discover(relay, dhcpv4.WithGeneric(dhcpv4.OptionRelayAgentInformation, []byte{1, 4, 'e', 't', 'h', '0'}))},
		"offer-broadcast":   {d: discover(dhcpv4.WithBroadcast(true))},
		"offer-name":        {d: discover(dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(optFQDN), []byte("\x05\x00\x00\x05guest\x00"))), change: func(p *flows.Punt) { p.Port.DNSName = "db" }},
		"offer-firmware":    {d: discover(dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00000:UNDI:002001"))), change: boots},
		"offer-ipxe":        {d: discover(dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(optUserClass), []byte("iPXE"))), change: boots},
		"offer-windows": {d: discover(dhcpv4.WithBroadcast(true), clientID, dhcpv4.WithOption(dhcpv4.OptHostName("DESKTOP")), dhcpv4.WithOption(dhcpv4.OptClassIdentifier("MSFT 5.0")),
			parameters(1, 3, 6, 15, 31, 33, 43, 44, 46, 47, 119, 121, 249, 252))},
		"offer-overloaded":  {d: discover(), change: func(p *flows.Punt) { manyRoutes(p, 11) }},
		"offer-long-option": {d: discover(dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(1500))), change: func(p *flows.Punt) { manyRoutes(p, 40) }},
		"ack-selecting":     {d: message(t, dhcpv4.MessageTypeRequest, withServer("10.0.0.2"), withRequested("10.0.0.5"), ask249)},
		"ack-renewing":      {d: message(t, dhcpv4.MessageTypeRequest, withCiaddr("10.0.0.5"), ask249)},
		"ack-inform":        {d: message(t, dhcpv4.MessageTypeInform, withCiaddr("10.0.0.5"))},
		"nak":               {d: message(t, dhcpv4.MessageTypeRequest, withRequested("10.0.0.6"), clientID)},
		"nak-relay":         {d: message(t, dhcpv4.MessageTypeRequest, withRequested("10.0.0.6"), relay)},
	} {
		t.Run(name, func(t *testing.T) {
			p := punt()
			p.Network.Subnets[0].HostRoutes = []model.Route{{Destination: prefix("10.9.0.0/16"), Nexthop: addr("10.0.0.254")}}
			if c.change != nil {
				c.change(p)
			}
			a := mustAsk(t, New(Options{Domain: "openstacklocal."}), p, c.d)
			golden(t, name, a.Summary()+"\n"+hex.Dump(a.frame))
		})
	}
}

// TestIPv6Golden keeps every byte of one answer of each kind, with what another decoder reads in it.
func TestIPv6Golden(t *testing.T) {
	ours, ask := toServer(ourDUID), dhcpv6.WithRequestedOptions(dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionDomainSearchList, dhcpv6.OptionFQDN, dhcpv6.OptionNTPServer)
	const own = "2001:db8:0:1::5"
	for name, d := range map[string]*dhcpv6.Message{
		"v6-advertise":      messageIPv6(t, V6Solicit, withIA(1), ask),
		"v6-advertise-boot": messageIPv6(t, V6Solicit, withIA(1), dhcpv6.WithUserClass([]byte("iPXE"))),
		"v6-rapid":          messageIPv6(t, V6Solicit, withIA(1), ask, dhcpv6.WithRapidCommit),
		"v6-reply-request":  messageIPv6(t, V6Request, ours, withIA(1, own), ask, dhcpv6.WithFQDN(1, "me")),
		"v6-reply-renew":    messageIPv6(t, V6Renew, ours, withIA(1, own, "2001:db8:0:1::6"), ask),
		"v6-reply-rebind":   messageIPv6(t, V6Rebind, withIA(1, own), ask),
		"v6-reply-confirm":  messageIPv6(t, V6Confirm, withIA(1, "2001:db8:0:1::6")),
		"v6-reply-release":  messageIPv6(t, V6Release, ours, withIA(1, own)),
		"v6-reply-decline":  messageIPv6(t, V6Decline, ours, withIA(1, own)),
		"v6-reply-inform":   messageIPv6(t, V6InformationRequest),
		"v6-reply-nothing":  messageIPv6(t, V6Request, ours, withIA(1, "2001:db8:9::1"), dhcpv6.WithIATA([4]byte{3: 2}), dhcpv6.WithIAPD([4]byte{3: 3})),
	} {
		t.Run(name, func(t *testing.T) {
			p := puntIPv6(1, 3)
			p.Port.ExtraDHCPOpts = extras(6, "ntp-server", "2001:db8::123")
			if name == "v6-advertise-boot" {
				p.Port.ExtraDHCPOpts = extras(6, "tag:ipxe6,bootfile-url", "http://[2001:db8::7]/boot.ipxe", "bootfile-param", "quiet,console=ttyS0")
			}
			a, err := askIPv6(t, New(Options{Domain: "openstacklocal."}), p, d)
			if a == nil {
				t.Fatalf("no answer: %v", err)
			}
			golden(t, name, a.Summary()+"\n"+hex.Dump(a.frame))
		})
	}
}

// samples are values of extra_dhcp_opts, each form's own.
var samples = map[form]string{
	free: "00:00:01:37:00:01:00:01:ff", address: "192.0.2.1", addresses: "192.0.2.1,192.0.2.2", text: "some text", number8: "200", number16: "1600", number32: "320000",
	routes: "10.1.0.0/16,192.0.2.1,0.0.0.0/0,192.0.2.2", domains: "example.org,a.example", identity: "01:02:03", refused: "1",
	timeServers: "2001:db8::1,time.example", bootParameters: "one,two",
}

// listing has a line for each option of extra_dhcp_opts that has a name: its number, its name and a value of its
// form, and the bytes that a client is sent.
func listing[Code byte | uint16](v *vocabulary[Code], sent func(code Code, name, value string) (string, error)) string {
	names := map[Code]string{}
	for name, code := range v.codes {
		names[code] = name
	}
	var b strings.Builder
	for _, code := range slices.Sorted(maps.Keys(names)) {
		value := samples[v.forms[code]]
		if v == any(v6ExtraNames) && v.forms[code] == addresses {
			value = "2001:db8::1,2001:db8::2"
		}
		bytes, err := sent(code, names[code], value)
		if err != nil {
			value, bytes = "", "refused: "+err.Error()
		}
		fmt.Fprintf(&b, "%3d %-25s %-43s %s\n", code, names[code], value, bytes)
	}
	return b.String()
}

// TestExtraGolden keeps the bytes of every option that extra_dhcp_opts name, as they are sent.
func TestExtraGolden(t *testing.T) {
	golden(t, "extra", listing(extraNames, func(code byte, name, value string) (string, error) {
		p := punt()
		p.Port.ExtraDHCPOpts = extras(4, name, value)
		a := mustAsk(t, New(Options{}), p, message(t, dhcpv4.MessageTypeDiscover))
		if code == nextServer {
			return "siaddr " + a.ServerIPAddr.String(), CheckExtraOption(p.Port.ExtraDHCPOpts[0])
		}
		return hex.EncodeToString(a.Options.Get(dhcpv4.GenericOptionCode(code))), CheckExtraOption(p.Port.ExtraDHCPOpts[0])
	}))
	golden(t, "v6-extra", listing(v6ExtraNames, func(code uint16, name, value string) (string, error) {
		p := puntIPv6(1)
		p.Port.ExtraDHCPOpts = extras(6, name, value)
		a := mustAskIPv6(t, New(Options{}), p, messageIPv6(t, V6InformationRequest))
		var bytes string
		for rest := a.frame[v6HeadersLen:]; len(rest) > 0; {
			c, value, after, ok := v6NextOption(rest)
			if !ok {
				t.Fatalf("%x", a.frame)
			}
			if rest = after; c == code {
				bytes += hex.EncodeToString(value)
			}
		}
		return bytes, CheckExtraOption(p.Port.ExtraDHCPOpts[0])
	}))
}
