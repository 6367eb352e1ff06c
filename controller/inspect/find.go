package inspect

import (
	"context"
	"fmt"
	"net/url"
)

// The kinds of an Object.
const (
	KindHost    = "host"
	KindNetwork = "network"
	KindSubnet  = "subnet"
	KindPort    = "port"
)

// Object is something that has an id and that one may ask about.
type Object struct {
	Kind string `json:"kind"`
	ID   string `json:"id"` // of a host its system-id
	Name string `json:"name,omitempty"`
	Note string `json:"note,omitempty"` // what tells it from others of its name: addresses, host
}

// String names the object as the command line does: "port web-1 (4f6e…)".
func (o Object) String() string {
	if o.Name == "" {
		return o.Kind + " " + o.ID
	}
	return fmt.Sprintf("%s %s (%s)", o.Kind, Called(o.Name), o.ID)
}

// mostCalled is how much of a name is told in prose, in letters; names have up to 255.
const mostCalled = 40

// Called is a name as prose tells it: the beginning of a long one.
func Called(name string) string {
	n := 0
	for i := range name {
		if n++; n > mostCalled {
			return name[:i] + "…"
		}
	}
	return name
}

// Names lists ports, networks and hosts whose name or ID begins like that, by kind and name: what one who types may
// mean. There are 200 of a kind at most.
func (c *Client) Names(ctx context.Context, begins string) ([]Object, error) {
	return ask[[]Object](ctx, c, url.Values{"begins": {begins}}, "names")
}

// Find lists every object that what may mean: an ID, the beginning of one (4 digits or more), a name, a
// hostname or system-id, a device_id, a VIF's device name, a MAC or IP address, a CIDR, a cookie (0x…), or a
// port of a host's br-int, HOST:OFPORT or HOST:INTERFACE. None is an error.
func (c *Client) Find(ctx context.Context, what string) ([]Object, error) {
	return get[[]Object](ctx, c, "find", what)
}
