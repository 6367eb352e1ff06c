package system

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// notebook is which network has which local VLAN on a host, as the controller says and as it stands in
// the rows of the VIFs.
func (d *deployment) notebook(h *testbed.CheapHost) string {
	d.t.Helper()
	state, err := d.host(h.Name)
	if err != nil {
		d.t.Fatal(err)
	}
	text := fmt.Sprintln(state.LocalVLANs)
	for _, v := range state.VIFs {
		row, err := h.Vsctl("get", "Port", v.Interface, "tag", "other_config", "vlan_mode", "trunks")
		if err != nil {
			d.t.Fatal(err)
		}
		text += v.Interface + " " + strings.ReplaceAll(row, "\n", " ") + "\n"
	}
	return text
}

// localVLAN is a network's number on a host, 0 if it has none.
func (d *deployment) localVLAN(h *testbed.CheapHost, n *network) int {
	d.t.Helper()
	state, err := d.host(h.Name)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, l := range state.LocalVLANs {
		if l.NetworkID == n.ID {
			return int(l.VLAN)
		}
	}
	return 0
}

// Local VLANs stay, whatever is restarted, also where os-vif plugs a VIF again without its notes; and a
// number that something carries is not given to another network.
func TestLocalVLANs(t *testing.T) {
	t.Parallel()
	d := deploy(t, "--quota-network=-1", "--quota-subnet=-1", "--quota-port=-1")
	h := d.addHosts("compute01")[0]
	var networks []*network
	var ports []*port
	for i := range 5 {
		n := d.addNetwork(fmt.Sprint("net", i), "10.0.0.0/24")
		networks = append(networks, n)
		ports = append(ports, d.addPort(n, h.Name), d.addPort(n, h.Name))
	}
	for i := len(ports) - 1; i >= 0; i-- { // so that numbers and rows are not in the order of anything else
		d.plug(h, ports[i])
		d.become("ACTIVE", ports[i])
	}
	d.settled(h)
	before := d.notebook(h)
	for _, c := range []struct {
		what  string
		after func()
	}{
		{"the controller", func() { d.kill(); d.serve() }},
		{"the switch", func() {
			if err := errors.Join(h.KillVswitchd(), h.StartVswitchd()); err != nil {
				t.Fatal(err)
			}
		}},
		{"the database", func() {
			if err := errors.Join(h.KillOVSDB(), h.StartOVSDB()); err != nil {
				t.Fatal(err)
			}
		}},
		{"the controller, with all VIFs plugged again meanwhile", func() {
			d.kill()
			d.plug(h, ports...) // as os-vif does: del-port, add-port
			d.serve()
		}},
		{"the host: controller, database and switch", func() {
			d.kill()
			if err := errors.Join(h.KillVswitchd(), h.KillOVSDB(), h.StartOVSDB(), h.StartVswitchd()); err != nil {
				t.Fatal(err)
			}
			d.serve()
		}},
	} {
		c.after()
		d.await("the same local VLANs after a restart of "+c.what, func() error {
			state, err := d.host(h.Name)
			if err == nil {
				err = unsettled(state)
			}
			if err == nil && d.notebook(h) != before {
				err = fmt.Errorf("it has\n%s\nand had\n%s", d.notebook(h), before)
			}
			return err
		})
		d.become("ACTIVE", ports...)
	}

	// A network's last VIF goes while the controller is away, another network's first comes: the old
	// flows still carry the number.
	gone := d.localVLAN(h, networks[0])
	late := d.addNetwork("late", "10.0.0.0/24")
	p := d.addPort(late, h.Name)
	d.kill()
	d.unplug(h, ports[0], ports[1])
	d.plug(h, p)
	d.serve()
	d.become("ACTIVE", p)
	d.settled(h)
	if got := d.localVLAN(h, late); got == gone || got == 0 {
		t.Errorf("local VLAN %d was given to another network while flows carried it", got)
	}

	// A VIF that is not wired any more still has the number in its row.
	kept := d.localVLAN(h, networks[1])
	for _, q := range ports[2:4] {
		d.must(http.MethodPut, "/v2.0/ports/"+q.ID, object{"port": object{"admin_state_up": false}}, nil)
		d.become("DOWN", q)
	}
	d.settled(h)
	for i := range 3 {
		q := d.addPort(d.addNetwork(fmt.Sprint("more", i), "10.0.0.0/24"), h.Name)
		d.plug(h, q)
		d.become("ACTIVE", q)
		if got := d.localVLAN(h, &network{ID: q.NetworkID}); got == kept || got == 0 {
			t.Errorf("local VLAN %d was given to another network while a VIF carried it", got)
		}
	}
	for _, q := range ports[2:4] {
		d.must(http.MethodPut, "/v2.0/ports/"+q.ID, object{"port": object{"admin_state_up": true}}, nil)
		d.become("ACTIVE", q)
	}
	if got := d.localVLAN(h, networks[1]); got != kept {
		t.Errorf("a network whose VIFs were down has local VLAN %d, and had %d", got, kept)
	}
}

