package ovsdb

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// Wanted is what a host's database must hold. What it does not speak of is left
// as it is: a zero field, another key of a map, another row.
type Wanted struct {
	// Owner marks the ports that Plan creates, as external_ids:owner=Owner. A
	// port so marked that no bridge wants any more is removed. Empty: no marks,
	// and nothing is removed.
	Owner    string
	Bridges  []WantedBridge
	Managers []WantedManager
}

// WantedBridge is a bridge, made if it is not there, but for MustExist: then it
// is somebody else's, and is passed over until it appears.
type WantedBridge struct {
	Name         string
	MustExist    bool
	DatapathType string
	FailMode     string
	DatapathID   string // other_config:datapath-id, 16 hexadecimal digits
	Protocols    []string
	OtherConfig  map[string]string   // merged; an empty value takes the key out
	ExternalIDs  map[string]string   // merged likewise
	Tables       map[int]WantedTable // by number; other tables are left alone
	Ports        []WantedPort
	Controllers  []WantedController // exactly these, once there is one: see ForeignControllers first
}

// WantedTable is an OpenFlow table.
type WantedTable struct {
	Name     string
	Prefixes []string // exactly these, sorted, three at most; none: what ovs-vswitchd does by itself
}

// WantedPort is a port with one interface of the same name.
type WantedPort struct {
	Name          string
	Type          string            // Interface.type
	Options       map[string]string // exactly these
	OFPortRequest int               // 0: ovs-vswitchd chooses
	ExternalIDs   map[string]string // of the interface, merged
}

// WantedController is a Controller row.
type WantedController struct {
	Target          string
	ConnectionMode  string // "out-of-band": no hidden in-band flows
	QueueSize       int    // controller_queue_size, packet-ins
	MaxBackoff      int    // milliseconds
	InactivityProbe int    // milliseconds
}

// WantedManager is a Manager row, made if it is not there, but for MustExist. What somebody has set in it
// stays.
type WantedManager struct {
	Target     string
	MustExist  bool
	MaxBackoff int // milliseconds between two attempts to connect; 0: as it is
}

const ownerKey = "owner"

// Plan returns the operations of one transaction that makes the host's database
// what is wanted, or nil when it is already. It is a pure function: the same
// mirror and wanted, the same operations. A transaction planned on a mirror that
// is no longer true fails or does nothing, and the next one, on the newer
// mirror, makes it good.
//
// Controller rows change in the transaction that changes everything else, so
// that a bridge that has one never is without: ovs-vswitchd flushes all flows
// when the first row appears and when the last one goes.
func (m *Mirror) Plan(w Wanted) []Operation {
	if m.OpenVSwitch == nil {
		return nil
	}
	p := plan{mirror: m, owner: w.Owner}
	for i := range w.Bridges {
		p.bridge(&w.Bridges[i])
	}
	if w.Owner != "" {
		p.removePorts(w.Bridges)
	}
	p.managers(w.Managers)
	if len(p.ops) > 0 {
		// Mirror.Configured is false until ovs-vswitchd has acted on this.
		p.ops = append(p.ops, mutate(openVSwitchTable.name, m.OpenVSwitch.UUID,
			*ovsdb.NewMutation("next_cfg", ovsdb.MutateOperationAdd, 1)))
	}
	return p.ops
}

// plan collects operations.
type plan struct {
	mirror *Mirror
	owner  string
	ops    []Operation
	rows   int // inserted so far
}

func (p *plan) do(ops ...Operation) { p.ops = append(p.ops, ops...) }

// insert adds a row and returns the uuid-name by which later operations refer to it.
func (p *plan) insert(table string, row Row) UUID {
	p.rows++
	name := fmt.Sprintf("row%d", p.rows)
	p.do(insert(table, name, row))
	return name
}

// merge writes those entries that differ from what the row has.
func (p *plan) merge(table string, row UUID, column string, have, want map[string]string) {
	missing := make(map[string]string)
	for k, v := range want {
		if have[k] != v {
			missing[k] = v
		}
	}
	if len(missing) > 0 {
		p.do(MergeMap(table, row, column, missing))
	}
}

