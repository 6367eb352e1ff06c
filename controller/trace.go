package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/eval"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// tracing follows one packet. It reads the switches of each host that the packet comes to, once, and is
// the fabric between them.
type tracing struct {
	ctx     context.Context
	c       *Controller
	snap    *store.Snapshot
	query   inspect.TraceQuery
	source  *model.Port
	network *model.Network // of source
	to      destination
	sent    netip.Addr            // the packet's source
	answer  bool                  // the packet answers one to its destination
	read    map[string]*eval.Host // by system-id
	loops   map[*eval.Host]*host
}

// inspectTrace answers the admin API.
func (c *Controller) inspectTrace(ctx context.Context, r *http.Request) (inspect.Trace, error) {
	form := r.URL.Query()
	q := inspect.TraceQuery{Source: r.PathValue("source"), Destination: r.PathValue("destination"), Protocol: cmp.Or(form.Get("protocol"), "icmp"),
		SourceMAC: form.Get("source_mac"), SourceIP: form.Get("source_ip"), Both: form.Get("both") == "true"}
	for key, n := range map[string]*int{"port": &q.Port, "size": &q.Size, "vlan": &q.VLAN} {
		text := cmp.Or(form.Get(key), "0")
		v, err := strconv.Atoi(text)
		if err != nil || v < 0 || v > 65535 {
			return inspect.Trace{}, fmt.Errorf("%w: %s %q is not 0 to 65535", errBadQuestion, key, text)
		}
		*n = v
	}
	if q.VLAN > model.MaxVLAN {
		return inspect.Trace{}, fmt.Errorf("%w: vlan %d is not 1 to %d", errBadQuestion, q.VLAN, model.MaxVLAN)
	}
	return c.trace(ctx, q)
}

// errBadQuestion is answered with 400.
var errBadQuestion = errors.New("this cannot be asked")

// trace follows a packet and, if that is asked, the answer to it: the switches are read once for both.
func (c *Controller) trace(ctx context.Context, q inspect.TraceQuery) (inspect.Trace, error) {
	t := &tracing{ctx: ctx, c: c, snap: c.o.Store.Snapshot(), query: q, read: map[string]*eval.Host{}, loops: map[*eval.Host]*host{}}
	there, err := t.follow()
	if err != nil || !q.Both {
		return there, err
	}
	from := t.to.port
	if from == nil || from.DeviceOwner == model.OwnerDHCP || q.Protocol == "arp" || q.Protocol == "rs" {
		there.Back = &inspect.Trace{Verdict: "is not followed: no guest answers this", From: t.to.text, To: portName(t.source), Arrivals: []inspect.Arrival{}, Steps: []inspect.TraceStep{}}
		return there, nil
	}
	t.query = inspect.TraceQuery{Source: from.ID.String(), Destination: t.source.ID.String(), Protocol: q.Protocol, Port: q.Port, Size: q.Size}
	if from.NetworkID == t.source.NetworkID && t.sent.IsValid() && t.to.mac != (openflow.MAC{}) { // as it was asked, perhaps of a pair
		t.query.Destination, t.query.SourceIP, t.query.SourceMAC = t.sent.String(), t.to.ip.String(), t.to.mac.String()
	}
	t.to, t.answer = destination{}, true
	back, err := t.follow()
	there.Back = &back
	return there, err
}

