package system

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// Of packets that were dropped for their source, in one flow for all ports, it is told whose they are, as far as
// that follows from what came in of each and what passed.
func TestSpoofersAreNamed(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	h := d.addHosts("compute01")[0]
	n := d.networkOf("vxlan", "blue", "10.0.0.0/24")
	web, db, idle := d.addPort(n, h.Name), d.addPort(n, h.Name), d.addPort(n, h.Name)
	d.plug(h, web, db, idle)
	d.become("ACTIVE", web, db, idle)
	d.settled(h)
	inject := func(p *port, count int, frame []byte) {
		t.Helper()
		for range count {
			if err := h.Inject(p.device(), frame); err != nil {
				t.Fatal(err)
			}
		}
	}
	from := func(p *port, address string) []byte {
		return udpFrame(p.vif().MAC, broadcastMAC, net.ParseIP(address).To4(), net.IPv4bcast, 1000, 2000, nil)
	}
	unproved := udpFrame(db.vif().MAC, broadcastMAC, net.IPv4zero.To4(), net.IPv4bcast, 68, 67, nil)
	says := func(what string, words ...string) {
		t.Helper()
		d.await(fmt.Sprintf("explain %s to say %q", what, words), func() error {
			text, _, err := d.answer("explain", what)
			text = folded.ReplaceAllString(text, " ")
			for _, w := range words {
				if err == nil && !strings.Contains(text, w) {
					err = fmt.Errorf("it says\n%s", text)
				}
			}
			return err
		})
	}
	inject(db, 5, from(db, db.address()))
	inject(web, 3, from(web, "10.0.0.66"))
	says(web.ID, "the guest spoofs: at least 3 of its packets were dropped, whose source address")
	says(h.Name, "3 packets were dropped for their source IP address, which is not their port's: at most 3 of port "+web.ID)

	inject(db, 9, unproved) // by which of the two they are is no longer told by the counters
	says(web.ID, "perhaps the guest spoofs: of the 3 packets on its host that were dropped for their source address, at most 3 are its")
	inject(web, 20, from(web, "10.0.0.66"))
	says(web.ID, "the guest spoofs: at least 14 of its packets were dropped, whose source address")
	says(h.Name, "23 packets were dropped for their source IP address", "at most 23 of port "+web.ID+", at most 9 of port "+db.ID)
	stranger := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	inject(db, 4, udpFrame(stranger, broadcastMAC, net.ParseIP(db.address()).To4(), net.IPv4bcast, 1000, 2000, nil))
	says(db.ID, "the guest spoofs: 4 of its packets were dropped, whose source MAC")
	says(h.Name, "4 packets were dropped for their source MAC address, which is not their port's: at most 4 of port "+db.ID)
	if text, status, err := d.answer("explain", idle.ID); err != nil || status != 0 || strings.Contains(text, "spoofs") {
		t.Errorf("explain of a port that sent nothing: status %d, error %v\n%s", status, err, text)
	}
}
