package system

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// virtualMAC is that of virtual router 51 (RFC 5798 7.3).
const virtualMAC = "00:00:5e:00:01:33"

// Two guests share an address by VRRP, once with the MAC of whoever has it and once with the virtual
// router's own. When the one fails, a third guest on another host is served by the other. How soon is
// measured by `go run ./test/bench gap`.
func (w *layer2) vrrp() {
	for _, c := range []struct {
		name string
		pair object
	}{
		{"shared address", object{"ip_address": "10.0.0.200"}},
		{"shared address and MAC", object{"ip_address": "10.0.0.200", "mac_address": virtualMAC}},
	} {
		n := w.network("vxlan", "10.0.0.0/24")
		pairs := object{"allowed_address_pairs": []object{c.pair}}
		routers := []*guest{w.guest(n, w.hosts[0], pairs), w.guest(n, w.hosts[1], pairs)}
		client := w.guest(n, w.hosts[2], nil)
		w.active(append(routers, client)...)
		shared := netip.MustParseAddr("10.0.0.200")
		for i, g := range routers {
			w.keepalived(g, 150-50*i, c.pair["mac_address"] != nil)
		}
		has := func(g *guest) {
			w.t.Helper()
			w.await(fmt.Sprintf("%s: %s is the master", c.name, g.Name), func() error {
				for i, r := range routers {
					out, err := r.Exec("ip", "-4", "-o", "addr", "show", "dev", "eth0", "up")
					if err != nil {
						return err
					}
					if (r == g) != strings.Contains(out, shared.String()+"/") {
						return fmt.Errorf("guest %d has %s", i+1, out)
					}
				}
				return nil
			})
		}
		has(routers[0])
		w.reaches(client, shared)

		for _, step := range []struct {
			what, state string
			master      *guest
		}{{"fails", "down", routers[1]}, {"is back", "up", routers[0]}} {
			ping, err := client.StartPing(shared, 2*time.Millisecond)
			if err != nil {
				w.t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
			if _, err := routers[0].Exec("ip", "link", "set", "eth0", step.state); err != nil {
				w.t.Fatal(err)
			}
			has(step.master)
			w.reaches(client, shared)
			result, err := ping.Stop()
			if err != nil {
				w.t.Fatal(err)
			}
			w.t.Logf("%s: the master %s: %s", c.name, step.what, result)
		}
	}
}

// keepalived runs VRRP version 3 in a guest, with an advertisement every 100 ms. With ownMAC the guest
// has the virtual router's MAC address all the time, as with keepalived's use_vmac, whose interface
// not every kernel can make.
func (w *layer2) keepalived(g *guest, priority int, ownMAC bool) {
	w.t.Helper()
	if ownMAC {
		if _, err := g.Exec("ip", "link", "set", "eth0", "address", virtualMAC); err != nil {
			w.t.Fatal(err)
		}
	}
	files := filepath.Join(g.Host.Dir, g.Name)
	config := fmt.Sprintf(`global_defs {
  router_id %s
  vrrp_version 3
}
vrrp_instance shared {
  state BACKUP
  interface eth0
  virtual_router_id 51
  priority %d
  advert_int 0.1
  virtual_ipaddress {
    10.0.0.200/24
  }
}
`, g.Name, priority)
	if err := os.WriteFile(files+".conf", []byte(config), 0o644); err != nil {
		w.t.Fatal(err)
	}
	if _, err := g.Start("keepalived-"+g.Name, "keepalived", "--dont-fork", "--log-console", "--vrrp",
		"--use-file="+files+".conf", "--pid="+files+".pid", "--vrrp_pid="+files+"-vrrp.pid"); err != nil {
		w.t.Fatal(err)
	}
}
