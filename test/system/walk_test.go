package system

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// Lines of ofproto/trace with names, beside those of packets_test.go.
var (
	traceOverlay = regexp.MustCompile(`^output:"(vxlan|gre|geneve)-tb"$`)
	traceVID     = regexp.MustCompile(`^set_field:(\d+)->vlan_vid$`)
)

// uplink is br-int's end of the patch to the provider bridge of the tests.
const uplink = "int-br-ex"

// copied is a frame that leaves a host, as its trace tells: into a tunnel, or to the physical network.
type copied struct {
	tunnel, dst string // type of the tunnel, tunnel address of the other end
	key         string
	vlan        int // on the physical network; 0 is untagged
}

// walker follows frames from host to host by ofproto/trace: what one host sends, the next is given.
type walker struct {
	*deployment
	hosts []*testbed.CheapHost
	names map[*testbed.CheapHost]map[string]string // VIFs and uplink by number on br-int
}

// walk looks at the hosts' ports as they are now.
func (d *deployment) walk(hosts []*testbed.CheapHost) *walker {
	d.t.Helper()
	w := &walker{d, hosts, map[*testbed.CheapHost]map[string]string{}}
	for _, h := range hosts {
		w.names[h] = map[string]string{}
		list, err := h.Vsctl("--format=csv", "--no-headings", "--columns=name,ofport", "list", "Interface")
		if err != nil {
			d.t.Fatal(err)
		}
		for line := range strings.Lines(list) {
			name, number, _ := strings.Cut(strings.TrimSpace(line), ",")
			if name = strings.Trim(name, `"`); name == uplink || strings.HasPrefix(name, "tap") {
				w.names[h][number] = name
			}
		}
	}
	return w
}

// hop follows a frame through one host. VIFs are told as "host/device".
func (w *walker) hop(h *testbed.CheapHost, bridge, packet string) (vifs []string, away []copied) {
	w.t.Helper()
	out, err := h.Trace(bridge, packet)
	if err != nil {
		w.t.Fatal(err)
	}
	var now copied
	wasVIFs, wasAway := 0, 0 // before the last output
	leave := func(name string) {
		wasVIFs, wasAway = len(vifs), len(away)
		switch name {
		case uplink:
			away = append(away, copied{vlan: now.vlan})
		case "":
			w.t.Fatalf("host %s sends to a port of br-int that is no VIF:\n%s", h.Name, out)
		default:
			vifs = append(vifs, h.Name+"/"+name)
		}
	}
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if m := traceTunID.FindStringSubmatch(line); m != nil {
			now.key = m[1]
		} else if m := traceTunDst.FindStringSubmatch(line); m != nil {
			now.dst = m[1]
		} else if m := traceVID.FindStringSubmatch(line); m != nil {
			vid, _ := strconv.Atoi(m[1])
			now.vlan = vid & 0xfff
		} else if m := traceOverlay.FindStringSubmatch(line); m != nil {
			away = append(away, copied{tunnel: m[1], dst: now.dst, key: now.key})
		} else if line == `output:"`+uplink+`"` {
			leave(uplink)
		} else if m := traceOutput.FindStringSubmatch(line); m != nil {
			leave(w.names[h][m[1]])
		} else if line == ">> skipping output to input port" {
			vifs, away = vifs[:wasVIFs], away[:wasAway]
		}
	}
	return vifs, away
}

// reached is where a frame from a port arrives, over all hosts, sorted.
func (w *walker) reached(h *testbed.CheapHost, from *port, toMAC string) []string {
	w.t.Helper()
	frame := fmt.Sprintf("udp,dl_src=%s,dl_dst=%s,nw_src=%s,nw_dst=10.0.0.250,udp_src=1000,udp_dst=2000", from.MAC, toMAC, from.address())
	vifs, away := w.hop(h, "br-int", "in_port="+from.device()+","+frame)
	for _, c := range away {
		for _, other := range w.hosts {
			var more []string
			var further []copied
			switch {
			case other == h:
				continue
			case c.tunnel != "" && other.Encap.String() == c.dst:
				more, further = w.hop(other, "br-tun", fmt.Sprintf("in_port=%s-tb,tun_id=%s,tun_src=%s,tun_dst=%s,%s", c.tunnel, c.key, h.Encap, c.dst, frame))
			case c.tunnel == "" && slices.Contains(slices.Collect(maps.Values(w.names[other])), uplink):
				tag := "vlan_tci=0"
				if c.vlan != 0 {
					tag = fmt.Sprintf("dl_vlan=%d", c.vlan)
				}
				more, further = w.hop(other, "br-int", fmt.Sprintf("in_port=%s,%s,%s", uplink, tag, frame))
			}
			if len(further) > 0 {
				w.t.Errorf("host %s sends on what came from host %s: %+v", other.Name, h.Name, further)
			}
			vifs = append(vifs, more...)
		}
	}
	slices.Sort(vifs)
	return vifs
}
