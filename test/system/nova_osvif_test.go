package system

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tunbridge/tunbridge/test/nova"
	"github.com/tunbridge/tunbridge/test/testbed"
)

// computes are hosts in namespaces, each with a nova-compute: the real os-vif, and guests in namespaces
// of their own.
type computes struct {
	*cloud
	hosts  map[string]*testbed.Host
	osvif  map[string]*nova.OSVIF
	guests map[string]*testbed.VM // by host and port
}

// guestOf is a guest's NIC on a host; nil if it was never plugged there.
func (c *computes) guestOf(host string, nic *nova.NIC) *testbed.VM {
	return c.guests[host+" "+nic.Port]
}

// Plug is what a boot does on a host: os-vif adds the port, then the hypervisor makes the device.
func (c *computes) Plug(host string, i *nova.Instance, nic *nova.NIC) error {
	c.last.Store(nic.Port, &c.hosts[host].Switch)
	if err := c.osvif[host].Plug(i, nic); err != nil {
		return err
	}
	vif := vifOf(i, nic)
	vif.Delegated = true
	if vm := c.guestOf(host, nic); vm != nil {
		if err := vm.Plug(); err != nil {
			return err
		}
	} else {
		vm, err := c.hosts[host].AddVM(fmt.Sprintf("%s-%d", i.Name, len(c.guests)), vif)
		if err != nil {
			return err
		}
		c.guests[host+" "+nic.Port] = vm
	}
	// ovs-vswitchd reads a new device's flags, adds one and writes them back: what came up in between is down.
	_, err := c.hosts[host].Vsctl("wait-until", "Interface", vif.Device(), "ofport>=1")
	if err == nil {
		_, err = c.hosts[host].Exec("ip", "link", "set", vif.Device(), "up")
	}
	return err
}

// Unplug is the hypervisor's part, then os-vif's.
func (c *computes) Unplug(host string, i *nova.Instance, nic *nova.NIC) error {
	return errors.Join(c.guestOf(host, nic).Unplug(), c.osvif[host].Unplug(i, nic))
}

