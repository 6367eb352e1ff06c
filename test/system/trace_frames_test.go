package system

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// tried is a frame that a guest sent, and where trace said that it would go.
type tried struct {
	what  string
	from  *guest
	frame []byte
	want  []string // names of guests, sorted
	told  string
}

// traced compares what trace says with where frames really go: from each guest to each other one, to all,
// and from addresses that are not its own, on networks of every type, all with the same addresses.
func (w *layer2) traced() {
	var guests []*guest
	for _, networkType := range allTypes {
		n := w.network(networkType, "10.0.0.0/24")
		guests = append(guests, w.guest(n, w.hosts[0], nil), w.guest(n, w.hosts[1], object{"port_security_enabled": networkType != "vxlan" && networkType != "vlan"}))
		if networkType == "vxlan" || networkType == "flat" {
			guests = append(guests, w.guest(n, w.hosts[0], nil), w.guest(n, w.hosts[2], nil))
		}
	}
	w.active(guests...)
	names := map[string]string{}
	var m marks
	for _, g := range guests {
		names[g.port.ID] = g.Name
		m.listen(w.t, g.Namespace, "eth0", g.Name, false)
	}
	var all []*tried
	try := func(from *guest, what string, frame []byte, q inspect.TraceQuery) {
		q.Source = from.port.ID
		told := w.follow(q)
		x := &tried{what: what, from: from, frame: mark(frame, len(all)), told: told.Verdict}
		for _, a := range told.Arrivals {
			x.want = append(x.want, names[a.PortID])
		}
		slices.Sort(x.want)
		all = append(all, x)
		if err := send(from.Namespace, "eth0", x.frame); err != nil {
			w.t.Fatal(err)
		}
	}
	stranger := net.HardwareAddr{0x02, 0, 0, 0, 0, 0x66}
	for _, from := range guests {
		for _, to := range guests {
			if to != from {
				try(from, "to "+to.Name, from.datagram(to.mac()), inspect.TraceQuery{Destination: to.port.MAC})
			}
		}
		try(from, "to all", from.datagram(broadcastMAC), inspect.TraceQuery{Destination: broadcast})
		try(from, "to all from a stranger's MAC address", udpFrame(stranger, broadcastMAC, from.address().AsSlice(), net.IPv4bcast, 1000, 2000, nil),
			inspect.TraceQuery{Destination: broadcast, SourceMAC: stranger.String()})
		try(from, "to all from a stranger's IP address", udpFrame(from.mac(), broadcastMAC, net.IPv4(10, 0, 0, 251), net.IPv4bcast, 1000, 2000, nil),
			inspect.TraceQuery{Destination: broadcast, SourceIP: "10.0.0.251"})
	}
	places := func(number int) []string {
		var at []string
		for _, g := range guests {
			if m.at(number, g.Name) > 0 {
				at = append(at, g.Name)
			}
		}
		slices.Sort(at)
		return at
	}
	arrived := 0
	for number, x := range all {
		sent := time.Now()
		w.await(fmt.Sprintf("a frame of %s %s", x.from.Name, x.what), func() error {
			at := places(number)
			for _, name := range x.want {
				if slices.Contains(at, name) {
					continue
				}
				if time.Since(sent) > 200*time.Millisecond { // the switch may lose one
					sent = time.Now()
					if err := send(x.from.Namespace, "eth0", x.frame); err != nil {
						return err
					}
				}
				return fmt.Errorf("it came to %q; trace said: %s", at, x.told)
			}
			arrived += len(x.want)
			return nil
		})
	}
	m.stop(w.t)
	for number, x := range all {
		if at := places(number); !slices.Equal(at, x.want) {
			w.t.Errorf("a frame of %s %s came to %q; trace said %q: %s", x.from.Name, x.what, at, x.want, x.told)
		}
	}
	w.t.Logf("%d frames went where trace said, to %d guests", len(all), arrived)
	if arrived < len(all)/4 || !slices.ContainsFunc(all, func(x *tried) bool { return strings.Contains(x.told, "port security of ") }) {
		w.t.Errorf("of %d frames %d arrived", len(all), arrived)
	}
}