// bulk makes many objects of a kind, a few hundred in one request.
func bulk[T any](d *deployment, kind string, bodies []object) (made []T) {
	d.t.Helper()
	const most = 500
	for len(bodies) > 0 {
		var answer map[string][]T
		n := min(most, len(bodies))
		d.must(http.MethodPost, "/v2.0/"+kind, object{kind: bodies[:n]}, &answer)
		made, bodies = append(made, answer[kind]...), bodies[n:]
	}
	return made
}

// plugMany plugs VIFs, many in one transaction, and does not wait for ovs-vswitchd: the fewer times it
// looks at all ports, the better.
func (d *deployment) plugMany(h *testbed.CheapHost, ports []port) {
	d.t.Helper()
	const most = 100 // ovs-vsctl looks at each port for each that it adds
	for len(ports) > 0 {
		n := min(most, len(ports))
		args := []string{"--no-wait"}
		for i := range ports[:n] {
			p := &ports[i]
			args = append(args, "--", "add-port", "br-int", p.device(), "--", "set", "Interface", p.device(), "external_ids:iface-id="+p.ID)
		}
		if _, err := h.Vsctl(args...); err != nil {
			d.t.Fatal(err)
		}
		ports = ports[n:]
	}
}

// wired waits until a host has so many wired VIFs, and nothing else to do.
func (d *deployment) wired(h *testbed.CheapHost, want int) {
	d.t.Helper()
	limit := patience
	if soaking {
		limit = 5 * time.Minute
	}
	d.within(limit, fmt.Sprintf("%d wired VIFs", want), func() error {
		time.Sleep(50 * time.Millisecond)
		state, err := d.host(h.Name)
		if err != nil {
			return err
		}
		n := 0
		for _, v := range state.VIFs {
			if v.Wired {
				n++
			}
		}
		if n != want {
			return fmt.Errorf("%d of %d are", n, len(state.VIFs))
		}
		return unsettled(state)
	})
}

// soaking says whether tests may take minutes: Open vSwitch looks at each port of a bridge whenever one
// is added, for each of them.
var soaking = os.Getenv("TUNBRIDGE_SOAK") != ""

// stopwatch logs how long each step took.
func stopwatch(t *testing.T) (step func(what string)) {
	started := time.Now()
	return func(what string) {
		t.Logf("%s: %s", what, time.Since(started).Round(10*time.Millisecond))
		started = time.Now()
	}
}

// A host has many networks; in a soak as many as there are local VLANs, when the next one is refused in
// words, disturbs nobody, and has its turn when another goes.
func TestManyNetworks(t *testing.T) {
	t.Parallel()
	d := deploy(t, "--quota-network=-1", "--quota-subnet=-1", "--quota-port=-1")
	h := d.addHosts("compute01")[0]
	most := 400
	if soaking {
		most = 4094
	}
	step := stopwatch(t)
	var bodies []object
	for i := range most + 1 {
		bodies = append(bodies, object{"name": fmt.Sprint("net", i), "provider:network_type": "local"})
	}
	networks := bulk[network](d, "networks", bodies)
	bodies = nil
	for i := range networks {
		bodies = append(bodies, object{"network_id": networks[i].ID, "binding:host_id": h.Name})
	}
	ports := bulk[port](d, "ports", bodies)
	step("networks and ports made")
	d.plugMany(h, ports[:most])
	step("plugged")
	d.wired(h, most)
	step("wired")

	before := d.rules(h, "br-int")
	d.kill()
	d.serve()
	d.wired(h, most)
	step("as before after a restart of the controller")
	if d.rules(h, "br-int") != before {
		t.Error("br-int is not as it was before the restart")
	}
	if soaking {
		extra := &ports[most]
		d.plugMany(h, ports[most:])
		d.wired(h, most)
		d.reason(h, extra.device(), "all 4094 local VLANs", networks[most].ID)
		d.wired(h, most)
		step("one more refused")
		d.unplug(h, &ports[0])
		d.wired(h, most)
		d.become("ACTIVE", extra)
		step("one went, one came")
	}
}

