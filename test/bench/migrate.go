package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// migratable are the types of network on which live migrations are measured: on one the peers know where a
// guest is, on the other a physical switch learns it.
var migratable = []string{"vxlan", "vlan"}

// stunned is for how long a migrating guest runs nowhere; it is part of the silence.
const stunned = 5 * time.Millisecond

// migrate moves the first host's guest to the second and back in the order of Nova's live migration: bound
// and plugged there too, paused here, resumed there, the binding activated, the old one deleted. With
// announced the hypervisor says where the guest is now, as QEMU does; without, the activation alone tells.
// Peers send to both hosts meanwhile, so that what is under way when the guest moves may reach it twice.
func (d *deployment) migrate(ctx context.Context, hosts []*testbed.Host, kind string, announced bool, times int) (silent []time.Duration, err error) {
	err = d.play(ctx, hosts, kind, nil, func(s *scene) error {
		if err := s.plug(hosts[1], "twin", 0); err != nil {
			return err
		}
		guests := []*testbed.VM{s.guests[0], s.guests[len(s.guests)-1]}
		for _, g := range guests { // so that one that is paused says nothing: it would be taken for arrived
			if err := set(g, "ipv6/conf/eth0/disable_ipv6", true); err != nil {
				return err
			}
			if _, err := g.Exec("ip", "neigh", "replace", s.address(2).String(), "lladdr", s.ports[2].MAC, "dev", "eth0"); err != nil {
				return err
			}
		}
		// Nor is it asked: its kernel would answer whether its MAC address still holds.
		if _, err := s.guests[2].Exec("ip", "neigh", "replace", s.address(0).String(), "lladdr", s.ports[0].MAC, "dev", "eth0"); err != nil {
			return err
		}
		bindings := "/v2.0/ports/" + s.ports[0].ID + "/bindings"
		for i := range times {
			here, there := i%2, (i+1)%2
			to := bindings + "/" + hosts[there].Name
			if err := pause(guests[there], true); err != nil {
				return err
			}
			if err := d.call(ctx, http.MethodPost, bindings, object{"binding": object{"host": hosts[there].Name}}, nil); err != nil {
				return err
			}
			if err := d.settle(ctx); err != nil {
				return err
			}
			r, err := s.pinged(ctx, s.guests[2], s.address(0), func() error {
				if err := pause(guests[here], true); err != nil {
					return err
				}
				time.Sleep(stunned)
				if err := pause(guests[there], false); err != nil {
					return err
				}
				if announced {
					if err := announce(guests[there]); err != nil {
						return err
					}
				}
				if err := d.call(ctx, http.MethodPut, to+"/activate", nil, nil); err != nil {
					return err
				}
				time.Sleep(time.Second) // the longest silence that can be told
				return nil
			})
			if err != nil {
				return fmt.Errorf("migration %d: %w", i+1, err)
			}
			silent = append(silent, r.LongestGap)
			if err := d.call(ctx, http.MethodDelete, bindings+"/"+hosts[here].Name, nil, nil); err != nil {
				return err
			}
		}
		return nil
	})
	return silent, err
}

// pause makes a guest hear nothing, or again, as far as pings can tell.
func pause(g *testbed.VM, yes bool) error { return set(g, "ipv4/icmp_echo_ignore_all", yes) }

// set switches something of a guest's network on or off.
func set(g *testbed.VM, name string, on bool) error {
	return g.Do(func() error {
		return os.WriteFile("/proc/sys/net/"+name, []byte(map[bool]string{true: "1", false: "0"}[on]), 0)
	})
}

// announce broadcasts a reverse ARP request of a guest's (RFC 903), as QEMU does for one that has arrived.
func announce(g *testbed.VM) error {
	frame := slices.Concat(bytes.Repeat([]byte{0xff}, 6), g.MAC, []byte{0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3}, g.MAC, make([]byte, 4), g.MAC, make([]byte, 4+18))
	return g.Do(func() error {
		device, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: device.Index})
	})
}

// migrations are all of these, each a row.
func (d *deployment) migrations(ctx context.Context, hosts []*testbed.Host, times int, row func(name string, all []time.Duration)) error {
	for _, kind := range migratable {
		for _, announced := range []bool{true, false} {
			name := "live migration, " + kind
			if !announced {
				name += ", the guest silent"
			}
			fmt.Fprintln(os.Stderr, "gap:", name)
			silent, err := d.migrate(ctx, hosts, kind, announced, times)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			row(name+": no answer for", silent)
		}
	}
	return nil
}