func (p *plan) bridge(w *WantedBridge) {
	b := p.mirror.Bridge(w.Name)
	switch {
	case b == nil && w.MustExist:
		return
	case b == nil:
		// Made bare, with its local port as ovs-vsctl does, and then treated like
		// one that was there.
		b = &Bridge{Name: w.Name}
		b.UUID = p.insert(bridgeTable.name, Row{"name": w.Name})
		p.do(add(openVSwitchTable.name, p.mirror.OpenVSwitch.UUID, "bridges", b.UUID))
		p.newPort(b, WantedPort{Name: w.Name, Type: "internal"}, "")
	}
	row := Row{}
	if w.DatapathType != "" && w.DatapathType != b.DatapathType {
		row["datapath_type"] = w.DatapathType
	}
	if w.FailMode != "" && w.FailMode != b.FailMode {
		row["fail_mode"] = w.FailMode
	}
	if w.Protocols != nil && !slices.Equal(slices.Sorted(slices.Values(w.Protocols)), b.Protocols) {
		row["protocols"] = setOf(w.Protocols)
	}
	p.controllers(b, w.Controllers, row)
	if len(row) > 0 {
		p.do(Update(bridgeTable.name, b.UUID, row))
	}
	other := w.OtherConfig
	if w.DatapathID != "" {
		other = maps.Clone(other)
		if other == nil {
			other = make(map[string]string)
		}
		other["datapath-id"] = w.DatapathID
	}
	p.merge(bridgeTable.name, b.UUID, "other_config", b.OtherConfig, other)
	p.merge(bridgeTable.name, b.UUID, "external_ids", b.ExternalIDs, w.ExternalIDs)
	p.tables(b, w.Tables)
	for _, port := range w.Ports {
		p.port(b, port)
	}
}

// controllers makes the bridge's Controller rows the wanted ones, a new set of
// references going into the bridge's row.
func (p *plan) controllers(b *Bridge, want []WantedController, row Row) {
	if len(want) == 0 {
		return
	}
	var refs []UUID
	for _, w := range want {
		var have *Controller
		for c := range p.mirror.ControllersOf(b) {
			if c.Target == w.Target && !slices.Contains(refs, c.UUID) {
				have = c
				break
			}
		}
		isNew := have == nil
		if isNew {
			have = &Controller{}
		}
		differs := Row{}
		if w.ConnectionMode != "" && w.ConnectionMode != have.ConnectionMode {
			differs["connection_mode"] = w.ConnectionMode
		}
		if w.QueueSize != 0 && w.QueueSize != have.QueueSize {
			differs["controller_queue_size"] = w.QueueSize
		}
		if w.MaxBackoff != 0 && w.MaxBackoff != have.MaxBackoff {
			differs["max_backoff"] = w.MaxBackoff
		}
		if w.InactivityProbe != 0 && (have.InactivityProbe == nil || w.InactivityProbe != *have.InactivityProbe) {
			differs["inactivity_probe"] = w.InactivityProbe
		}
		switch {
		case isNew:
			differs["target"] = w.Target
			refs = append(refs, p.insert(controllerTable.name, differs))
			continue
		case len(differs) > 0:
			p.do(Update(controllerTable.name, have.UUID, differs))
		}
		refs = append(refs, have.UUID)
	}
	if slices.Equal(slices.Sorted(slices.Values(refs)), b.Controllers) {
		return
	}
	if isUUID(b.UUID) { // not made just now: nobody may have added a controller meanwhile
		p.do(Unchanged(bridgeTable.name, b.UUID, Row{"controller": references(b.Controllers)}))
	}
	row["controller"] = references(refs)
}

