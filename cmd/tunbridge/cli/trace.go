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
	Proto       string `help:"icmp (echo request), tcp, udp, or arp: who has the destination's address, also in IPv6." enum:"icmp,tcp,udp,arp" default:"icmp"`
	Port        int    `help:"Destination port of tcp and udp." placeholder:"N"`
	Size        int    `help:"Bytes of the IP packet: is the path's MTU enough?" placeholder:"N"`
	SourceMAC   string `name:"source-mac" help:"MAC address that the guest sends from; default its port's." placeholder:"MAC"`
	SourceIP    string `name:"source-ip" help:"IP address that the guest sends from; default its port's." placeholder:"IP"`
}

// Help is shown below the flags.
func (Trace) Help() string {
	return `The first line says whether the packet arrives and, if not, which rule of which object stopped it. Then
comes every flow that it meets, on each host, read from the switches now, with its owner and its cause.
Nothing is sent.

Examples:
  tunbridge trace web-1 db-1
  tunbridge trace web-1 10.0.0.5 --proto tcp --port 443
  tunbridge trace web-1 db-1 --size 1450
  tunbridge trace web-1 169.254.169.254 --proto tcp --port 80
  tunbridge trace web-1 10.0.0.5 --proto arp
  tunbridge trace web-1 db-1 --source-ip 10.0.0.99

Exit status 1 if it does not arrive.`
}

// Run prints the packet's way.
func (c *Trace) Run() error {
	ctx, cancel := interruptible()
	defer cancel()
	client, err := c.client()
	if err != nil {
		return err
	}
	t, err := client.Trace(ctx, inspect.TraceQuery{Source: c.Source, Destination: c.Destination, Protocol: c.Proto, Port: c.Port, Size: c.Size, SourceMAC: c.SourceMAC, SourceIP: c.SourceIP})
	if err != nil {
		return err
	}
	err = c.print(&t, func(w io.Writer) error {
		fmt.Fprintf(w, "%s\nfrom %s to %s\n", t.Verdict, t.From, t.To)
		if t.Packet != "" {
			fmt.Fprintf(w, "  %s\n", t.Packet)
		}
		for i := range t.Steps {
			step(w, &t.Steps[i])
		}
		return nil
	})
	if err == nil && !t.Arrives {
		err = found("it does not arrive")
	}
	return err
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
