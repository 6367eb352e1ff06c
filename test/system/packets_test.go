package system

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// Lines of ofproto/trace with names.
var (
	traceTunID  = regexp.MustCompile(`^set_field:(0x[0-9a-f]+)->tun_id$`)
	traceTunDst = regexp.MustCompile(`^set_field:([0-9.]+)->tun_dst$`)
	traceTunnel = regexp.MustCompile(`^output:"vxlan`)
	traceOutput = regexp.MustCompile(`^-> output port is (\d+)$`)
)

// went says where a host sends a packet, a word for each copy, sorted: the device of a VIF,
// "172.31.0.2/99" for a host and a VNI, "answered", "punted"; "" for nowhere.
func (d *deployment) went(h *testbed.CheapHost, bridge, packet string) string {
	d.t.Helper()
	out, err := h.Trace(bridge, packet)
	if err != nil {
		d.t.Fatal(err)
	}
	var copies []string
	var vni, dst string
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if m := traceTunID.FindStringSubmatch(line); m != nil {
			n, _ := strconv.ParseUint(m[1], 0, 64)
			vni = strconv.FormatUint(n, 10)
		} else if m := traceTunDst.FindStringSubmatch(line); m != nil {
			dst = m[1]
		} else if traceTunnel.MatchString(line) {
			copies = append(copies, dst+"/"+vni)
		} else if m := traceOutput.FindStringSubmatch(line); m != nil {
			copies = append(copies, d.vifOn(h, m[1]))
		} else if line == ">> skipping output to input port" {
			copies = copies[:len(copies)-1]
		} else if line == "IN_PORT" {
			copies = append(copies, "answered")
		} else if strings.HasPrefix(line, "controller(") {
			copies = append(copies, "punted")
		}
	}
	slices.Sort(copies)
	return strings.Join(copies, " ")
}

// vifOn is the VIF with a number on br-int.
func (d *deployment) vifOn(h *testbed.CheapHost, ofport string) string {
	d.t.Helper()
	names, err := h.Vsctl("--bare", "--columns=name", "find", "Interface", "ofport="+ofport)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, name := range strings.Fields(names) { // of all bridges
		if strings.HasPrefix(name, "tap") {
			return name
		}
	}
	return "port " + ofport
}

// sends is went for an IPv4 packet that a port's guest sends to a MAC address.
func (d *deployment) sends(h *testbed.CheapHost, from *port, toMAC string) string {
	d.t.Helper()
	return d.went(h, "br-int", fmt.Sprintf("in_port=%s,udp,dl_src=%s,dl_dst=%s,nw_src=%s,nw_dst=10.0.0.250,udp_src=1000,udp_dst=2000", from.device(), from.MAC, toMAC, from.address()))
}

const broadcast = "ff:ff:ff:ff:ff:ff"

// words sorts what went is to be compared with.
func words(w ...string) string {
	slices.Sort(w)
	return strings.Join(w, " ")
}

func through(h *testbed.CheapHost, n *network) string { return fmt.Sprintf("%s/%d", h.Encap, n.VNI) }

// rules reads a bridge's flows without what changes by itself.
func (d *deployment) rules(h *testbed.CheapHost, bridge string) string {
	d.t.Helper()
	out, err := h.Ofctl("--no-stats", "dump-flows", bridge)
	if err != nil {
		d.t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

var flowDuration = regexp.MustCompile(`duration=([0-9.]+)s`)

// newest is when the youngest flow of a bridge was added.
func (d *deployment) newest(h *testbed.CheapHost, bridge string) (added time.Time) {
	d.t.Helper()
	asked := time.Now()
	out, err := h.Ofctl("dump-flows", bridge)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, m := range flowDuration.FindAllStringSubmatch(out, -1) {
		seconds, _ := strconv.ParseFloat(m[1], 64)
		if at := asked.Add(-time.Duration(seconds * float64(time.Second))); at.After(added) {
			added = at
		}
	}
	if added.IsZero() {
		d.t.Fatalf("host %s: %s has no flows:\n%s", h.Name, bridge, out)
	}
	return added
}

// delivered waits until a host has sent a frame out of a VIF.
func (d *deployment) delivered(h *testbed.CheapHost, to *port, frame []byte) {
	d.t.Helper()
	d.await("a frame out of "+to.device(), func() error {
		frames, err := h.Sent(to.device())
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(frames, func(f []byte) bool { return string(f) == string(frame) }) {
			return fmt.Errorf("%d frames, not this one", len(frames))
		}
		return nil
	})
}