// A network has more members on a host than a group has room for, in a soak 2,000 and one on each of 300
// other hosts: a restarted controller reads back what it made, and touches nothing. The other hosts are
// known by what they said when they enrolled: each is what a database said it was for a moment, and is
// away now.
func TestBigNetwork(t *testing.T) {
	t.Parallel()
	d := deploy(t, "--quota-network=-1", "--quota-subnet=-1", "--quota-port=-1")
	h := d.addHosts("compute01")[0]
	members, others := 600, 60
	if soaking {
		members, others = 2000, 300
	}
	step := stopwatch(t)
	names := d.enrolMany(others)
	step("hosts enrolled")
	n := d.addNetwork("blue", "10.0.0.0/16")
	var bodies []object
	for i := range members + others {
		host := h.Name
		if i >= members {
			host = names[i-members]
		}
		bodies = append(bodies, object{"network_id": n.ID, "binding:host_id": host})
	}
	ports := bulk[port](d, "ports", bodies)
	step("ports made")
	d.plugMany(h, ports[:members])
	step("plugged")
	d.wired(h, members)
	step("wired")

	before := map[string]string{}
	for _, bridge := range []string{"br-int", "br-tun"} {
		groups, err := h.Ofctl("dump-groups", bridge)
		if err != nil {
			t.Fatal(err)
		}
		before[bridge] = d.rules(h, bridge) + lines(groups)
		for _, group := range strings.Split(groups, "group_id=")[1:] {
			if buckets := strings.Count(group, "bucket="); buckets > 250 {
				t.Errorf("%s: a group has %d buckets", bridge, buckets)
			}
		}
	}
	d.flooded(h, &ports[0], members-1, others)
	step("looked at")
	time.Sleep(300 * time.Millisecond)
	killed := time.Now()
	d.kill()
	d.serve()
	d.wired(h, members)
	step("controller restarted")
	for _, bridge := range []string{"br-int", "br-tun"} {
		groups, err := h.Ofctl("dump-groups", bridge)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.rules(h, bridge) + lines(groups); got != before[bridge] {
			t.Errorf("%s is not as it was before the restart", bridge)
		}
		if added := d.newest(h, bridge); added.After(killed) {
			t.Errorf("%s: a flow was added %s after the restart", bridge, added.Sub(killed))
		}
	}

	// One more and one less: buckets come and go, groups stay.
	late := d.addPort(n, h.Name)
	d.plug(h, late)
	d.become("ACTIVE", late)
	d.must(http.MethodDelete, "/v2.0/ports/"+ports[members].ID, nil, nil)
	d.wired(h, members+1)
	d.flooded(h, &ports[0], members, others-1)
	step("one more and one less")
}

// portCounters are the frames that a bridge has sent to each port.
var portCounters = regexp.MustCompile(`port +"?([^":]+)"?: rx .*\n +tx pkts=(\d+)`)

// flooded lets a port's guest send a broadcast and waits until so many VIFs have been sent it, once. To
// so many hosts the groups on br-tun send a copy; what the tunnel port counts has others in it.
func (d *deployment) flooded(h *testbed.CheapHost, from *port, vifs, hosts int) {
	d.t.Helper()
	count := func() map[string]int {
		counters := map[string]int{}
		out, err := h.Ofctl("--names", "dump-ports", "br-int")
		if err != nil {
			d.t.Fatal(err)
		}
		for _, m := range portCounters.FindAllStringSubmatch(out, -1) {
			counters[m[1]], _ = strconv.Atoi(m[2])
		}
		return counters
	}
	before := count()
	frame := udpFrame(from.vif().MAC, broadcastMAC, net.ParseIP(from.address()), net.IPv4bcast, 1000, 2000, []byte("hello"))
	if err := h.Inject(from.device(), frame); err != nil {
		d.t.Fatal(err)
	}
	d.await("the copies of a broadcast", func() error {
		got := 0
		for name, n := range count() {
			if n -= before[name]; n > 1 && strings.HasPrefix(name, "tap") {
				return fmt.Errorf("%s was sent it %d times", name, n)
			} else if strings.HasPrefix(name, "tap") {
				got += n
			}
		}
		return is(got, vifs)
	})
	d.await("the hosts of a broadcast", func() error {
		groups, err := h.Ofctl("dump-groups", "br-tun")
		if err == nil {
			err = is(strings.Count(groups, "->tun_dst"), hosts)
		}
		return err
	})
}

// enrolMany enrols hosts that have nothing to say but who they are, and says their names.
func (d *deployment) enrolMany(number int) (names []string) {
	d.t.Helper()
	speakers, err := d.bed.AddCheapHosts("many1", "many2", "many3")
	if err != nil {
		d.t.Fatal(err)
	}
	for _, s := range speakers {
		if err := s.KillVswitchd(); err != nil {
			d.t.Fatal(err)
		}
	}
	for i := range number {
		s := speakers[i%len(speakers)]
		name := fmt.Sprintf("other%03d", i+1)
		if _, err := s.Vsctl("--no-wait", "del-manager"); err != nil {
			d.t.Fatal(err)
		}
		address := netip.AddrFrom4([4]byte{172, 30, byte(i / 250), byte(i%250 + 1)})
		if _, err := s.Vsctl("--no-wait", "set", "Open_vSwitch", ".", "external_ids:system-id="+name, "external_ids:hostname="+name,
			"external_ids:tunbridge-encap-ip="+address.String(), "external_ids:tunbridge-local-manager=false", "--", "set-manager", d.scheme+":"+d.ovsdb); err != nil {
			d.t.Fatal(err)
		}
		d.await("host "+name+" enrolled", func() error {
			state, err := d.host(name)
			if err == nil {
				err = is(state.EncapIP, address.String())
			}
			return err
		})
		names = append(names, name)
	}
	for _, s := range speakers {
		if err := s.KillOVSDB(); err != nil {
			d.t.Fatal(err)
		}
	}
	return names
}
