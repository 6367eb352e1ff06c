package inspect

import (
	"context"
	"time"
)

// Subjects are what can be explained: what is made of an object, the flows of one, or what a service does
// for a port.
var Subjects = []string{KindPort, KindNetwork, KindHost, "flow", "dhcp", "metadata"}

// Explanation is the story of an object, in the order of the walk from the API to the switches: where it
// should be and where it is. After a step that fails come only those that can still be told.
type Explanation struct {
	Subject string `json:"subject"` // one of Subjects
	Object  Object `json:"object"`
	// Wrong is the first thing that is wrong, in words, with what to do about it; "": all is well.
	Wrong string `json:"wrong,omitempty"`
	Steps []Step `json:"steps"`
	// Offer is, of dhcp, what a DHCPDISCOVER that asks for every option is offered now, a line for each
	// field, and Exchanges, of dhcp and metadata, the last of each operation.
	Offer     []string   `json:"offer,omitempty"`
	Exchanges []Exchange `json:"exchanges,omitempty"`
}

// Step is one thing that has to be so, and whether it is.
type Step struct {
	OK   bool      `json:"ok"`
	At   time.Time `json:"at,omitzero"` // when it came to be so, if that is known
	Text string    `json:"text"`
}

// Explain tells of whatever what means (see Find): a subject of Subjects, or "" for what kind of object it
// is. Several are an error, which lists them.
func (c *Client) Explain(ctx context.Context, subject, what string) (Explanation, error) {
	if subject == "" {
		return get[Explanation](ctx, c, "explain", what)
	}
	return get[Explanation](ctx, c, "explain", subject, what)
}
