package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// Verify proves that hosts hold what the store wants, and that this keeps networks apart.
type Verify struct {
	Admin
	Host string `arg:"" optional:"" offer:"<host>" help:"Only this host, and not the store: hostname or system-id."`
	All  bool   `help:"Print every violation, not the first alone."`
}

// Help is shown below the flags.
func (Verify) Help() string {
	return `Every flow, group and meter of each host is compared with the store, every invariant of the store is checked, and isolation is proved over what is installed: nothing after classify writes REG_NET, and every output, group bucket and tunnel match belongs to the REG_NET it is reached with.

Exit status 1 if something does not hold, 2 if a host could not be looked at.

Examples:
  tunbridge verify
  tunbridge verify compute01 --all`
}

// Run prints what does not hold.
func (c *Verify) Run() error {
	ctx, cancel := interruptible()
	defer cancel()
	client, err := c.client()
	if err != nil {
		return err
	}
	v, err := client.Verify(ctx, c.Host, c.progress())
	if err != nil {
		return err
	}
	err = c.print(&v, func(w io.Writer) error {
		c.text(w, &v)
		return nil
	})
	if err != nil {
		return err
	}
	if n := len(v.Violations); n > 0 {
		return found("%d violations", n)
	}
	for _, h := range v.Hosts {
		if h.Reason != "" {
			return fmt.Errorf("host %s could not be verified: %s", h.Hostname, h.Reason)
		}
	}
	return nil
}

// progress tells who waits at a terminal how far it is; nil if nobody does.
func (c *Verify) progress() func(done, all int) {
	terminal, ok := isTerminal(os.Stderr)
	if !ok || c.Host != "" {
		return nil
	}
	return func(done, all int) {
		fmt.Fprintf(terminal, "\r%d of %d hosts", done, all)
		if done == all {
			fmt.Fprint(terminal, "\r\x1b[K")
		}
	}
}

func (c *Verify) text(w io.Writer, v *inspect.Verification) {
	for i := range v.Violations {
		if i == 1 && !c.All {
			fmt.Fprintf(w, "and %d more: --all prints them\n", len(v.Violations)-1)
			break
		}
		x := &v.Violations[i]
		fmt.Fprintf(w, "%s: ", x.Kind)
		if x.Host != "" {
			fmt.Fprintf(w, "host %s %s: ", x.Host, x.Bridge)
		}
		fmt.Fprintln(w, x.Text)
		for _, s := range []string{x.Where, x.Cause} {
			if s != "" {
				fmt.Fprintf(w, "    %s\n", s)
			}
		}
	}
	hosts, flows, groups, all := 0, 0, 0, "all holds"
	for _, h := range v.Hosts {
		if h.Reason != "" {
			fmt.Fprintf(w, "host %s could not be verified: %s\n", h.Hostname, h.Reason)
			all = "what could be looked at holds"
			continue
		}
		hosts, flows, groups = hosts+1, flows+h.Flows, groups+h.Groups
	}
	if len(v.Violations) == 0 {
		fmt.Fprint(w, all, ": ")
	}
	fmt.Fprintf(w, "%d flows and %d groups of %d hosts were looked at", flows, groups, hosts)
	if c.Host == "" {
		fmt.Fprint(w, ", and every invariant of the store")
	}
	fmt.Fprintln(w)
}
