package system

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// layer2 is a deployment with five hosts in namespaces, and what a story has made of it.
type layer2 struct {
	*deployment
	hosts    []*testbed.Host
	physnet  *testbed.Physical
	made     *int // guests, over all stories
	guests   []*guest
	networks []*network
}

// guest is a VM plugged as a port.
type guest struct {
	*testbed.VM
	port *port
}

// Layer 2 by real frames: one deployment, in which each story has networks and guests of its own.
func TestLayer2(t *testing.T) {
	testbed.RequireRoot(t)
	w := deployLayer2(t)
	for _, story := range []struct {
		name string
		tell func(*layer2)
	}{
		{"a port moves under traffic", (*layer2).move},
		{"flood goes to members only", (*layer2).scope},
		{"nobody sends what is not theirs", (*layer2).spoof},
		{"behind a port without port security", (*layer2).nested},
		{"an address is shared by VRRP", (*layer2).vrrp},
		{"a VIF comes and goes", (*layer2).replug},
		{"a port changes under traffic", (*layer2).change},
		{"tunnels are between hosts only", (*layer2).strangers},
		{"a host has another address", (*layer2).readdress},
		{"a wide pair costs no megaflows", (*layer2).megaflows},
		{"a tap that names no port", (*layer2).rawTap},
		{"captures see the physical network", (*layer2).captured},
		{"whatever changes, frames go where they must", (*layer2).histories},
	} {
		t.Run(story.name, func(t *testing.T) {
			mine := *w
			mine.deployment = w.as(t)
			defer func() { w.process = mine.process }()
			defer mine.clear(t)
			story.tell(&mine)
			mine.verify()
		})
	}
}

// deployLayer2 starts five hosts; the first three have a NIC on the physical network.
func deployLayer2(t *testing.T) *layer2 {
	t.Helper()
	d := prepare(t)
	hosts, err := d.bed.AddHosts("compute01", "compute02", "compute03", "compute04", "compute05")
	if err != nil {
		t.Fatal(err)
	}
	physnet, err := d.bed.AddPhysical(physical)
	if err != nil {
		t.Fatal(err)
	}
	d.onUnderlay(underlayMTU, "--flat-networks="+physical, "--vlan-ranges="+physical+":100:199")
	d.serve()
	w := &layer2{deployment: d, hosts: hosts, physnet: physnet, made: new(int)}
	for i, h := range hosts {
		var ids map[string]string
		if i < 3 {
			if err := h.Connect(physnet, "br-ex"); err != nil {
				t.Fatal(err)
			}
			ids = map[string]string{"tunbridge-bridge-mappings": physical + ":br-ex"}
		}
		w.enrolHost(h, ids)
	}
	for _, h := range hosts {
		w.quiet(h.Name)
	}
	if err := d.bed.WarmTunnels(); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *layer2) enrolHost(h *testbed.Host, ids map[string]string) {
	w.t.Helper()
	target := "tcp:" + w.ovsdb
	if err := h.Enroll(target, ids); err != nil {
		w.t.Fatal(err)
	}
	if _, err := h.Vsctl("set", "Manager", target, "max_backoff=1000"); err != nil {
		w.t.Fatal(err)
	}
}

// clear removes what a story made.
func (w *layer2) clear(t *testing.T) {
	for _, g := range w.guests {
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
		w.must(http.MethodDelete, "/v2.0/ports/"+g.port.ID, nil, nil)
	}
	for _, n := range w.networks {
		w.must(http.MethodDelete, "/v2.0/networks/"+n.ID, nil, nil)
	}
}

// network makes a network of a type, which goes with the story.
func (w *layer2) network(networkType string, cidrs ...string) *network {
	w.t.Helper()
	n := w.networkOf(networkType, networkType, cidrs...)
	w.networks = append(w.networks, n)
	return n
}

// guest makes a port with more attributes, and plugs a VM that has its addresses.
func (w *layer2) guest(n *network, h *testbed.Host, more object) *guest {
	w.t.Helper()
	g := w.unplugged(n, h, more)
	w.start(g, h)
	return g
}

// unplugged is a guest whose VM is yet to start.
func (w *layer2) unplugged(n *network, h *testbed.Host, more object) *guest {
	w.t.Helper()
	body := object{"network_id": n.ID, "binding:host_id": h.Name}
	for k, v := range more {
		body[k] = v
	}
	var made struct{ Port port }
	w.must(http.MethodPost, "/v2.0/ports", object{"port": body}, &made)
	return &guest{port: &made.Port}
}

// start plugs a VM for the guest. The guest is removed when the story is over.
func (w *layer2) start(g *guest, h *testbed.Host) {
	w.t.Helper()
	*w.made++
	var err error
	if g.VM, err = h.AddVM(fmt.Sprintf("vm%d", *w.made), g.port.vif()); err != nil {
		w.t.Fatal(err)
	}
	w.guests = append(w.guests, g)
	w.configure(g)
}