// follow follows the query's packet.
func (t *tracing) follow() (inspect.Trace, error) {
	q := &t.query
	answer := inspect.Trace{Arrivals: []inspect.Arrival{}, Steps: []inspect.TraceStep{}}
	var err error
	if t.source, err = t.port(q.Source); err != nil {
		return answer, err
	}
	t.network, _ = t.snap.Network(t.source.NetworkID)
	if err := t.resolve(); err != nil {
		return answer, err
	}
	answer.From, answer.To = portName(t.source), t.to.text
	at, err := t.plugged(t.source)
	if err != nil {
		return answer, err
	}
	if at.reason != "" {
		if answer.Verdict = "is not sent: " + at.reason; at.away {
			answer.Verdict = untold + at.reason
		}
		return answer, nil
	}
	from, err := t.hostOf(at.row)
	if errors.Is(err, eval.ErrUnread) {
		answer.Verdict = untold + err.Error()
		return answer, nil
	}
	if err != nil {
		return answer, err
	}
	packet, asked, err := t.packet(from, at)
	if err != nil {
		return answer, err
	}
	result := eval.Run(t, from, flows.BrInt, at.ofport, packet)
	answer.Packet = textOf(packet)
	answer.Steps = t.steps(result)
	answer.Arrivals = t.arrivals(result)
	answer.Arrives, answer.Verdict = t.judge(result, asked)
	return answer, t.ctx.Err()
}

// port finds a port by whatever the operator has at hand.
func (t *tracing) port(what string) (*model.Port, error) {
	o, err := t.c.one(t.ctx, t.snap, inspect.KindPort, what)
	if err != nil {
		return nil, err
	}
	p, ok := t.snap.Port(uuid.MustParse(o.ID))
	if !ok {
		return nil, fmt.Errorf("port %s: %w", o.ID, errUnknownObject)
	}
	return p, nil
}

// plug is where a port's VIF is; reason says why it is nowhere, or, if away, why nobody knows.
type plug struct {
	row    *model.Host
	ofport uint32
	reason string
	away   bool
}

// plugged finds the VIF, on any host that may have it while the port migrates.
func (t *tracing) plugged(p *model.Port) (at plug, err error) {
	for _, name := range t.snap.Holders(nil, p) {
		row, ok := t.snap.HostByName(name)
		if !ok {
			continue
		}
		h := t.c.loop(row.ID)
		if h == nil {
			at.away = true
			continue
		}
		err := h.ask(t.ctx, func() {
			for i := range h.vifs {
				if v := &h.vifs[i]; v.wired != nil && v.id == p.ID {
					at = plug{row: row, ofport: uint32(v.iface.OFPort)}
				}
			}
		})
		switch {
		case errors.Is(err, errAway):
			at.away = true
		case err != nil || at.row != nil:
			return at, err
		}
	}
	e := &explanation{c: t.c, snap: t.snap}
	_, _, err = e.wiring(t.ctx, p)
	at.reason = cmp.Or(e.Wrong, "it has no VIF")
	return at, err
}

// hostOf reads the switches of a host. The error wraps eval.ErrUnread where they do not answer.
func (t *tracing) hostOf(row *model.Host) (*eval.Host, error) {
	if was := t.read[row.ID]; was != nil {
		return was, nil
	}
	h := t.c.loop(row.ID)
	if h == nil {
		return nil, fmt.Errorf("host %s is not connected: %w", row.Hostname, eval.ErrUnread)
	}
	host, err := readSwitches(t.ctx, h, row)
	switch {
	case errors.Is(err, errAway):
		return nil, fmt.Errorf("%w: %w", err, eval.ErrUnread)
	case err != nil:
		return nil, err
	}
	t.read[row.ID], t.loops[host] = host, h
	return host, nil
}

