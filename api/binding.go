package api

import (
	"slices"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// bridgeName is the bridge that VIFs are plugged into on every host.
const bridgeName = "br-int"

// bind says where a port is: on the host it is bound to, or on the one that claims it. It is not
// stored, since it follows from the host's row, which may come after the port's.
func bind(t *store.Tables, p *model.Port) (host, vifType string, details *model.VIFDetails) {
	host = p.HostID
	if host == "" {
		claim, ok := t.Claim(p.ID)
		if !ok {
			return "", model.VIFUnbound, nil
		}
		host = claim.Host
	}
	h, known := t.HostByName(host)
	n, ok := t.Network(p.NetworkID)
	if !known || !ok || p.VNICType != model.VNICNormal || !carries(h, n) {
		return host, model.VIFBindingFailed, nil
	}
	return host, model.VIFOVS, &model.VIFDetails{
		Connectivity: "l2",
		DatapathType: h.DatapathType,
		BridgeName:   bridgeName,
	}
}

// carries reports whether a host can take part in a network.
func carries(h *model.Host, n *model.Network) bool {
	return h.EncapIP.IsValid() && slices.Contains(h.EncapTypes, n.Segment.NetworkType)
}
