package cli

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// Leases lists what DHCP gives to ports.
type Leases struct {
	Admin
	Port string `arg:"" optional:"" help:"Only this port: its ID or name."`
}

// Help is shown below the flags.
func (Leases) Help() string {
	return `Examples:
  tunbridge leases
  tunbridge leases web-1 --json`
}

// Run prints the list.
func (c *Leases) Run() error {
	ctx, cancel := interruptible()
	defer cancel()
	client, err := c.client()
	if err != nil {
		return err
	}
	leases, err := client.Leases(ctx, c.Port)
	if err != nil {
		return err
	}
	return c.print(leases, func(w io.Writer) error {
		if len(leases) == 0 {
			_, err := fmt.Fprintln(w, "Nothing is wired. `tunbridge explain dhcp PORT` says what a port waits for.")
			return err
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "HOST\tPORT\tNETWORK\tMAC\tADDRESS\tLEASE\tASKED\tLAST REQUEST\tANSWER\tNOTE")
		for i := range leases {
			l := &leases[i]
			asked, request, answer, note := "never", "-", "-", l.Note
			if x := l.Last; x != nil {
				asked, request, answer = x.At.Format(time.DateTime), x.Request, x.Decision
				if answer == "silence" {
					note = cmp.Or(note, x.Reason)
				}
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Host, cmp.Or(l.PortName, l.PortID), cmp.Or(l.NetworkName, l.NetworkID), l.MACAddress,
				cmp.Or(l.Address, "-"), leaseTime(l), asked, request, answer, note)
		}
		return t.Flush()
	})
}

func leaseTime(l *inspect.Lease) string {
	switch {
	case l.Address == "":
		return "-"
	case l.Seconds < 0:
		return "for ever"
	}
	return (time.Duration(l.Seconds) * time.Second).String()
}
