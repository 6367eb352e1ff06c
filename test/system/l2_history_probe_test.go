package system

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sync/errgroup"

	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/test/testbed"
)

// probe is a frame that a guest sends, to whom it comes by what was asked, and by what trace says. Guests are
// told by their names.
type probe struct {
	number    int // of the frame: its place in changing.probes
	what      string
	from      *member
	frame     []byte
	query     inspect.TraceQuery // of the same packet
	must, may []string           // it comes to all of must, and to others of may perhaps
	traced    bool
	told      []string // the guests that it comes to, sorted, if traced
	elsewhere bool     // perhaps not to all of told: a switch of the physical network may have heard the destination elsewhere
	verdict   string
	sent      int
}

// Addresses that no port has: of allowed address pairs, and of nobody.
var (
	sharedIP    = netip.MustParseAddr("10.0.0.251")
	sharedRange = netip.MustParsePrefix("10.0.0.248/29")
	nobodyIP    = netip.MustParseAddr("10.0.0.250")
)

// strangerMAC is no port's, pairMAC is in its pair perhaps.
func (p *member) strangerMAC() net.HardwareAddr {
	m := p.mac()
	return append(net.HardwareAddr{0x02, 0x66}, m[2:]...)
}
func (p *member) pairMAC() net.HardwareAddr {
	m := p.mac()
	return append(net.HardwareAddr{0x02, 0x77}, m[2:]...)
}

// maySend says whether port security lets the guest send from sharedIP and a MAC address. A port may combine
// what it has.
func (p *member) maySend(mac net.HardwareAddr) bool {
	if !p.safe || p.pair == nil {
		return !p.safe
	}
	return p.pair.ip.Contains(sharedIP) && (slices.Equal(mac, p.mac()) || slices.Equal(mac, p.pair.mac))
}

// contested says whether another port may have the guest's address: then everybody is asked who it is.
func (c *changing) contested(p *member) bool {
	return slices.ContainsFunc(c.members, func(o *member) bool {
		return o != p && o.network == p.network && o.pair != nil && o.pair.ip == single(p.address())
	})
}

// reaches says whether a guest's frames for another come to it.
func (p *member) reaches(to *member) bool {
	return p != to && p.network == to.network && p.wired() && to.wired() && (p.network.networkType != "local" || p.on == to.on)
}

// group are the names of the members that the guest reaches: all, or those without port security.
func (c *changing) group(from *member, open bool) (names []string) {
	for _, p := range c.members {
		if from.reaches(p) && !(open && p.safe) {
			names = append(names, p.Name)
		}
	}
	return names
}

// toOne are a guest's frames for another guest alone.
func (c *changing) toOne(from, to *member) (list []*probe) {
	unicast := func(what string, src net.HardwareAddr, ip netip.Addr, passes bool, q inspect.TraceQuery) {
		x := &probe{what: what + " to " + to.Name, from: from, frame: udpFrame(src, to.mac(), ip.AsSlice(), to.address().AsSlice(), 1000, 2000, nil), query: q}
		x.query.Destination, x.query.Protocol, x.query.Port = to.port.MAC, "udp", 2000
		switch {
		case passes && from.reaches(to):
			x.must, x.may = []string{to.Name}, []string{to.Name}
		case passes: // as an unknown address
			x.may, x.elsewhere = c.group(from, true), from.network.provider()
		}
		list = append(list, x)
	}
	unicast("its own", from.mac(), from.address(), true, inspect.TraceQuery{})
	unicast("from a stranger's MAC address", from.strangerMAC(), from.address(), !from.safe, inspect.TraceQuery{SourceMAC: from.strangerMAC().String()})
	unicast("from a shared IP address", from.mac(), sharedIP, from.maySend(from.mac()), inspect.TraceQuery{SourceIP: sharedIP.String()})
	unicast("from a shared IP and MAC address", from.pairMAC(), sharedIP, from.maySend(from.pairMAC()), inspect.TraceQuery{SourceIP: sharedIP.String(), SourceMAC: from.pairMAC().String()})
	if from.network != to.network {
		return list
	}
	// Who has the address? The switch knows; where the guest cannot be reached, it may not.
	ask := func(what string, frame []byte, ip netip.Addr) {
		x := &probe{what: what + " for " + to.Name, from: from, frame: frame, query: inspect.TraceQuery{Destination: ip.String(), Protocol: "arp"}}
		switch {
		case from.reaches(to) && ip.Is4() && c.contested(to): // while the other one is down, the switch answers
			x.traced, x.may = true, append(c.group(from, false), from.Name)
		case from.reaches(to):
			x.must, x.may = []string{from.Name}, []string{from.Name}
		case from.wired():
			x.may = append(c.group(from, false), from.Name)
		}
		list = append(list, x)
	}
	ask("ARP", arpFrame(from.mac(), broadcastMAC, 1, from.mac(), from.address(), to.address()), to.address())
	from6, _ := from.addressOf(true)
	to6, _ := to.addressOf(true)
	if !from6.IsValid() || !to6.IsValid() {
		return list
	}
	ask("neighbour solicitation", solicitationFrame(from.mac(), from6, to6), to6)
	six := *list[0]
	six.what, six.frame, six.query = "its own, IPv6, to "+to.Name, udp6Frame(from.mac(), to.mac(), from6, to6, 1000, 2000), inspect.TraceQuery{Destination: to6.String(), Protocol: "udp", Port: 2000}
	return append(list, &six)
}

