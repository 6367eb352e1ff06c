package system

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"
)

// number is the number of a guest's VIF on br-int.
func (w *layer2) number(g *guest) string {
	w.t.Helper()
	number, err := g.Host.Vsctl("get", "Interface", g.port.device(), "ofport")
	if err != nil {
		w.t.Fatal(err)
	}
	return number
}

// A VIF goes and is plugged again under another number; is named before its device exists; is isolated
// by os-vif; is on a bridge of its own; is plugged on two hosts.
func (w *layer2) replug() {
	n := w.network("vxlan", "10.0.0.0/24")
	g, near, far := w.guest(n, w.hosts[0], nil), w.guest(n, w.hosts[0], nil), w.guest(n, w.hosts[1], nil)
	w.active(g, near, far)
	h, device := w.hosts[0], g.port.device()
	vsctl := func(args ...string) {
		w.t.Helper()
		if _, err := h.Vsctl(args...); err != nil {
			w.t.Fatal(err)
		}
	}
	works := func(how string) {
		w.t.Helper()
		w.active(g)
		w.configure(g)
		w.reaches(near, g.address())
		w.reaches(far, g.address())
		w.t.Logf("%s: VIF %s", how, w.number(g))
	}
	works("at first")

	was := w.number(g)
	if err := g.Unplug(); err != nil {
		w.t.Fatal(err)
	}
	w.become("DOWN", g.port)
	if err := g.Plug(); err != nil {
		w.t.Fatal(err)
	}
	works("plugged again")
	if is := w.number(g); is == was {
		w.t.Errorf("the VIF has the number %s again", is)
	}

	// os-vif may add the port before the hypervisor has made the device.
	if err := g.Unplug(); err != nil {
		w.t.Fatal(err)
	}
	_, _ = h.Vsctl("add-port", "br-int", device, "--", "set", "Interface", device, "external_ids:iface-id="+g.port.ID) // fails: no such device
	if is := w.number(g); is != "-1" {
		w.t.Errorf("a VIF without a device has the number %s", is)
	}
	w.saysOf(h.Name, device, "ovs-vswitchd")
	if shown, err := w.port(g.port.ID); err != nil || shown.Status != "DOWN" {
		w.t.Errorf("a port whose VIF has no device is %s, error %v", shown.Status, err)
	}
	if _, err := h.Exec("ip", "link", "add", device, "type", "veth", "peer", "name", "eth0", "address", g.port.MAC, "netns", g.NetworkName()); err != nil {
		w.t.Fatal(err)
	}
	for _, err := range []error{
		second(h.Exec("ip", "link", "set", device, "up")), second(g.Exec("ip", "link", "set", "eth0", "up")), second(g.Exec("ethtool", "-K", "eth0", "tx", "off")),
	} {
		if err != nil {
			w.t.Fatal(err)
		}
	}
	works("named before there was a device")

	vsctl("set", "Port", device, "tag=4095", "vlan_mode=trunk", "trunks=4095")
	w.await("os-vif's isolation undone", func() error {
		mode, err := h.Vsctl("get", "Port", device, "vlan_mode", "trunks")
		if err == nil {
			err = is(mode, "[]\n[]")
		}
		if err == nil {
			tag, _ := h.Vsctl("get", "Port", device, "tag")
			err = isNot(tag, "4095")
		}
		return err
	})
	works("isolated by os-vif")

	// os-vif's per_port_bridge: the VIF's neighbour on br-int is a patch port, which names the port.
	vsctl("--", "del-port", device, "--", "add-br", "pbr1", "--", "set", "Bridge", "pbr1", "datapath_type=netdev", "--", "add-port", "pbr1", device,
		"--", "add-port", "pbr1", "pbp1", "--", "set", "Interface", "pbp1", "type=patch", "options:peer=ibp1",
		"--", "add-port", "br-int", "ibp1", "--", "set", "Interface", "ibp1", "type=patch", "options:peer=pbp1", "external_ids:iface-id="+g.port.ID)
	works("on a bridge of its own")
	vsctl("--", "del-port", "br-int", "ibp1", "--", "del-br", "pbr1", "--", "add-port", "br-int", device, "--", "set", "Interface", device, "external_ids:iface-id="+g.port.ID)
	works("back on br-int")

	// Another host says that it has the same VIF: it is told why not, and nothing changes.
	twin := w.twin(g, w.hosts[1])
	w.saysOf(w.hosts[1].Name, device, "bound to host "+h.Name)
	var m marks
	m.listen(w.t, twin.Namespace, "eth0", "twin", false)
	m.listen(w.t, g.Namespace, "eth0", "guest", false)
	if err := send(far.Namespace, "eth0", far.plain(broadcastMAC, 1), far.plain(g.mac(), 2)); err != nil {
		w.t.Fatal(err)
	}
	if err := send(twin.Namespace, "eth0", g.plain(far.mac(), 3), g.plain(broadcastMAC, 4)); err != nil {
		w.t.Fatal(err)
	}
	m.listen(w.t, far.Namespace, "eth0", "far", false)
	w.await("a frame to the one that is bound", func() error {
		if m.at(1, "guest") == 0 || m.at(2, "guest") == 0 {
			return errors.New("not heard")
		}
		return nil
	})
	m.stop(w.t)
	for number, want := range map[int]string{1: "[guest:1]", 2: "[guest:1]", 3: "[]", 4: "[]"} {
		if got := m.of(number); got != want {
			w.t.Errorf("frame %d with a twin elsewhere was seen at %s, want %s", number, got, want)
		}
	}
	works("with a twin on another host")
	if err := twin.Remove(); err != nil {
		w.t.Error(err)
	}
}