// configure gives the VM the addresses of its port.
func (w *layer2) configure(g *guest) {
	w.t.Helper()
	for _, ip := range g.port.FixedIPs {
		addr, bits := netip.MustParseAddr(ip.Address), 24
		if addr.Is6() {
			bits = 64
		}
		if err := g.AddAddress(netip.PrefixFrom(addr, bits)); err != nil {
			w.t.Fatal(err)
		}
	}
}

// twin plugs another VM as the same port on another host: what a live migration does. It goes with the
// story, the port with its first guest.
func (w *layer2) twin(g *guest, h *testbed.Host) *testbed.VM {
	w.t.Helper()
	*w.made++
	vm, err := h.AddVM(fmt.Sprintf("vm%d", *w.made), g.port.vif())
	if err != nil {
		w.t.Fatal(err)
	}
	w.configure(&guest{VM: vm, port: g.port})
	return vm
}

func (w *layer2) update(g *guest, what object) {
	w.t.Helper()
	var made struct{ Port port }
	w.must(http.MethodPut, "/v2.0/ports/"+g.port.ID, object{"port": what}, &made)
	*g.port = made.Port
}

func (w *layer2) active(guests ...*guest) {
	w.t.Helper()
	for _, g := range guests {
		w.become("ACTIVE", g.port)
	}
	for _, h := range w.hosts {
		w.quiet(h.Name)
	}
}

func (g *guest) address() netip.Addr { return netip.MustParseAddr(g.port.address()) }

func (g *guest) mac() net.HardwareAddr { return g.port.vif().MAC }

// reaches waits until pings are answered, all of them.
func (w *layer2) reaches(from *guest, to netip.Addr) {
	w.t.Helper()
	w.await(fmt.Sprintf("%s reaches %s", from.Name, to), func() error {
		r, err := from.Ping(to, 3, 10*time.Millisecond)
		if err == nil && r.Lost() > 0 {
			err = fmt.Errorf("%s", r)
		}
		return err
	})
}

// send puts frames on a device as they are.
func send(where testbed.Namespace, device string, frames ...[]byte) error {
	return where.Do(func() error {
		index, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for _, f := range frames {
			if err := unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: index.Index}); err != nil {
				return fmt.Errorf("send on %s: %w", device, err)
			}
		}
		return nil
	})
}

// marked begins what every frame of the tests ends with, so that it can be told wherever it turns up,
// also in a tunnel. A digit or more and a semicolon follow.
const marked = "\x00tunbridge-test-frame-"

func mark(frame []byte, number int) []byte {
	const shortest = 60 // less is padded on the way, behind the mark
	frame = append(slices.Clone(frame), make([]byte, max(0, shortest-len(frame)))...)
	return fmt.Appendf(frame, "%s%d;", marked, number)
}

// marks counts marked frames by number and place.
type marks struct {
	mu       sync.Mutex
	seen     map[int]map[string]int
	captures []*testbed.Capture
}

// listen captures the marked frames that arrive at a device, or pass it when both is set.
func (m *marks) listen(t tester, where testbed.Namespace, device, place string, both bool) {
	t.Helper()
	c, err := where.Capture(device, m.heard(place, both))
	if err != nil {
		t.Fatal(err)
	}
	m.captures = append(m.captures, c)
}

// heard counts the marked frames of a capture.
func (m *marks) heard(place string, both bool) func(testbed.Frame) bool {
	return func(f testbed.Frame) bool {
		if f.Out && !both {
			return false
		}
		if _, end, ok := bytes.Cut(f.Raw, []byte(marked)); ok {
			var number int
			if _, err := fmt.Sscanf(string(end), "%d;", &number); err == nil {
				m.note(number, place)
			}
		}
		return false
	}
}

// note counts one frame.
func (m *marks) note(number int, place string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == nil {
		m.seen = map[int]map[string]int{}
	}
	if m.seen[number] == nil {
		m.seen[number] = map[string]int{}
	}
	m.seen[number][place]++
}

// places are those where a frame was seen, sorted.
func (m *marks) places(number int) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.seen[number]))
}

// of is how often a frame was seen, by place, as fmt prints it.
func (m *marks) of(number int) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.TrimPrefix(fmt.Sprint(m.seen[number]), "map")
}

func (m *marks) at(number int, place string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen[number][place]
}

// stop waits a moment for what is still under way, and ends the captures.
func (m *marks) stop(t tester) {
	t.Helper()
	time.Sleep(50 * time.Millisecond)
	for _, c := range m.captures {
		if _, err := c.Stop(); err != nil {
			t.Errorf("%v", err)
		}
	}
}

// datagram is a frame that the guest may send to a MAC address.
func (g *guest) datagram(to net.HardwareAddr) []byte {
	return udpFrame(g.mac(), to, g.address().AsSlice(), net.IPv4(10, 0, 0, 250), 1000, 2000, nil)
}

// plain is one that is marked.
func (g *guest) plain(to net.HardwareAddr, number int) []byte { return mark(g.datagram(to), number) }

var broadcastMAC = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