// readSwitches reads the flows, groups and ports of a host's bridges now, those that the switches learnt
// included.
func readSwitches(ctx context.Context, h *host, row *model.Host) (*eval.Host, error) {
	var (
		links [len(flows.Bridges)]*link
		made  portNumbers
		vifs  = map[uint32]vif{}
	)
	err := h.ask(ctx, func() {
		links = h.links
		made, _ = portsMade(row, h.session.Mirror())
		for _, v := range h.vifs {
			if v.iface.OFPort >= 1 {
				vifs[uint32(v.iface.OFPort)] = v
			}
		}
	})
	if err != nil {
		return nil, err
	}
	out := &eval.Host{Name: row.Hostname, Encap: row.EncapIP}
	for b, l := range links {
		bridge := flows.Bridge(b)
		if l == nil {
			return nil, fmt.Errorf("ovs-vswitchd of host %s does not answer, %s has no OpenFlow session: %w", row.Hostname, bridge, errAway)
		}
		var (
			installed []openflow.FlowStats
			groups    []openflow.GroupDesc
			ports     []eval.Port
		)
		err := errors.Join(
			l.conn.DumpFlows(ctx, openflow.FlowStatsRequest{Table: openflow.TableAll}, func(f *openflow.FlowStats) error {
				installed = append(installed, *f)
				return nil
			}),
			l.conn.DumpGroups(ctx, func(g *openflow.GroupDesc) error {
				groups = append(groups, *g)
				return nil
			}),
			l.conn.DumpPorts(ctx, func(p *openflow.Port) error {
				ports = append(ports, leadsTo(bridge, p, row, &made, vifs))
				return nil
			}))
		if err != nil {
			return nil, fmt.Errorf("ovs-vswitchd of host %s does not answer, %s: %w: %w", row.Hostname, bridge, err, errAway)
		}
		out.Bridges[b] = eval.NewBridge(installed, groups, ports)
	}
	return out, nil
}

// leadsTo says what a port of one of a host's bridges leads to.
func leadsTo(b flows.Bridge, p *openflow.Port, row *model.Host, made *portNumbers, vifs map[uint32]vif) eval.Port {
	out := eval.Port{Number: p.Number, Name: p.Name, Down: p.State&openflow.PortLinkDown != 0}
	if b == flows.BrTun {
		for _, networkType := range row.EncapTypes {
			if made.Tunnel(networkType) == p.Number {
				out.Tunnel = networkType
			}
		}
		if p.Number == made.PatchInt {
			out.Peer = made.PatchTun
		}
		return out
	}
	if p.Number == made.PatchTun {
		out.Peer = made.PatchInt
	}
	for physical, number := range made.uplinks {
		if number == p.Number {
			out.Physical, out.Provider = physical, row.BridgeMappings[physical]
		}
	}
	if v, ok := vifs[p.Number]; ok {
		out.Name = v.iface.Name
		out.VIF = v.iface.ExternalIDs["iface-id"]
	}
	return out
}

// Peer is the host with a tunnel address, if the probes came through the tunnel.
func (t *tracing) Peer(from *eval.Host, networkType string, to netip.Addr) (*eval.Host, error) {
	for row := range t.snap.Hosts() {
		if row.EncapIP != to || row.Hostname == from.Name {
			continue
		}
		host, err := t.hostOf(row)
		if err != nil {
			return nil, err
		}
		for _, r := range t.loops[from].probing.results() {
			switch {
			case r.Peer != row.Hostname || r.Type != networkType:
			case !r.Alive && r.Note != "":
				return nil, fmt.Errorf("the %s tunnel from host %s to %s is down: %s", networkType, from.Name, r.Peer, r.Note)
			case r.MTU > 0 && t.query.Size > r.MTU:
				return nil, fmt.Errorf("the MTU is too small: the %s tunnel from host %s to %s carries packets of up to %d bytes, and this one has %d", networkType, from.Name, r.Peer, r.MTU, t.query.Size)
			}
		}
		return host, nil
	}
	return nil, fmt.Errorf("no enrolled host has the tunnel address %s", to)
}

// Wire are the other hosts that have the source's network and a bridge for the physical network: no other
// one has a flow for its frames.
func (t *tracing) Wire(from *eval.Host, physical string) (hosts []*eval.Host, err error) {
	for _, h := range t.c.watching(t.source.NetworkID) {
		row, ok := t.snap.Host(h.id)
		if !ok || row.Hostname == from.Name || row.BridgeMappings[physical] == "" {
			continue
		}
		host, unread := t.hostOf(row)
		if err = errors.Join(err, unread); unread == nil {
			hosts = append(hosts, host)
		}
	}
	slices.SortFunc(hosts, func(a, b *eval.Host) int { return strings.Compare(a.Name, b.Name) })
	return hosts, err
}
