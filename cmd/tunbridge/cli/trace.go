package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// Trace follows a packet over the flows of all switches on its way.
type Trace struct {
	Admin
	Source      string `arg:"" offer:"<port>" help:"Port that sends: its ID or the beginning, name, device_id, MAC or IP address, or HOST:OFPORT."`
	Destination string `arg:"" offer:"<port>" help:"A port, likewise, or any IP or MAC address."`
	Proto       string `help:"icmp (echo request), tcp, udp, arp: who has the destination's address, also in IPv6, or rs: router solicitation." enum:"icmp,tcp,udp,arp,rs" default:"icmp"`
	Port        int    `help:"Destination port of tcp and udp." placeholder:"N"`
	Size        int    `help:"Bytes of the IP packet: is the path's MTU enough?" placeholder:"N"`
	SourceMAC   string `name:"source-mac" help:"MAC address that the guest sends from; default its port's." placeholder:"MAC"`
	SourceIP    string `name:"source-ip" help:"IP address that the guest sends from; default its port's." placeholder:"IP"`
	VLAN        int    `name:"vlan" help:"VLAN tag that the guest puts on the frame." placeholder:"ID"`
	Both        bool   `help:"Also follow the answer of the destination's guest."`
}

// Help is shown below the flags.
func (Trace) Help() string {
	return `The first line says whether the packet arrives and, if not, which rule of which object stopped it. Then
comes every flow that it meets, on each host, read from the switches now, with its owner and its cause.
Nothing is sent.

Examples:
  tunbridge trace web-1 db-1
  tunbridge trace web-1 10.0.0.5 --proto tcp --port 443
  tunbridge trace web-1 db-1 --proto tcp --port 443 --both
  tunbridge trace web-1 db-1 --size 1450
  tunbridge trace web-1 169.254.169.254 --proto tcp --port 80
  tunbridge trace web-1 255.255.255.255 --proto udp --port 67
  tunbridge trace web-1 10.0.0.5 --proto arp
  tunbridge trace web-1 db-1 --source-ip 10.0.0.99

Exit status 1 if it does not arrive, or the answer that was asked for does not.`
}

// Run prints the packet's way.
func (c *Trace) Run() error {
	ctx, cancel := interruptible()
	defer cancel()
	client, err := c.client()
	if err != nil {
		return err
	}
	t, err := client.Trace(ctx, inspect.TraceQuery{Source: c.Source, Destination: c.Destination, Protocol: c.Proto, Port: c.Port, Size: c.Size, SourceMAC: c.SourceMAC, SourceIP: c.SourceIP, VLAN: c.VLAN, Both: c.Both})
	if err != nil {
		return err
	}
	err = c.print(&t, func(w io.Writer) error {
		back := t.Back
		if back != nil && t.Arrives && !back.Arrives {
			fmt.Fprintf(w, "the answer %s\n", back.Verdict)
		}
		way(w, &t)
		if back != nil {
			fmt.Fprint(w, "\nThe answer ")
			way(w, back)
		}
		return nil
	})
	switch {
	case err != nil:
	case !t.Arrives:
		err = found("it does not arrive")
	case t.Back != nil && !t.Back.Arrives:
		err = found("the answer does not arrive")
	}
	return err
}

// way prints whether a packet arrives, and how.
func way(w io.Writer, t *inspect.Trace) {
	fmt.Fprintf(w, "%s\nfrom %s to %s\n", t.Verdict, t.From, t.To)
	if t.Packet != "" {
		fmt.Fprintf(w, "  %s\n", t.Packet)
	}
	for i := range t.Steps {
		step(w, &t.Steps[i])
	}
}

// step prints what happens to the packet: a flow with its cause below it, or words.
func step(w io.Writer, s *inspect.TraceStep) {
	indent := strings.Repeat("  ", s.Depth)
	switch f := s.Flow; {
	case s.Depth == 0 || strings.HasPrefix(s.Text, "comes in by "):
		fmt.Fprintf(w, "%s%s %s: %s\n", indent, s.Host, s.Bridge, s.Text)
	case f == nil:
		fmt.Fprintf(w, "%s%s\n", indent, s.Text)
	default:
		match := f.Match
		if match != "" {
			match = "," + match
		}
		fmt.Fprintf(w, "%stable %d %s: priority=%d%s actions=%s\n%s    %s: %s\n", indent, f.Table, f.TableName, f.Priority, match, f.Actions, indent, cause(f), f.Reason)
	}
}
