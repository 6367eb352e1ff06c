package nova

import (
	"context"
	"fmt"
	"net/http"
)

// Binding is what Nova reads of a port's binding.
type Binding struct {
	Host       string     `json:"host"`
	Status     string     `json:"status"`
	VIFType    string     `json:"vif_type"`
	VIFDetails VIFDetails `json:"vif_details"`
}

// Migrate moves a running instance. move is the hypervisor's part: when it returns, the guest runs at the
// destination.
func (n *Nova) Migrate(ctx context.Context, i *Instance, to string, move func() error) error {
	from := i.Host
	if err := n.PrepareMigration(ctx, i, to); err != nil {
		return err
	}
	if err := move(); err != nil {
		return err
	}
	if err := n.ActivateMigration(ctx, i, to); err != nil {
		return err
	}
	return n.FinishMigration(ctx, i, from)
}

// PrepareMigration binds the instance's ports at the destination too, plugs them there and waits until
// Neutron says that they are.
func (n *Nova) PrepareMigration(ctx context.Context, i *Instance, to string) error {
	there := make([]NIC, len(i.NICs))
	for at, nic := range i.NICs {
		var made struct{ Binding Binding }
		body := object{"binding": object{"host": to, "vnic_type": "normal", "profile": object{}}}
		if err := n.request(ctx, Service, http.MethodPost, "ports/"+nic.Port+"/bindings", body, http.StatusCreated, &made); err != nil {
			return err
		}
		if b := made.Binding; b.Host != to || b.Status != "INACTIVE" || b.VIFType != "ovs" {
			return fmt.Errorf("binding of port %s to %s: %+v", nic.Port, to, b)
		}
		if err := made.Binding.VIFDetails.check(); err != nil {
			return err
		}
		there[at] = *nic
		there[at].Details = made.Binding.VIFDetails
	}
	for at := range there {
		if err := n.plugAndWait(ctx, i, &there[at], to); err != nil {
			return fmt.Errorf("at the destination: %w", err)
		}
	}
	return nil
}

// ActivateMigration makes the destination the instance's host.
func (n *Nova) ActivateMigration(ctx context.Context, i *Instance, to string) error {
	for _, nic := range i.NICs {
		var shown struct{ Binding Binding }
		if err := n.get(ctx, Service, "ports/"+nic.Port+"/bindings/"+to, &shown); err != nil {
			return err
		}
		if shown.Binding.Status == "ACTIVE" {
			continue
		}
		var active Binding
		if err := n.request(ctx, Service, http.MethodPut, "ports/"+nic.Port+"/bindings/"+to+"/activate", nil, http.StatusOK, &active); err != nil {
			return err
		}
		if active.Status != "ACTIVE" || active.Host != to {
			return fmt.Errorf("activated binding of port %s to %s: %+v", nic.Port, to, active)
		}
	}
	return nil
}

// FinishMigration takes the VIFs off the source and its bindings with them.
func (n *Nova) FinishMigration(ctx context.Context, i *Instance, from string) error {
	var to string
	for _, nic := range i.NICs {
		if err := n.Plugger.Unplug(from, i, nic); err != nil {
			return err
		}
		var p struct{ Port Port }
		if err := n.get(ctx, Service, "ports/"+nic.Port, &p); err != nil {
			return err
		}
		if to = p.Port.Host; to == from {
			return fmt.Errorf("port %s is still bound to %s", nic.Port, from)
		}
		if _, err := n.bind(ctx, i, nic.Port, to); err != nil {
			return err
		}
	}
	i.Host = to
	return n.dropBindings(ctx, i, from)
}

// AbortMigration takes the destination back.
func (n *Nova) AbortMigration(ctx context.Context, i *Instance, to string) error {
	for _, nic := range i.NICs {
		if err := n.Plugger.Unplug(to, i, nic); err != nil {
			return err
		}
	}
	return n.dropBindings(ctx, i, to)
}

func (n *Nova) dropBindings(ctx context.Context, i *Instance, host string) error {
	for _, nic := range i.NICs {
		err := n.request(ctx, Service, http.MethodDelete, "ports/"+nic.Port+"/bindings/"+host, nil, http.StatusNoContent, nil)
		if r, ok := err.(*Refusal); err != nil && !(ok && r.Status == http.StatusNotFound) {
			return err
		}
	}
	return n.refresh(ctx, i)
}

// Evacuate builds an instance anew on another host, its own being dead.
func (n *Nova) Evacuate(ctx context.Context, i *Instance, to string) error {
	i.Host = to
	for _, nic := range i.NICs {
		if _, err := n.bind(ctx, i, nic.Port, to); err != nil {
			return err
		}
	}
	if err := n.refresh(ctx, i); err != nil {
		return err
	}
	for _, nic := range i.NICs {
		if nic.Active {
			return fmt.Errorf("port %s is ACTIVE though nothing is plugged on %s", nic.Port, to)
		}
		if err := n.plug(ctx, i, nic.Port, to); err != nil {
			return err
		}
	}
	return nil
}
