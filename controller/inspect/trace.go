package inspect

import (
	"context"
	"net/url"
	"strconv"
)

// TraceQuery is a packet to follow.
type TraceQuery struct {
	Source      string // a port, as in Find
	Destination string // a port, as in Find, or any IP or MAC address
	Protocol    string // icmp (echo request), tcp, udp, arp: who has the destination's address, also in IPv6, or rs: router solicitation; "" is icmp
	Port        int    // destination port of tcp and udp
	Size        int    // bytes of the IP packet; 0 is a small one
	SourceMAC   string // what the guest sends from; "" is the port's own
	SourceIP    string // likewise
	VLAN        int    // tag that the guest puts on its frame, 1 to 4094; 0 is none
	Both        bool   // also follow the answer that the destination's guest would send
}

// Trace is where a packet goes by the flows that are installed now.
type Trace struct {
	Arrives bool `json:"arrives"`
	// Verdict is whether it arrives and where or, if not, which rule of which object stopped it, in words.
	Verdict  string      `json:"verdict"`
	From     string      `json:"from"` // both in words, with IDs
	To       string      `json:"to"`
	Packet   string      `json:"packet"`   // the fields that the guest sends, as in a match
	Arrivals []Arrival   `json:"arrivals"` // every VIF that it comes to
	Steps    []TraceStep `json:"steps"`
	Back     *Trace      `json:"back,omitempty"` // the answer's way, if that was asked
}

// Arrival is a VIF that a packet, or a copy, comes to.
type Arrival struct {
	Host      string `json:"host"`
	Interface string `json:"interface"`
	PortID    string `json:"port_id"`
	PortName  string `json:"port_name"`
}

// TraceStep is one thing that happens to a packet.
type TraceStep struct {
	Depth  int    `json:"depth"` // within how many steps before it it happens
	Host   string `json:"host"`
	Bridge string `json:"bridge"`
	Text   string `json:"text,omitempty"`
	Flow   *Flow  `json:"flow,omitempty"` // the flow that it meets in a table, with its cause
}

// Trace follows a packet over the flows, groups and ports of every switch on its way, which are read from
// them now.
func (c *Client) Trace(ctx context.Context, q TraceQuery) (Trace, error) {
	query := url.Values{}
	for key, value := range map[string]string{"protocol": q.Protocol, "source_mac": q.SourceMAC, "source_ip": q.SourceIP, "both": map[bool]string{true: "true"}[q.Both]} {
		if value != "" {
			query.Set(key, value)
		}
	}
	for key, value := range map[string]int{"port": q.Port, "size": q.Size, "vlan": q.VLAN} {
		if value != 0 {
			query.Set(key, strconv.Itoa(value))
		}
	}
	return ask[Trace](ctx, c, query, "trace", q.Source, q.Destination)
}
