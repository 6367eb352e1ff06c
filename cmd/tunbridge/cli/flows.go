package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// Flows lists flows: those that a host has now, or those of a saved dump.
type Flows struct {
	Admin
	Host    string `arg:"" optional:"" offer:"<host>" help:"Hostname or system-id."`
	From    string `help:"Read this file, which ovs-ofctl dump-flows printed, and ask nobody; - is the standard input." placeholder:"FILE"`
	Bridge  string `offer:"br-int,br-tun" help:"Only flows of this bridge, br-int or br-tun. With --from, the bridge that was dumped; default is the one that fits." placeholder:"BRIDGE"`
	Table   string `help:"Only flows of the tables with this name or number." placeholder:"TABLE"`
	Port    string `offer:"<port>" help:"Only flows that this port wants: ID, name, address, HOST:OFPORT …" placeholder:"PORT"`
	Network string `offer:"<network>" help:"Only flows that this network or its ports want: ID, name or CIDR." placeholder:"NETWORK"`
	Object  string `help:"Only flows of the object whose ID or name begins like this." placeholder:"ID"`
	Owner   string `offer:"controller,l2,l2pop,dhcp,probe,metadata,capture,foreign" help:"Only flows of this part of the program (l2, l2pop, dhcp …), or foreign ones." placeholder:"OWNER"`
	Stale   bool   `help:"Only flows that nobody wants, or not like this. Exit status 1 if there are any."`

	port, network string // the IDs that were meant
}

// Help is shown below the flags.
func (Flows) Help() string {
	return `Examples:
  tunbridge flows compute01 --bridge br-int --table l2
  tunbridge flows compute01 --port web-1
  tunbridge flows compute01 --stale
  tunbridge flows --from br-int.txt --owner foreign`
}

// Run prints the flows.
func (c *Flows) Run() error {
	ctx, cancel := interruptible()
	defer cancel()
	all, err := c.read(ctx)
	if err != nil {
		return err
	}
	list := []inspect.Flow{}
	for i := range all {
		if c.wants(&all[i]) {
			list = append(list, all[i])
		}
	}
	err = c.print(&list, func(w io.Writer) error {
		printFlows(w, list)
		if c.From != "" {
			foreign := 0
			for i := range list {
				if list[i].Stale {
					foreign++
				}
			}
			fmt.Fprintf(w, "%d flows, %d of them not ours\n", len(list), foreign)
		}
		return nil
	})
	if err == nil && c.Stale && len(list) > 0 {
		err = found("%d flows that nobody wants like this", len(list))
	}
	return err
}

// read is all flows, and who was meant by the names that select some.
func (c *Flows) read(ctx context.Context) ([]inspect.Flow, error) {
	switch {
	case c.From != "" && c.Host != "":
		return nil, errors.New("a host or --from, not both")
	case c.From != "":
		c.port, c.network = c.Port, c.Network
		return savedFlows(c.From, c.Bridge)
	case c.Host == "":
		return nil, errors.New("which host? `tunbridge hosts` lists them; --from FILE reads a saved dump")
	}
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	if c.port, err = meant(ctx, client, inspect.KindPort, c.Port); err != nil {
		return nil, err
	}
	if c.network, err = meant(ctx, client, inspect.KindNetwork, c.Network); err != nil {
		return nil, err
	}
	return client.Flows(ctx, c.Host)
}

// meant is the ID of the one object of a kind that a name may mean; "" for "".
func meant(ctx context.Context, client *inspect.Client, kind, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	objects, err := client.Find(ctx, name)
	if err != nil {
		return "", err
	}
	var list []string
	id := ""
	for _, o := range objects {
		if o.Kind == kind {
			id = o.ID
			list = append(list, strings.TrimRight("  "+o.String()+"  "+o.Note, " "))
		}
	}
	switch len(list) {
	case 0:
		return "", fmt.Errorf("%s is no %s, but a %s", name, kind, objects[0])
	case 1:
		return id, nil
	}
	return "", fmt.Errorf("%s may be:\n%s", name, strings.Join(list, "\n"))
}

func (c *Flows) wants(f *inspect.Flow) bool {
	return (c.Object == "" || strings.HasPrefix(f.ObjectID, c.Object) || strings.HasPrefix(f.ObjectName, c.Object)) &&
		(c.Table == "" || f.TableName == c.Table || fmt.Sprint(f.Table) == c.Table) &&
		(c.Bridge == "" || f.Bridge == c.Bridge) &&
		(c.Owner == "" || f.Owner == c.Owner) &&
		(!c.Stale || f.Stale) &&
		(c.port == "" || f.Kind == inspect.KindPort && sameObject(f.ObjectID, c.port)) &&
		(c.network == "" || sameObject(f.NetworkID, c.network) || f.Kind == inspect.KindNetwork && sameObject(f.ObjectID, c.network))
}

// sameObject says whether a flow's object, of which a cookie tells the beginning only, is the one with the ID.
func sameObject(have, id string) bool {
	return have != "" && (strings.HasPrefix(id, have) || strings.HasPrefix(have, id))
}

func printFlows(w io.Writer, list []inspect.Flow) {
	heading := ""
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
}

// cause names what wants a flow: "l2, port web-1 (4f6e…)".
func cause(f *inspect.Flow) string {
	switch {
	case f.Kind == "":
		return f.Owner
	case f.ObjectName == "":
		return fmt.Sprintf("%s, %s %s", f.Owner, f.Kind, cmp.Or(f.ObjectID, "unknown"))
	}
	return fmt.Sprintf("%s, %s %s (%s)", f.Owner, f.Kind, inspect.Called(f.ObjectName), f.ObjectID)
}