func second(_ string, err error) error { return err }

// A port's address, MAC, admin_state_up and port security change while it is pinged.
func (w *layer2) change() {
	n := w.network("vxlan", "10.0.0.0/24")
	g, far := w.guest(n, w.hosts[0], nil), w.guest(n, w.hosts[1], nil)
	w.active(g, far)
	w.reaches(far, g.address())
	silent := func(to netip.Addr, why string) {
		w.t.Helper()
		w.await(why, func() error {
			r, err := far.Ping(to, 3, 10*time.Millisecond)
			if err == nil && r.Received > 0 {
				err = fmt.Errorf("%s", r)
			}
			return err
		})
	}

	// A change of something else does not disturb what goes on.
	ping, err := far.StartPing(g.address(), time.Millisecond)
	if err != nil {
		w.t.Fatal(err)
	}
	subnet := g.port.FixedIPs[0].SubnetID
	first := g.port.address()
	for _, what := range []object{
		{"name": "renamed"},
		{"fixed_ips": []object{{"subnet_id": subnet, "ip_address": first}, {"subnet_id": subnet, "ip_address": "10.0.0.150"}}},
		{"allowed_address_pairs": []object{{"ip_address": "10.0.0.160"}}},
		{"port_security_enabled": false, "allowed_address_pairs": []object{}},
		{"port_security_enabled": true},
		{"fixed_ips": []object{{"subnet_id": subnet, "ip_address": first}}},
	} {
		w.update(g, what)
		w.active(g)
		time.Sleep(20 * time.Millisecond)
	}
	result, err := ping.Stop()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Logf("while other things changed: %s", result)
	if result.Lost() > 1 { // one a busy machine may lose
		w.t.Errorf("while other things changed: %s", result)
	}

	// The address changes: the old one is dead at once, also as a source.
	old := g.address()
	w.update(g, object{"fixed_ips": []object{{"subnet_id": subnet, "ip_address": "10.0.0.151"}}})
	w.active(g)
	silent(old, "silence from the old address")
	w.configure(g)
	w.reaches(far, g.address())

	// Port security: off, the old address speaks; on, it is silent.
	w.update(g, object{"port_security_enabled": false})
	w.active(g)
	w.reaches(far, old)
	w.update(g, object{"port_security_enabled": true})
	w.active(g)
	silent(old, "silence from a foreign address with port security on again")
	w.reaches(far, g.address())

	// The administrator takes it down and up.
	w.update(g, object{"admin_state_up": false})
	w.become("DOWN", g.port)
	silent(g.address(), "silence from a port that is down")
	w.update(g, object{"admin_state_up": true})
	w.active(g)
	w.reaches(far, g.address())

	// A bound port keeps its MAC; unplugged and unbound it may get another one.
	if status, err := w.call(http.MethodPut, "/v2.0/ports/"+g.port.ID, object{"port": object{"mac_address": "fa:16:3e:aa:bb:cc"}}, nil); err != nil || status != http.StatusConflict {
		w.t.Errorf("another MAC for a bound port: status %d, error %v", status, err)
	}
	if err := g.Unplug(); err != nil {
		w.t.Fatal(err)
	}
	w.become("DOWN", g.port)
	w.update(g, object{"binding:host_id": ""})
	w.update(g, object{"mac_address": "fa:16:3e:aa:bb:cc"})
	w.update(g, object{"binding:host_id": w.hosts[0].Name})
	g.VIF = g.port.vif()
	if err := g.Plug(); err != nil {
		w.t.Fatal(err)
	}
	w.active(g)
	w.configure(g)
	if _, err := far.Exec("ip", "neigh", "flush", "all"); err != nil {
		w.t.Fatal(err)
	}
	w.reaches(far, g.address())
}
