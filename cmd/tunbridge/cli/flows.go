package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// Flows lists a host's installed flows.
type Flows struct {
	Admin
	Host   string `arg:"" help:"Hostname or system-id."`
	Object string `help:"Only flows of the object whose ID or name begins like this." placeholder:"ID"`
	Table  string `help:"Only flows of the tables with this name or number." placeholder:"TABLE"`
	Bridge string `help:"Only flows of this bridge." placeholder:"BRIDGE"`
}

// Run prints the flows.
func (c *Flows) Run() error {
	ctx, cancel := interruptible()
	defer cancel()
	client, err := c.client()
	if err != nil {
		return err
	}
	all, err := client.Flows(ctx, c.Host)
	if err != nil {
		return err
	}
	list := []inspect.Flow{}
	for _, f := range all {
		if c.wants(&f) {
			list = append(list, f)
		}
	}
	return c.print(list, func(w io.Writer) error {
		var heading string
		for i := range list {
			f := &list[i]
			if h := fmt.Sprintf("%s table %d %s", f.Bridge, f.Table, f.TableName); h != heading {
				if heading != "" {
					fmt.Fprintln(w)
				}
				fmt.Fprintln(w, h)
				heading = h
			}
			match := f.Match
			if match != "" {
				match = "," + match
			}
			fmt.Fprintf(w, "  priority=%d%s actions=%s\n      %s: %s; %d packets, %d bytes, %ds, cookie %s\n",
				f.Priority, match, f.Actions, cause(f), f.Reason, f.Packets, f.Bytes, f.Seconds, f.Cookie)
		}
		return nil
	})
}

func (c *Flows) wants(f *inspect.Flow) bool {
	return (c.Object == "" || strings.HasPrefix(f.ObjectID, c.Object) || strings.HasPrefix(f.ObjectName, c.Object)) &&
		(c.Table == "" || f.TableName == c.Table || fmt.Sprint(f.Table) == c.Table) &&
		(c.Bridge == "" || f.Bridge == c.Bridge)
}

// cause names what wants a flow: "l2, port web-1 (4f6e…)".
func cause(f *inspect.Flow) string {
	if f.Kind == "" {
		return f.Owner
	}
	return fmt.Sprintf("%s, %s %s (%s)", f.Owner, f.Kind, f.ObjectName, f.ObjectID)
}
