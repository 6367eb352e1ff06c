package cli

import (
	"cmp"
	"fmt"
	"io"
	"time"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// Leases lists what DHCP gives to ports.
type Leases struct {
	Admin
	Port string `arg:"" optional:"" offer:"<port>" help:"Only this port: its ID or name."`
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
	return c.print(&leases, func(w io.Writer) error {
		if len(leases) == 0 {
			_, err := fmt.Fprintln(w, "Nothing is wired. `tunbridge explain dhcp PORT` says what a port waits for.")
			return err
		}
		t := newTable("HOST", "PORT", "NETWORK", "MAC", "ADDRESS", "LEASE", "ASKED")
		for i := range leases {
			l := &leases[i]
			asked := cmp.Or(l.Note, "never")
			if x := l.Last; x != nil {
				asked = fmt.Sprintf("%s %s: %s", x.At.Format(time.DateTime), x.Request, x.Decision)
				if x.Decision == "silence" {
					asked += ", because " + x.Reason
				}
				if l.Note != "" {
					asked += "; " + l.Note
				}
			}
			t.row(l.Host, cmp.Or(l.PortName, l.PortID), cmp.Or(l.NetworkName, l.NetworkID), l.MACAddress, cmp.Or(l.Address, "-"), leaseTime(l), asked)
		}
		return t.write(w, columns)
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
