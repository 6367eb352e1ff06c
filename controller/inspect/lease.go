package inspect

import (
	"context"
	"time"
)

// Lease is what DHCP gives a wired port, and the last that the port asked. No lease is kept anywhere:
// this is what the port is given when it asks.
type Lease struct {
	PortID      string    `json:"port_id"`
	PortName    string    `json:"port_name"`
	NetworkID   string    `json:"network_id"`
	NetworkName string    `json:"network_name"`
	Host        string    `json:"host"`
	MACAddress  string    `json:"mac_address"`
	Address     string    `json:"ip_address,omitempty"` // IPv4
	Server      string    `json:"server,omitempty"`
	Seconds     int64     `json:"lease_seconds,omitempty"` // -1: for ever
	Note        string    `json:"note,omitempty"`          // why there is no address
	Last        *Exchange `json:"last,omitempty"`          // nil: it never asked; without bytes and texts
}

// Exchange is a port's last request of an operation, and what became of it.
type Exchange struct {
	Operation   string    `json:"operation"` // dhcpv4, dhcpv6, router_solicitation or metadata
	At          time.Time `json:"at"`
	Requests    uint64    `json:"requests"` // of the operation since the VIF was plugged
	Request     string    `json:"request"`
	Decision    string    `json:"decision"` // the answer, or "silence"
	Reason      string    `json:"reason"`
	RequestText []string  `json:"request_text,omitempty"`
	AnswerText  []string  `json:"answer_text,omitempty"`
	// The Ethernet frames; an answer of no bytes is none.
	RequestBytes []byte `json:"request_bytes,omitempty"`
	AnswerBytes  []byte `json:"answer_bytes,omitempty"`
}

// Leases lists what DHCP gives to wired ports, by host and port; of one port, by ID or name, if port is
// not "".
func (c *Client) Leases(ctx context.Context, port string) ([]Lease, error) {
	if port == "" {
		return get[[]Lease](ctx, c, "leases")
	}
	return get[[]Lease](ctx, c, "leases", port)
}