// toAll are a guest's frames for everybody.
func (c *changing) toAll(from *member) (list []*probe) {
	flood := func(what string, frame []byte, passes bool, q inspect.TraceQuery) {
		x := &probe{what: what, from: from, frame: frame, query: q}
		if passes {
			x.must = c.group(from, false)
			x.may = x.must
		}
		list = append(list, x)
	}
	datagram := func(what string, src net.HardwareAddr, ip netip.Addr, passes bool, q inspect.TraceQuery) {
		q.Destination, q.Protocol, q.Port = broadcast, "udp", 2000
		flood(what+" to all", udpFrame(src, broadcastMAC, ip.AsSlice(), net.IPv4bcast, 1000, 2000, nil), passes, q)
	}
	datagram("its own", from.mac(), from.address(), true, inspect.TraceQuery{})
	datagram("from a stranger's MAC address", from.strangerMAC(), from.address(), !from.safe, inspect.TraceQuery{SourceMAC: from.strangerMAC().String()})
	datagram("from a shared IP and MAC address", from.pairMAC(), sharedIP, from.maySend(from.pairMAC()), inspect.TraceQuery{SourceIP: sharedIP.String(), SourceMAC: from.pairMAC().String()})
	flood("ARP for nobody", arpFrame(from.mac(), broadcastMAC, 1, from.mac(), from.address(), nobodyIP), true, inspect.TraceQuery{Destination: nobodyIP.String(), Protocol: "arp"})
	flood("ARP from a shared IP address", arpFrame(from.mac(), broadcastMAC, 1, from.mac(), sharedIP, nobodyIP), from.maySend(from.mac()),
		inspect.TraceQuery{Destination: nobodyIP.String(), Protocol: "arp", SourceIP: sharedIP.String()})
	xid := uint32(len(c.probes) + len(list)) // the answer is told by it
	flood("DHCPDISCOVER", dhcpFrame(from.port, dhcpv4.MessageTypeDiscover, dhcpv4.WithTransactionID(dhcpv4.TransactionID{byte(xid >> 24), byte(xid >> 16), byte(xid >> 8), byte(xid)})), true,
		inspect.TraceQuery{Destination: "255.255.255.255", Protocol: "udp", Port: 67, SourceIP: "0.0.0.0"})
	if discover := list[len(list)-1]; from.network.dhcp && from.wired() {
		discover.must = []string{from.Name}
		discover.may = discover.must
	}
	return list
}

// hears notes the frames that come to a guest: those that are marked, and answers to its DHCPDISCOVERs.
func (c *changing) hears(p *member) func(testbed.Frame) bool {
	marked := c.marks.heard(p.Name, false)
	return func(f testbed.Frame) bool {
		const bootp = 14 + 20 + 8
		if b := f.Raw; !f.Out && len(b) > bootp+8 && b[12] == 8 && b[13] == 0 && b[14] == 0x45 && b[23] == 17 && b[bootp] == 2 { // BOOTREPLY (RFC 2131 section 2)
			c.marks.note(int(b[bootp+4])<<24|int(b[bootp+5])<<16|int(b[bootp+6])<<8|int(b[bootp+7]), p.Name)
		}
		return marked(f)
	}
}

// converged waits until the controller has done what was asked, and the switches what it wrote.
func (c *changing) converged() {
	c.t.Helper()
	for _, p := range c.members {
		want := "DOWN"
		if p.wired() {
			want = "ACTIVE"
		}
		c.become(want, p.port)
	}
	for _, h := range c.stage() {
		c.quiet(h.Name)
		c.await("host "+h.Name+" as recomputed", func() error {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			diff, err := c.admin.Diff(ctx, h.Name)
			if err == nil && len(diff.Changes) > 0 {
				err = fmt.Errorf("it differs:\n%s", strings.Join(diff.Changes, "\n"))
			}
			return err
		})
		// What is cached follows from the flows a moment later, and in a userspace datapath sometimes does not:
		// Open vSwitch 3.1 finds there the entry that it changes by a packet, and that may be another entry which
		// the packet matches too. Then what was dropped is dropped as long as it keeps coming.
		if _, err := h.Appctl("revalidator/purge"); err != nil {
			c.t.Fatal(err)
		}
	}
}

