package inspect

import "context"

// The kinds of a Violation.
const (
	ViolationStore     = "store"     // an invariant of the store
	ViolationIsolation = "isolation" // frames of a network go where they do not belong
	ViolationInstalled = "installed" // a switch holds something else than the store wants
)

// Verification is what was looked at, and what does not hold. What a repair or a change under way explains is no
// violation: each was there twice, a second apart.
type Verification struct {
	Hosts      []VerifiedHost `json:"hosts"`
	Violations []Violation    `json:"violations"` // of the store first, then by host, isolation before the rest
}

// VerifiedHost is a host that was looked at, or was not.
type VerifiedHost struct {
	Hostname string `json:"hostname"`
	Flows    int    `json:"flows"`            // that were looked at, those which the switch learned too
	Groups   int    `json:"groups"`           // likewise
	Reason   string `json:"reason,omitempty"` // why it could not be verified
}

// Violation is one thing that should not be.
type Violation struct {
	Kind   string `json:"kind"`
	Host   string `json:"host,omitempty"`
	Bridge string `json:"bridge,omitempty"`
	Text   string `json:"text"`            // what is wrong, with the names and IDs of all concerned
	Where  string `json:"where,omitempty"` // the flow, bucket, group or meter, as ovs-ofctl has it
	Cause  string `json:"cause,omitempty"` // what wants the flow, or that nobody does
}

// Verify compares the flows of a host, or of all for "", with the store, proves that they keep networks apart
// and, for all, that the store's invariants hold.
func (c *Client) Verify(ctx context.Context, host string) (Verification, error) {
	if host == "" {
		return get[Verification](ctx, c, "verify")
	}
	return get[Verification](ctx, c, "verify", host)
}
