package inspect

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

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
// and, for all, that the store's invariants hold. seen, if it is not nil, is told how many of how many hosts have been
// looked at, each time that it is one more.
func (c *Client) Verify(ctx context.Context, host string, seen func(done, all int)) (Verification, error) {
	v := Verification{Hosts: []VerifiedHost{}, Violations: []Violation{}}
	path := "/v1/verify"
	if host != "" {
		path += "/" + url.PathEscape(host)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return v, err
	}
	all := 0
	err = stream(ctx, c, req, func(part *Verified) error {
		all = part.All
		v.Hosts = append(v.Hosts, part.Hosts...)
		v.Violations = append(v.Violations, part.Violations...)
		if seen != nil && len(part.Hosts) > 0 {
			seen(len(v.Hosts), all)
		}
		return nil
	})
	slices.SortFunc(v.Hosts, func(a, b VerifiedHost) int { return cmp.Compare(a.Hostname, b.Hostname) })
	slices.SortStableFunc(v.Violations, func(a, b Violation) int { return cmp.Compare(a.Host, b.Host) })
	if err = cmp.Or(err, ctx.Err()); err == nil && len(v.Hosts) < all {
		err = fmt.Errorf("%s: the controller ended when it had looked at %d of %d hosts", c.address, len(v.Hosts), all)
	}
	return v, err
}

// Verified is a part of a Verification, as it becomes known: that of the store, or of one host.
type Verified struct {
	Verification
	All int `json:"all"` // how many hosts there are to be looked at
}
