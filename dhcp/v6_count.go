package dhcp

import (
	"fmt"
	"sync/atomic"
)

// V6Message is the type of a DHCPv6 message (RFC 8415 section 7.3).
type V6Message uint8

const (
	V6Solicit V6Message = 1 + iota
	V6Advertise
	V6Request
	V6Confirm
	V6Renew
	V6Rebind
	V6Reply
	V6Release
	V6Decline
	V6Reconfigure
	V6InformationRequest
	V6RelayForward
	V6RelayReply
	v6Messages
)

var v6MessageNames = [v6Messages]string{V6Solicit: "SOLICIT", V6Advertise: "ADVERTISE", V6Request: "REQUEST", V6Confirm: "CONFIRM",
	V6Renew: "RENEW", V6Rebind: "REBIND", V6Reply: "REPLY", V6Release: "RELEASE", V6Decline: "DECLINE", V6Reconfigure: "RECONFIGURE",
	V6InformationRequest: "INFORMATION-REQUEST", V6RelayForward: "RELAY-FORW", V6RelayReply: "RELAY-REPL"}

// String is the type's name in RFC 8415.
func (m V6Message) String() string {
	if m < v6Messages && v6MessageNames[m] != "" {
		return v6MessageNames[m]
	}
	return fmt.Sprintf("message type %d", uint8(m))
}

// fromClient says whether clients send messages of the type.
func (m V6Message) fromClient() bool {
	switch m {
	case V6Solicit, V6Request, V6Confirm, V6Renew, V6Rebind, V6Release, V6Decline, V6InformationRequest:
		return true
	}
	return false
}

// V6Counts is how often what happened since the server was made.
type V6Counts struct {
	Requests       [v6Messages]uint64 // by V6Message: well-formed ones
	Answers        [v6Messages]uint64 // by V6Message
	Solicitations  uint64             // of routers
	Advertisements uint64             // answers to these
}

type v6Counters struct {
	requests, answers             [v6Messages]atomic.Uint64
	solicitations, advertisements atomic.Uint64
}

// read reads the counters one by one.
func (s *v6Counters) read() (c V6Counts) {
	for i := range c.Requests {
		c.Requests[i] = s.requests[i].Load()
		c.Answers[i] = s.answers[i].Load()
	}
	c.Solicitations, c.Advertisements = s.solicitations.Load(), s.advertisements.Load()
	return c
}
