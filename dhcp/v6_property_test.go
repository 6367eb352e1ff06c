package dhcp

import (
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"pgregory.net/rapid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

// verifyIPv6Answer checks what holds for every answer, whatever was asked.
func verifyIPv6Answer(t tb, p *flows.Punt, frame []byte) *answerIPv6 {
	t.Helper()
	a := decodeIPv6(t, p, frame)
	for _, ia := range a.Options.IANA() {
		for _, o := range ia.Options.Addresses() {
			given, _ := netip.AddrFromSlice(o.IPv6Addr)
			if live := o.ValidLifetime > 0; live != hasAssigned(p, given) || o.PreferredLifetime > o.ValidLifetime {
				t.Fatalf("port was given %v for %v, preferred for %v", given, o.ValidLifetime, o.PreferredLifetime)
			}
		}
	}
	if !a.Options.ServerID().Equal(ourDUID) {
		t.Fatalf("from %v", a.Options.ServerID())
	}
	return a
}

// TestIPv6OwnAddressesOnly: no message makes the server give, or confirm, an address that is not the
// port's, nor take away one that is.
func TestIPv6OwnAddressesOnly(t *testing.T) {
	s := New(Options{})
	rapid.Check(t, func(t *rapid.T) {
		p := puntIPv6(rapid.Permutation([]int{1, 2, 3, 4, 5, 6}).Draw(t, "subnets")[:rapid.IntRange(0, 6).Draw(t, "addresses")]...)
		address := rapid.SampledFrom([]string{"2001:db8:0:1::5", "2001:db8:0:1::6", "2001:db8:0:2::5", "2001:db8:0:3::5", "2001:db8:0:5::5", "2001:db8:0:5::2", "2001:db8:9::1", "::", "fe80::1"})
		var with []dhcpv6.Modifier
		var named []string
		for i := range rapid.IntRange(0, 3).Draw(t, "associations") {
			list := rapid.SliceOfN(address, 0, 3).Draw(t, "named")
			named = append(named, list...)
			with = append(with, withIA(byte(i), list...))
		}
		if d := rapid.SampledFrom([]dhcpv6.DUID{nil, ourDUID, otherDUID}).Draw(t, "server"); d != nil {
			with = append(with, toServer(d))
		}
		if rapid.Bool().Draw(t, "rapid commit") {
			with = append(with, dhcpv6.WithRapidCommit)
		}
		m := V6Message(rapid.IntRange(0, 13).Draw(t, "type"))
		p.Packet = packetIPv6(t, messageIPv6(t, m, with...).ToBytes())
		_ = s.Handle(p, func(frame []byte) {
			a := verifyIPv6Answer(t, p, frame)
			if status := a.Options.Status(); m == V6Confirm {
				all := true
				for _, n := range named {
					all = all && hasAssigned(p, addr(n))
				}
				if confirmed := status.StatusCode == 0; confirmed != all {
					t.Fatalf("%v of %v confirmed: %v", named, p.Port.FixedIPs, confirmed)
				}
			}
		})
	})
}

// FuzzIPv6 feeds any DHCPv6 message to the handler.
func FuzzIPv6(f *testing.F) {
	ours := toServer(ourDUID)
	for _, d := range []*dhcpv6.Message{
		messageIPv6(f, V6Solicit, withIA(1), dhcpv6.WithRapidCommit, dhcpv6.WithFQDN(1, "a.b"), dhcpv6.WithUserClass([]byte("iPXE"))),
		messageIPv6(f, V6Renew, ours, withIA(1, "2001:db8:0:1::5"), withIA(2, "2001:db8:0:1::6"), dhcpv6.WithIATA([4]byte{}), dhcpv6.WithIAPD([4]byte{})),
		messageIPv6(f, V6Confirm, withIA(1, "2001:db8:0:1::5"), dhcpv6.WithRequestedOptions(23, 24, 39, 56)),
	} {
		f.Add(d.ToBytes())
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		if len(message) > 9000 {
			return
		}
		p := puntIPv6(1, 2, 3)
		p.Port.ExtraDHCPOpts = []model.ExtraDHCPOpt{{Name: "ntp-server", Value: "2001:db8::1", IPVersion: 6}}
		p.Packet = packetIPv6(t, message)
		_, unread := dhcpv6.MessageFromBytes(message) // an answer repeats the client's DUID, of any form
		answers := 0
		if err := New(Options{Domain: "x"}).Handle(p, func(frame []byte) {
			if answers++; unread == nil {
				verifyIPv6Answer(t, p, frame)
			}
		}); err == nil && answers != 1 || answers > 1 {
			t.Fatalf("%d answers and %v", answers, err)
		}
	})
}

// FuzzIPv6Frame feeds any frame to the handlers of IPv6.
func FuzzIPv6Frame(f *testing.F) {
	f.Add(packetIPv6(f, messageIPv6(f, V6InformationRequest).ToBytes()), false)
	f.Add(solicitation(f), true)
	f.Fuzz(func(t *testing.T, frame []byte, router bool) {
		p := puntIPv6(1, 4)
		p.Packet = frame
		if router {
			p.Op = flows.OpRouterSolicitation
		}
		answers := 0
		if err := New(Options{}).Handle(p, func([]byte) { answers++ }); err == nil && answers != 1 || answers > 1 {
			t.Fatalf("%d answers and %v", answers, err)
		}
	})
}

// FuzzIPv6Extra: what the check accepts is encoded, and nothing else is.
func FuzzIPv6Extra(f *testing.F) {
	for name := range v6ExtraNames.codes {
		f.Add(name, "2001:db8::1,[2001:db8::2]")
	}
	f.Add("24", "a.b,c")
	f.Add("1000", "01:02")
	f.Fuzz(func(t *testing.T, name, value string) {
		if len(value) > 255 {
			return
		}
		p, s := puntIPv6(1), New(Options{})
		p.Network.MTU = 9000
		e := model.ExtraDHCPOpt{Name: name, Value: value, IPVersion: 6}
		p.Port.ExtraDHCPOpts = []model.ExtraDHCPOpt{e}
		p.Packet = packetIPv6(t, messageIPv6(t, V6Solicit).ToBytes())
		if err := s.Handle(p, func([]byte) {}); err != nil {
			t.Fatal(err)
		}
		if refused := CheckExtraOption(e) != nil; refused != (s.Counts().Omitted > 0) && value != "" {
			t.Errorf("%q=%q: refused %v, omitted %d", name, value, refused, s.Counts().Omitted)
		}
	})
}

func BenchmarkHandleIPv6(b *testing.B) {
	s := New(Options{Domain: "openstacklocal"})
	ask := dhcpv6.WithRequestedOptions(23, 24)
	for name, d := range map[string]*dhcpv6.Message{
		"solicit": messageIPv6(b, V6Solicit, withIA(1), ask),
		"renew":   messageIPv6(b, V6Renew, toServer(ourDUID), withIA(1, "2001:db8:0:1::5"), ask),
		"router":  nil,
	} {
		b.Run(name, func(b *testing.B) {
			p := puntIPv6(1)
			if d != nil {
				p.Packet = packetIPv6(b, d.ToBytes())
			} else {
				p.Op, p.Packet = flows.OpRouterSolicitation, solicitation(b)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Handle(p, func([]byte) {}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
