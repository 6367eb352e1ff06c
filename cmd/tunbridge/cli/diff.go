package cli

import (
	"fmt"
	"io"
)

// Diff compares installed with wanted.
type Diff struct {
	Admin
	Host string `arg:"" offer:"<host>" help:"Hostname or system-id."`
}

// Help is shown below the flags.
func (Diff) Help() string {
	return `Exit status 1 if they differ.

Examples:
  tunbridge diff compute01`
}

// Run prints the difference; it is an error if there is one, so that scripts may ask.
func (c *Diff) Run() error {
	ctx, cancel := interruptible()
	defer cancel()
	client, err := c.client()
	if err != nil {
		return err
	}
	d, err := client.Diff(ctx, c.Host)
	if err != nil {
		return err
	}
	err = c.print(&d, func(w io.Writer) error {
		if len(d.Changes) == 0 {
			_, err := fmt.Fprintf(w, "%s: installed is what is wanted\n", d.Host)
			return err
		}
		for _, line := range d.Changes {
			fmt.Fprintln(w, line)
		}
		return nil
	})
	if err == nil && len(d.Changes) > 0 {
		err = found("%s: %d changes are due", d.Host, len(d.Changes))
	}
	return err
}
