package api

import (
	"fmt"

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
	h, err := bindTo(t, p, host)
	if err != nil {
		return host, model.VIFBindingFailed, nil
	}
	return host, model.VIFOVS, &model.VIFDetails{
		Connectivity: "l2",
		PortFilter:   p.PortSecurityEnabled,
		DatapathType: h.Datapath,
		BridgeName:   bridgeName,
	}
}

// rebind drops what contradicts the new binding:host_id of a port.
func rebind(tx *store.Tx, p *model.Port) error {
	if _, claimed := tx.Claim(p.ID); claimed {
		if err := tx.DeleteClaim(p.ID); err != nil {
			return err
		}
	}
	for b := range tx.BindingsOf(p.ID) {
		if p.HostID == "" || p.HostID == b.Host {
			if err := tx.DeleteBinding(p.ID, b.Host); err != nil {
				return err
			}
		}
	}
	return nil
}

// bindTo finds the host that a port is to be bound to, or says why it cannot be.
func bindTo(t *store.Tables, p *model.Port, host string) (*model.Host, error) {
	h, known := t.HostByName(host)
	if !known {
		return nil, fmt.Errorf("host %s is not enrolled: binding:host_id must be the external_ids:hostname of a host", host)
	}
	if p.VNICType != model.VNICNormal {
		return nil, fmt.Errorf("binding:vnic_type %s cannot be bound: only %s can", p.VNICType, model.VNICNormal)
	}
	n, ok := t.Network(p.NetworkID)
	if !ok {
		return nil, fmt.Errorf("network %s is gone", p.NetworkID)
	}
	return h, h.Reaches(n)
}

// warnUnbound logs why a port that was just written cannot be bound. The API itself has no words for it
// but binding_failed.
func (s *Server) warnUnbound(t *store.Tables, v view) {
	p, ok := v.(*model.PortView)
	if !ok || p.VIFType != model.VIFBindingFailed {
		return
	}
	_, err := bindTo(t, p.Port, p.HostID)
	s.log.Warn("port cannot be bound", "port", p.ID, "host", p.HostID, "reason", err)
}