// wake lets a guest that runs on a host have its addresses.
func (c *computes) wake(host string, nic *nova.NIC) {
	c.t.Helper()
	for _, f := range nic.Addresses {
		if err := c.guestOf(host, nic).AddAddress(netip.PrefixFrom(netip.MustParseAddr(f.Address), 24)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// deployComputes starts hosts with a NIC on the physical network each, and their os-vif with its settings.
func deployComputes(t *testing.T, settings map[string]map[string]any) *computes {
	t.Helper()
	d := prepare(t)
	names := make([]string, 0, len(settings))
	for name := range settings {
		names = append(names, name)
	}
	slices.Sort(names)
	hosts, err := d.bed.AddHosts(names...)
	if err != nil {
		t.Fatal(err)
	}
	physnet, err := d.bed.AddPhysical(physical)
	if err != nil {
		t.Fatal(err)
	}
	address := testbed.ManagementAddr.String()
	d.onUnderlay(underlayMTU, "--vlan-ranges="+physical+":100:199")
	c := &computes{cloud: addNova(t, d, address+":8774"), hosts: map[string]*testbed.Host{}, osvif: map[string]*nova.OSVIF{}, guests: map[string]*testbed.VM{}}
	c.nova.Plugger = c
	d.flags = append(d.flags, "--nova-url", c.url)
	d.serve()
	for _, h := range hosts {
		c.hosts[h.Name] = h
		if err := h.Connect(physnet, "br-ex"); err != nil {
			t.Fatal(err)
		}
		if err := h.Enroll("tcp:"+d.ovsdb, map[string]string{"tunbridge-bridge-mappings": physical + ":br-ex"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range hosts {
		d.quiet(h.Name)
	}
	if err := d.bed.WarmTunnels(); err != nil {
		t.Fatal(err)
	}
	started := make([]*nova.OSVIF, len(hosts))
	var g errgroup.Group
	for at, h := range hosts {
		g.Go(func() (err error) {
			// At its default address, 127.0.0.1:6640 of the host, which the controller has opened.
			started[at], err = nova.StartOSVIF(func(name string, arg ...string) *exec.Cmd { return h.Command(t.Context(), name, arg...) }, settings[h.Name])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for at, h := range hosts {
		c.osvif[h.Name] = started[at]
		t.Cleanup(func() { _ = started[at].Close() }) // the context's end may be first
	}
	return c
}

// pinged waits until a guest answers another, each request once.
func (c *computes) pinged(from *testbed.VM, to *nova.NIC) {
	c.t.Helper()
	address := netip.MustParseAddr(to.Addresses[0].Address)
	c.await(fmt.Sprintf("%s reaches %s", from.Name, address), func() error {
		r, err := from.Ping(address, 3, 10*time.Millisecond)
		if err == nil && (r.Lost() > 0 || r.Duplicates > 0) {
			err = fmt.Errorf("%s", r)
		}
		return err
	})
}

// VIFs as the real os-vif plugs them, in each of its ways, and a guest that moves from one to another.
func TestOSVIF(t *testing.T) {
	testbed.RequireRoot(t)
	t.Parallel()
	c := deployComputes(t, map[string]map[string]any{
		"compute01": nil,
		"compute02": {"per_port_bridge": true},
		"compute03": {"isolate_vif": true},
	})
	ctx, n := t.Context(), c.nova
	blue := c.addNetwork("blue", "10.0.0.0/24")
	ports := func(h *testbed.Host) string {
		t.Helper()
		bridges, err := h.Vsctl("list-br")
		ports, err2 := h.Vsctl("list-ports", "br-int")
		c.must("ports of "+h.Name, errors.Join(err, err2))
		return words(strings.Fields(bridges + "\n" + ports)...)
	}
	before := map[string]string{}
	var all []*nova.Instance
	for _, name := range []string{"compute01", "compute02", "compute03"} {
		before[name] = ports(c.hosts[name])
		i := c.instance("vm" + name[len(name)-1:])
		c.must("boot on "+name, n.Boot(ctx, i, name, blue.ID))
		c.wake(name, i.NICs[0])
		all = append(all, i)
	}
	everyone := func() {
		t.Helper()
		for _, from := range all {
			for _, to := range all {
				if from != to {
					c.pinged(c.guestOf(from.Host, from.NICs[0]), to.NICs[0])
				}
			}
		}
	}
	everyone()
	if device := "pb" + all[1].NICs[0].Port[:12]; !strings.Contains(ports(c.hosts["compute02"]), device) {
		t.Errorf("compute02 has no bridge %s: %s", device, ports(c.hosts["compute02"]))
	}
	for _, i := range all {
		m := n.Mark()
		c.must("hard reboot", n.HardReboot(ctx, i))
		if _, err := n.Await(ctx, m, "network-vif-plugged", i.NICs[0].Port); err != nil {
			t.Error(err)
		}
		c.wake(i.Host, i.NICs[0])
	}
	everyone()
	// A guest moves to a host where VIFs are plugged in another way.
	moving, nic := all[0], all[0].NICs[0]
	c.must("live migration", n.Migrate(ctx, moving, "compute02", func() error {
		if _, err := c.guestOf("compute01", nic).Exec("ip", "link", "set", "eth0", "down"); err != nil {
			return err
		}
		c.wake("compute02", nic)
		return send(c.guestOf("compute02", nic).Namespace, "eth0", rarpFrame(vifOf(moving, nic).MAC))
	}))
	everyone()
	for _, i := range all {
		c.must("delete", n.Delete(ctx, i))
	}
	for name, h := range c.hosts {
		if now := ports(h); now != before[name] {
			t.Errorf("%s has %s, and had %s", name, now, before[name])
		}
	}
	c.neverEarly()
}