// tables gives OpenFlow tables their names and prefixes. A Flow_Table row may be
// shared by bridges, so a wrong one is replaced, not changed.
func (p *plan) tables(b *Bridge, want map[int]WantedTable) {
	var wrong []int
	tables := make(map[int]ovsdb.UUID)
	for _, n := range slices.Sorted(maps.Keys(want)) {
		ref, there := b.FlowTables[n]
		w := want[n]
		if have := p.mirror.FlowTables[ref]; have != nil && have.Name == w.Name && slices.Equal(have.Prefixes, w.Prefixes) {
			continue
		}
		if there {
			wrong = append(wrong, n)
		}
		row := Row{"name": w.Name}
		if len(w.Prefixes) > 0 {
			row["prefixes"] = setOf(w.Prefixes)
		}
		tables[n] = reference(p.insert(flowTableTable.name, row))
	}
	if len(tables) == 0 {
		return
	}
	insert := *ovsdb.NewMutation("flow_tables", ovsdb.MutateOperationInsert, mapOf(tables))
	if len(wrong) == 0 {
		p.do(mutate(bridgeTable.name, b.UUID, insert))
		return
	}
	p.do(mutate(bridgeTable.name, b.UUID,
		*ovsdb.NewMutation("flow_tables", ovsdb.MutateOperationDelete, setOf(wrong)), insert))
}

func (p *plan) port(b *Bridge, w WantedPort) {
	for port, i := range p.mirror.Attached(b) {
		if port.Name != w.Name || i.Name != w.Name {
			continue
		}
		row := Row{}
		if w.Type != i.Type {
			row["type"] = w.Type
		}
		if !maps.Equal(w.Options, i.Options) {
			row["options"] = mapOf(w.Options)
		}
		if w.OFPortRequest != 0 && w.OFPortRequest != i.OFPortRequest {
			row["ofport_request"] = w.OFPortRequest
		}
		if len(row) > 0 {
			p.do(Update(interfaceTable.name, i.UUID, row))
		}
		p.merge(interfaceTable.name, i.UUID, "external_ids", i.ExternalIDs, w.ExternalIDs)
		if p.owner != "" {
			p.merge(portTable.name, port.UUID, "external_ids", port.ExternalIDs, map[string]string{ownerKey: p.owner})
		}
		return
	}
	p.newPort(b, w, p.owner)
}

func (p *plan) newPort(b *Bridge, w WantedPort, owner string) {
	row := Row{"name": w.Name, "type": w.Type}
	if len(w.Options) > 0 {
		row["options"] = mapOf(w.Options)
	}
	if len(w.ExternalIDs) > 0 {
		row["external_ids"] = mapOf(w.ExternalIDs)
	}
	if w.OFPortRequest != 0 {
		row["ofport_request"] = w.OFPortRequest
	}
	port := Row{"name": w.Name, "interfaces": reference(p.insert(interfaceTable.name, row))}
	if owner != "" {
		port["external_ids"] = mapOf(map[string]string{ownerKey: owner})
	}
	p.do(add(bridgeTable.name, b.UUID, "ports", p.insert(portTable.name, port)))
}

// removePorts takes our ports that are no longer wanted off their bridges;
// ovsdb-server deletes rows that nothing refers to.
func (p *plan) removePorts(want []WantedBridge) {
	for _, id := range slices.Sorted(maps.Keys(p.mirror.Bridges)) {
		b := p.mirror.Bridges[id]
		var ports []WantedPort
		for _, w := range want {
			if w.Name == b.Name {
				ports = append(ports, w.Ports...)
			}
		}
		for port := range p.mirror.PortsOf(b) {
			wanted := slices.ContainsFunc(ports, func(w WantedPort) bool { return w.Name == port.Name })
			if !wanted && port.ExternalIDs[ownerKey] == p.owner {
				p.do(remove(bridgeTable.name, b.UUID, "ports", port.UUID))
			}
		}
	}
}

func (p *plan) managers(want []WantedManager) {
	for _, w := range want {
		var have *Manager
		for _, m := range p.mirror.Managers {
			if m.Target == w.Target {
				have = m
			}
		}
		row := Row{}
		if w.MaxBackoff != 0 && (have == nil || have.MaxBackoff == nil) {
			row["max_backoff"] = w.MaxBackoff
		}
		switch {
		case have == nil && !w.MustExist:
			row["target"] = w.Target
			p.do(add(openVSwitchTable.name, p.mirror.OpenVSwitch.UUID, "manager_options", p.insert(managerTable.name, row)))
		case have != nil && len(row) > 0:
			p.do(Update(managerTable.name, have.UUID, row))
		}
	}
}