// judge sends every probe between all ports, has one of each pair traced, and compares.
func (c *changing) judge() {
	c.t.Helper()
	c.converged()
	first := len(c.probes)
	add := func(list []*probe, traced int) {
		for _, i := range c.Perm(len(list))[:traced] {
			list[i].traced = true
		}
		for _, x := range list {
			x.number = len(c.probes)
			x.frame = mark(x.frame, x.number)
			c.probes = append(c.probes, x)
		}
	}
	for _, from := range c.members {
		add(c.toAll(from), 2)
	}
	for _, from := range c.members {
		for _, to := range c.members {
			if from != to {
				add(c.toOne(from, to), 1)
			}
		}
	}
	fresh := c.probes[first:]
	c.trace(fresh)
	c.send(fresh)
	waiting, sent := fresh, time.Now()
	c.await("frames", func() error {
		waiting = slices.DeleteFunc(slices.Clone(waiting), c.came)
		if len(waiting) == 0 {
			return nil
		}
		if time.Since(sent) > 200*time.Millisecond { // a switch may lose one
			c.send(waiting)
			sent = time.Now()
		}
		return fmt.Errorf("%d of %d did not come, such as %s\n%s", len(waiting), len(fresh), c.tell(waiting[0]), strings.Join(c.history, "\n"))
	})
	time.Sleep(50 * time.Millisecond) // for those that must not come
	c.strictly(fresh)
}

// captured does something while frames of the port are captured.
func (c *changing) captured(p *member, do func()) {
	c.t.Helper()
	c.did("capture %s", p.Name)
	ctx, cancel := context.WithCancel(context.Background())
	taps, done := make(chan bool, 1), make(chan error, 1)
	go func() {
		done <- c.admin.Capture(ctx, inspect.CaptureRequest{What: p.port.ID, Seconds: 600}, func(f *inspect.Frame) error {
			if len(f.Bytes) == 0 {
				select {
				case taps <- true:
				default:
				}
			}
			return nil
		})
	}()
	select {
	case <-taps:
	case err := <-done:
		c.t.Fatalf("capture of %s: %v", p.Name, err)
	}
	do()
	cancel()
	if err := <-done; err != nil && ctx.Err() == nil {
		c.t.Fatalf("capture of %s: %v", p.Name, err)
	}
	c.did("end of the capture")
}

// trace has the packets followed that are to be.
func (c *changing) trace(probes []*probe) {
	c.t.Helper()
	names := map[string]string{}
	for _, p := range c.members {
		names[p.port.ID] = p.Name
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(4)
	for _, x := range probes {
		if !x.traced {
			continue
		}
		x.query.Source = x.from.port.ID
		g.Go(func() error {
			t, err := c.admin.Trace(ctx, x.query)
			if err != nil {
				return fmt.Errorf("%+v: %w", x.query, err)
			}
			for _, a := range t.Arrivals {
				x.told = append(x.told, names[a.PortID])
			}
			if strings.HasPrefix(t.Verdict, "is answered by") || strings.HasPrefix(t.Verdict, "arrives at the controller") {
				x.told = append(x.told, x.from.Name)
			}
			slices.Sort(x.told)
			x.verdict = t.Verdict
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		c.t.Fatalf("trace: %v", err)
	}
}

// send lets all guests send their frames.
func (c *changing) send(probes []*probe) {
	c.t.Helper()
	for _, p := range c.members {
		var frames [][]byte
		for _, x := range probes {
			if x.from == p {
				frames = append(frames, x.frame)
				x.sent++
			}
		}
		if p.on == nil || len(frames) == 0 {
			continue
		}
		if err := send(p.Namespace, "eth0", frames...); err != nil {
			c.t.Fatal(err)
		}
	}
}

// came says whether a frame came to all that it must come to.
func (c *changing) came(x *probe) bool {
	must := x.must
	if !x.elsewhere {
		must = slices.Concat(must, x.told)
	}
	return !slices.ContainsFunc(must, func(name string) bool { return c.marks.at(x.number, name) == 0 })
}

// strictly looks where frames came that they must not come to.
func (c *changing) strictly(probes []*probe) {
	c.t.Helper()
	for _, x := range probes {
		at := c.marks.places(x.number)
		for _, name := range at {
			if !slices.Contains(x.may, name) || x.traced && !slices.Contains(x.told, name) || c.marks.at(x.number, name) > x.sent {
				c.t.Fatalf("that should not have come: %s\n%s", c.tell(x), strings.Join(c.history, "\n"))
			}
		}
		if x.traced {
			c.traced++
		}
		c.arrived += len(at)
		if len(at) == 0 && strings.Contains(x.verdict, "port security of") {
			c.stopped++
		}
	}
}

// tell says all of a probe.
func (c *changing) tell(x *probe) string {
	told := ""
	if x.traced {
		told = fmt.Sprintf("; trace of %+v: at %q: %s", x.query, x.told, x.verdict)
	}
	return fmt.Sprintf("a frame of %s (%s, %s network), %s: sent %d times, came%s, must come to %q and may to %q%s",
		x.from.Name, x.from.port.MAC, x.from.network.networkType, x.what, x.sent, c.marks.of(x.number), x.must, x.may, told)
}

// late looks once more where all frames of the history came.
func (c *changing) late() {
	for _, x := range c.probes {
		for _, name := range c.marks.places(x.number) {
			if !slices.Contains(x.may, name) {
				c.t.Fatalf("that came late, and should not have: %s\n%s", c.tell(x), strings.Join(c.history, "\n"))
			}
		}
	}
}
