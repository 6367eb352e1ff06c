package dhcp

import (
	"fmt"
	"sync/atomic"
)

// MessageType is a DHCP message's type, the value of option 53 (RFC 2132 section 9.6).
type MessageType uint8

const (
	Discover MessageType = 1 + iota
	Offer
	Request
	Decline
	ACK
	NAK
	Release
	Inform
	messageTypes
)

var messageNames = [messageTypes]string{Discover: "DHCPDISCOVER", Offer: "DHCPOFFER", Request: "DHCPREQUEST", Decline: "DHCPDECLINE",
	ACK: "DHCPACK", NAK: "DHCPNAK", Release: "DHCPRELEASE", Inform: "DHCPINFORM"}

// String is the type's name in RFC 2131.
func (m MessageType) String() string {
	if m < messageTypes && messageNames[m] != "" {
		return messageNames[m]
	}
	return fmt.Sprintf("message type %d", uint8(m))
}

// Silence is why a request got no answer.
type Silence uint8

const (
	Malformed         Silence = iota // not a DHCP request
	UnexpectedMessage                // a type that no client sends
	WrongHardware                    // chaddr is no MAC of the port
	NotServed                        // no address of the port is in a subnet with DHCP
	OtherServer                      // the client took another server's offer
	OtherAddress                     // about an address that is not the port's
	silences
)

var silenceTexts = [silences]string{
	Malformed:         "malformed request",
	UnexpectedMessage: "DHCP message of a type that clients do not send",
	WrongHardware:     "DHCP request with a chaddr that is neither the port's mac_address nor that of an allowed_address_pair",
	NotServed:         "DHCP request of a port without an address in a subnet with enable_dhcp",
	OtherServer:       "DHCP request meant for another server",
	OtherAddress:      "DHCP request about an address that is not the port's",
}

var silenceNames = [silences]string{Malformed: "malformed", UnexpectedMessage: "unexpected_message", WrongHardware: "wrong_hardware",
	NotServed: "not_served", OtherServer: "other_server", OtherAddress: "other_address"}

// Error is the reason as the operator reads it.
func (s Silence) Error() string { return silenceTexts[s] }

// Name is the reason as a metric's label.
func (s Silence) Name() string { return silenceNames[s] }

// Counts is how often what happened since the server was made.
type Counts struct {
	Requests [messageTypes]uint64 // by MessageType: well-formed requests
	Answers  [messageTypes]uint64 // by MessageType
	Silent   [silences]uint64     // by Silence: requests without an answer, Decline and Release apart
	Omitted  uint64               // extra_dhcp_opts that could not be encoded, or did not fit the answer
	V6       V6Counts             // of DHCPv6, whose silences and omissions are among the others
}

type counters struct {
	requests, answers [messageTypes]atomic.Uint64
	silent            [silences]atomic.Uint64
	omitted           atomic.Uint64
	v6                v6Counters
}

// Counts reads the counters. They are read one by one: a request that is being answered may be in
// some of them only.
func (s *Server) Counts() (c Counts) {
	for i := range c.Requests {
		c.Requests[i] = s.counters.requests[i].Load()
		c.Answers[i] = s.counters.answers[i].Load()
	}
	for i := range c.Silent {
		c.Silent[i] = s.counters.silent[i].Load()
	}
	c.Omitted = s.counters.omitted.Load()
	c.V6 = s.counters.v6.read()
	return c
}
