package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// Hosts lists the hosts, or shows one.
type Hosts struct {
	Admin
	Host string `arg:"" optional:"" offer:"<host>" help:"Show this host in full: hostname or system-id."`
}

// Help is shown below the flags.
func (Hosts) Help() string {
	return `Examples:
  tunbridge hosts
  tunbridge hosts compute01`
}

// Run prints the list.
func (c *Hosts) Run() error {
	ctx, cancel := interruptible()
	defer cancel()
	client, err := c.client()
	if err != nil {
		return err
	}
	if c.Host != "" {
		return c.one(ctx, client)
	}
	hosts, err := client.Hosts(ctx)
	if err != nil {
		return err
	}
	return c.print(&hosts, func(w io.Writer) error {
		if len(hosts) == 0 {
			_, err := fmt.Fprintln(w, "No host is enrolled. On a host: ovs-vsctl set-manager tcp:CONTROLLER:6640")
			return err
		}
		t := newTable("HOST", "STATE", "ENCAP IP", "DATAPATH", "VIFS", "NETWORKS", "FLOWS", "NOTE")
		for i := range hosts {
			h := &hosts[i]
			t.row(h.Hostname, state(h), encap(h), h.DatapathType, fmt.Sprintf("%d/%d", wired(h), len(h.VIFs)), len(h.LocalVLANs), total(h), note(h))
		}
		return t.write(w, columns)
	})
}

// one shows everything that is known of a host.
func (c *Hosts) one(ctx context.Context, client *inspect.Client) error {
	h, err := client.Host(ctx, c.Host)
	if err != nil {
		return err
	}
	return c.print(&h, func(w io.Writer) error {
		row := func(key, format string, args ...any) {
			fmt.Fprintf(w, "%-15s  %s\n", key, fmt.Sprintf(format, args...))
		}
		row("host", "%s", h.Hostname)
		row("system-id", "%s", h.ID)
		row("state", "%s", state(&h))
		if h.OVSDB != nil {
			row("OVSDB", "%s, Open vSwitch %s, since %s", h.OVSDB.Address, cmp.Or(h.OVSDB.Version, "of unknown version"), h.OVSDB.Since.Format(time.DateTime))
		}
		for _, bridge := range []string{"br-int", "br-tun"} {
			row("OpenFlow "+bridge, "%s, %d flows wanted", cmp.Or(h.OpenFlow[bridge], "not connected"), h.Flows[bridge])
		}
		row("encap IP", "%s", encap(&h))
		row("datapath", "%s (%s)", h.DatapathType, h.Datapath)
		last := "none was needed"
		if !h.LastCommit.IsZero() {
			last = "last " + h.LastCommit.Format(time.DateTime)
		}
		row("commits", "%d since it connected, %s", h.Commits, last)
		row("repairs", "%d foreign changes undone, %d switch restarts", h.Repairs, h.Restarts)
		if n := note(&h); n != "" {
			row("note", "%s", n)
		}
		if h.Pending != "" {
			fmt.Fprintf(w, "\nPending:\n%s", h.Pending)
		}
		networks, vifs, peers := newTable("LOCAL VLAN", "NETWORK", "ID"), newTable("INTERFACE", "OFPORT", "PORT", "STATE"), newTable("PEER", "TUNNEL", "STATE", "ROUND TRIP", "PATH MTU", "LAST SEEN", "NOTE")
		for _, v := range h.LocalVLANs {
			networks.row(v.VLAN, v.NetworkName, v.NetworkID)
		}
		for _, v := range h.VIFs {
			vifs.row(v.Interface, v.OFPort, v.PortID, cmp.Or(v.Reason, "wired"))
		}
		for _, p := range h.Peers {
			peers.row(p.Hostname, p.Type, tunnel(&p), milliseconds(p.RTT), known(p.PathMTU), lastSeen(&p), p.Note)
		}
		for _, t := range []*table{networks, vifs, peers} {
			if len(t.rows) == 1 {
				continue
			}
			fmt.Fprintln(w)
			if err := t.write(w, columns); err != nil {
				return err
			}
		}
		return nil
	})
}

func state(h *inspect.Host) string {
	switch {
	case h.OVSDB == nil:
		return "away"
	case !h.Alive:
		return "connecting"
	case h.LastError != "":
		return "error"
	case h.Pending != "":
		return "pending"
	}
	return "ok"
}

func tunnel(p *inspect.Peer) string {
	switch {
	case p.Alive:
		return "up"
	case p.Note != "":
		return "down"
	}
	return "not known"
}

func milliseconds(us int64) string {
	if us == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", float64(us)/1000)
}

func known(bytes int) string {
	if bytes == 0 {
		return "-"
	}
	return strconv.Itoa(bytes)
}

func lastSeen(p *inspect.Peer) string {
	if p.LastSeen.IsZero() {
		return "never"
	}
	return p.LastSeen.Format(time.DateTime)
}

func encap(h *inspect.Host) string {
	if h.EncapGuessed {
		return h.EncapIP + " (guessed)"
	}
	return h.EncapIP
}

func wired(h *inspect.Host) (n int) {
	for _, v := range h.VIFs {
		if v.Wired {
			n++
		}
	}
	return n
}

func total(h *inspect.Host) (n int) {
	for _, flows := range h.Flows {
		n += flows
	}
	return n
}

// note is what the operator should know, in one line.
func note(h *inspect.Host) string {
	var notes []string
	for _, s := range []string{h.LastError, h.Waiting} {
		if s != "" {
			notes = append(notes, strings.ReplaceAll(s, "\n", "; "))
		}
	}
	if n := strings.Count(h.Pending, "\n"); n > 0 {
		notes = append(notes, fmt.Sprintf("%d changes pending", n))
	}
	for _, v := range h.VIFs {
		if !v.Wired {
			notes = append(notes, v.Interface+": "+v.Reason)
			break
		}
	}
	for _, p := range h.Peers {
		if p.Note != "" {
			notes = append(notes, fmt.Sprintf("tunnel %s to %s: %s", p.Type, p.Hostname, p.Note))
			break
		}
	}
	return strings.Join(notes, "; ")
}
