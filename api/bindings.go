package api

import (
	"fmt"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// A port's bindings are below it: all at /bindings, one at /bindings/{host}. The active one is what the
// port's own binding attributes say; the others are rows of their own, for hosts that it migrates to or
// has left.

// bindings are the operations on the bindings of a port.
type bindings struct{ handlers }

// bindingRoutes are these operations.
func bindingRoutes(s *Server) []Route {
	b := bindings{handlers{s, ports{s}}}
	const alias, all = "binding-extended", "/v2.0/ports/{id}/bindings"
	const one = all + "/{host}"
	const novaOnly = AccessAdmin | AccessService
	return []Route{
		{"get_port_bindings", http.MethodGet, all, novaOnly, alias, model.Bindings, b.list},
		{"create_port_binding", http.MethodPost, all, novaOnly, alias, model.Bindings, b.create},
		{"get_port_binding", http.MethodGet, one, novaOnly, alias, model.Bindings, b.show},
		{"update_port_binding", http.MethodPut, one, novaOnly, alias, model.Bindings, b.update},
		{"delete_port_binding", http.MethodDelete, one, novaOnly, alias, model.Bindings, b.remove},
		{"activate_port_binding", http.MethodPut, one + "/activate", novaOnly, alias, model.Bindings, b.activate},
	}
}

func bindingNotFound(p *model.Port, host string) *Error {
	return &Error{Status: http.StatusNotFound, Type: "PortBindingNotFound", Message: fmt.Sprintf("Binding for port %s for host %s could not be found.", p.ID, model.Quote(host))}
}

// port finds the port in the path, whose bindings the caller may see and change.
func (b bindings) port(t *store.Tables, r *http.Request, action string) (*model.Port, error) {
	v, err := b.lookup(t, callerOf(r), mux.Vars(r)["id"])
	if err != nil {
		return nil, err
	}
	if !callerOf(r).privileged() {
		return nil, forbidden("rule:" + action)
	}
	return v.(*model.PortView).Port, nil
}

// activeView is the binding that the port itself has; nil if it has none.
func activeView(t *store.Tables, p *model.Port) *model.BindingView {
	if p.HostID == "" {
		return nil
	}
	_, vifType, details := bind(t, p)
	return &model.BindingView{Host: p.HostID, VIFType: vifType, VIFDetails: details, VNICType: p.VNICType, Profile: p.Profile, Status: model.BindingActive}
}

// inactiveView is a binding beside it.
func inactiveView(t *store.Tables, p *model.Port, b *model.Binding) *model.BindingView {
	v := &model.BindingView{Host: b.Host, VIFType: model.VIFUnbound, VNICType: b.VNICType, Profile: b.Profile, Status: model.BindingInactive}
	if !b.Left {
		there := *p
		there.HostID, there.VNICType = b.Host, b.VNICType
		_, v.VIFType, v.VIFDetails = bind(t, &there)
	}
	return v
}

// viewOf is the port's binding to a host; nil if it has none.
func viewOf(t *store.Tables, p *model.Port, host string) *model.BindingView {
	if host == p.HostID {
		return activeView(t, p)
	}
	if b, ok := t.Binding(p.ID, host); ok {
		return inactiveView(t, p, b)
	}
	return nil
}

// writeBinding answers with the binding to a host as it is now. Neutron names the object in every answer
// but that to an activation.
func (b bindings) writeBinding(w http.ResponseWriter, status int, t *store.Tables, p *model.Port, host string, named bool) error {
	p, ok := t.Port(p.ID)
	if !ok { // deleted by somebody else since
		return notFound(model.Ports, p.ID.String())
	}
	v := viewOf(t, p, host)
	if v == nil {
		return bindingNotFound(p, host)
	}
	s := model.Bindings
	text := s.Append(nil, v, s.Shown(nil, true))
	if named {
		text = append(append([]byte(`{"binding":`), text...), '}')
	}
	writeBody(w, status, text)
	return nil
}

func (b bindings) list(w http.ResponseWriter, r *http.Request) error {
	s := model.Bindings
	q, err := parseQuery(s, r.URL.RawQuery)
	if err != nil {
		return err
	}
	filter, err := s.Filter(q.keys, q.filters, true)
	if err != nil {
		return err
	}
	t, err := b.tables(r)
	if err != nil {
		return err
	}
	p, err := b.port(t, r, "get_port_binding")
	if err != nil {
		return err
	}
	var all []*model.BindingView
	if v := activeView(t, p); v != nil {
		all = append(all, v)
	}
	for row := range t.BindingsOf(p.ID) {
		all = append(all, inactiveView(t, p, row))
	}
	shown := s.Shown(q.fields, true)
	text := []byte(`{"bindings":[`)
	first := len(text)
	for _, v := range all {
		if !filter.Match(v) {
			continue
		}
		if len(text) > first {
			text = append(text, ',')
		}
		text = s.Append(text, v, shown)
	}
	writeBody(w, http.StatusOK, append(text, ']', '}'))
	return nil
}

func (b bindings) show(w http.ResponseWriter, r *http.Request) error {
	t, err := b.tables(r)
	if err != nil {
		return err
	}
	p, err := b.port(t, r, "get_port_binding")
	if err != nil {
		return err
	}
	return b.writeBinding(w, http.StatusOK, t, p, mux.Vars(r)["host"], true)
}

// input decodes the body.
func (b bindings) input(op model.Operation, r *http.Request) (*model.Input, error) {
	inputs, bulk, err := readInputs(r, model.Bindings, op)
	switch {
	case err != nil:
		return nil, err
	case bulk:
		return nil, model.BadRequest("A port is bound to one host at a time")
	}
	return inputs[0], nil
}

// commit changes a port's bindings and answers with that to the host which change returns.
func (b bindings) commit(w http.ResponseWriter, r *http.Request, action string, status int, named bool, change func(*store.Tx, *model.Port) (host string, err error)) error {
	var p *model.Port
	var host string
	err := b.transact(r, func(tx *store.Tx) (err error) {
		if p, err = b.port(&tx.Tables, r, action); err != nil {
			return err
		}
		host, err = change(tx, p)
		return err
	})
	switch {
	case err != nil:
		return err
	case status == http.StatusNoContent:
		w.WriteHeader(status)
		return nil
	}
	return b.writeBinding(w, status, &b.store.Snapshot().Tables, p, host, named)
}

// create binds the port to one host more, where its VIF may be plugged before it migrates there.
func (b bindings) create(w http.ResponseWriter, r *http.Request) error {
	in, err := b.input(model.Create, r)
	if err != nil {
		return err
	}
	var v model.BindingView
	in.Apply(&v)
	if v.Host == "" {
		return model.BadRequest("Invalid input for host. Reason: '' is no hostname.")
	}
	return b.commit(w, r, "create_port_binding", http.StatusCreated, true, func(tx *store.Tx, p *model.Port) (string, error) {
		if viewOf(&tx.Tables, p, v.Host) != nil {
			return "", conflict("PortBindingAlreadyExists", "Binding for port %s on host %s already exists.", p.ID, model.Quote(v.Host))
		}
		row := &model.Binding{PortID: p.ID, NetworkID: p.NetworkID, Host: v.Host, VNICType: v.VNICType, Profile: v.Profile}
		if err := fits(&tx.Tables, p, row); err != nil {
			return "", err
		}
		return v.Host, tx.PutBinding(row)
	})
}

// fits says why a port cannot be bound as a binding says.
func fits(t *store.Tables, p *model.Port, b *model.Binding) error {
	there := *p
	there.VNICType = b.VNICType
	if _, err := bindTo(t, &there, b.Host); err != nil {
		return conflict("PortBindingError", "Binding for port %s on host %s could not be created or updated: %s", p.ID, model.Quote(b.Host), err)
	}
	return nil
}

func (b bindings) update(w http.ResponseWriter, r *http.Request) error {
	in, err := b.input(model.Update, r)
	if err != nil {
		return err
	}
	host := mux.Vars(r)["host"]
	return b.commit(w, r, "update_port_binding", http.StatusOK, true, func(tx *store.Tx, p *model.Port) (string, error) {
		v := viewOf(&tx.Tables, p, host)
		if v == nil {
			return "", bindingNotFound(p, host)
		}
		in.Apply(v)
		row := &model.Binding{PortID: p.ID, NetworkID: p.NetworkID, Host: host, VNICType: v.VNICType, Profile: v.Profile}
		if in.Given("vnic_type") {
			if err := fits(&tx.Tables, p, row); err != nil {
				return "", err
			}
		}
		if host == p.HostID {
			return host, putActive(tx, p, row)
		}
		if was, ok := tx.Binding(p.ID, host); ok {
			row.Left = was.Left
		}
		return host, tx.PutBinding(row)
	})
}

// putActive makes a binding the port's own.
func putActive(tx *store.Tx, p *model.Port, b *model.Binding) error {
	row := *p
	row.HostID, row.VNICType, row.Profile = b.Host, b.VNICType, b.Profile
	touch(&row.Common)
	return tx.PutPort(&row)
}

// activate makes the binding to a host the port's own. The port has left its former host.
func (b bindings) activate(w http.ResponseWriter, r *http.Request) error {
	host := mux.Vars(r)["host"]
	return b.commit(w, r, "activate_port_binding", http.StatusOK, false, func(tx *store.Tx, p *model.Port) (string, error) {
		if host == p.HostID {
			return "", conflict("PortBindingAlreadyActive", "Binding for port %s on host %s is already active.", p.ID, model.Quote(host))
		}
		row, ok := tx.Binding(p.ID, host)
		if !ok {
			return "", bindingNotFound(p, host)
		}
		if p.HostID != "" {
			left := &model.Binding{PortID: p.ID, NetworkID: p.NetworkID, Host: p.HostID, VNICType: p.VNICType, Profile: p.Profile, Left: true}
			if err := tx.PutBinding(left); err != nil {
				return "", err
			}
		}
		next := *p
		next.HostID = host
		if err := rebind(tx, &next); err != nil {
			return "", err
		}
		return host, putActive(tx, p, row)
	})
}

// remove unbinds the port from a host.
func (b bindings) remove(w http.ResponseWriter, r *http.Request) error {
	host := mux.Vars(r)["host"]
	return b.commit(w, r, "delete_port_binding", http.StatusNoContent, false, func(tx *store.Tx, p *model.Port) (string, error) {
		if host == p.HostID {
			next := *p
			next.HostID = ""
			if err := rebind(tx, &next); err != nil {
				return "", err
			}
			return "", putActive(tx, p, &model.Binding{VNICType: p.VNICType})
		}
		if _, ok := tx.Binding(p.ID, host); !ok {
			return "", bindingNotFound(p, host)
		}
		if claim, ok := tx.Claim(p.ID); ok && claim.Host == host {
			if err := tx.DeleteClaim(p.ID); err != nil {
				return "", err
			}
		}
		return "", tx.DeleteBinding(p.ID, host)
	})
}
