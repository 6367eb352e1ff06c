package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/flows"
)

// errUnknownObject and errAmbiguous are answered with 404 and 409.
var (
	errUnknownObject = errors.New("nothing is known by that: want an ID or its beginning, a name, a device_id, a MAC or IP address, a cookie (0x…) or HOST:OFPORT")
	errAmbiguous     = errors.New("ambiguous")
)

// leastPrefix is how much of an ID's beginning must be given.
const leastPrefix = 4

// mostCandidates is how many of an ambiguous name's objects are listed.
const mostCandidates = 20

// finding collects objects, each once.
type finding struct {
	snap    *store.Snapshot
	objects []inspect.Object
}

func (f *finding) add(o inspect.Object) {
	if !slices.ContainsFunc(f.objects, func(have inspect.Object) bool { return have.Kind == o.Kind && have.ID == o.ID }) {
		f.objects = append(f.objects, o)
	}
}

func (f *finding) host(h *model.Host) {
	note := ""
	if h.EncapIP.IsValid() {
		note = h.EncapIP.String()
	}
	f.add(inspect.Object{Kind: inspect.KindHost, ID: h.ID, Name: h.Hostname, Note: note})
}

func (f *finding) network(n *model.Network) {
	note := n.Segment.NetworkType
	if n.Segment.SegmentationID != 0 {
		note += fmt.Sprintf(" %d", n.Segment.SegmentationID)
	}
	f.add(inspect.Object{Kind: inspect.KindNetwork, ID: n.ID.String(), Name: n.Name, Note: note})
}

func (f *finding) subnet(s *model.Subnet) {
	f.add(inspect.Object{Kind: inspect.KindSubnet, ID: s.ID.String(), Name: s.Name, Note: s.CIDR.String()})
}

func (f *finding) port(p *model.Port) {
	note := p.MACAddress.String()
	for _, ip := range p.FixedIPs {
		note += " " + ip.IPAddress.String()
	}
	if host := f.snap.Holder(p); host != "" {
		note += " on " + host
	}
	f.add(inspect.Object{Kind: inspect.KindPort, ID: p.ID.String(), Name: p.Name, Note: note})
}

// lookup lists every object that what may mean.
func (c *Controller) lookup(ctx context.Context, snap *store.Snapshot, what string) ([]inspect.Object, error) {
	f := &finding{snap: snap}
	if what == "" {
		return nil, fmt.Errorf("%q: %w", what, errUnknownObject)
	}
	if id, err := uuid.Parse(what); err == nil {
		f.byID(id)
	}
	if cookie, err := strconv.ParseUint(what, 0, 64); err == nil && strings.HasPrefix(what, "0x") {
		f.byCookie(cookie)
	}
	if mac, err := net.ParseMAC(what); err == nil && len(mac) == len(model.MAC{}) {
		f.ports(func(p *model.Port) bool { return p.MACAddress == model.MAC(mac) })
	}
	if addr, err := netip.ParseAddr(what); err == nil {
		f.byAddress(addr.Unmap())
	}
	if prefix, err := netip.ParsePrefix(what); err == nil {
		f.subnets(func(s *model.Subnet) bool { return s.CIDR == prefix.Masked() })
	}
	f.byName(what)
	if host, port, ok := cutHost(snap, what); ok {
		if err := c.byInterface(ctx, f, host, port); err != nil {
			return nil, err
		}
	}
	if len(f.objects) == 0 {
		f.byPrefix(strings.TrimPrefix(what, "tap"))
	}
	if len(f.objects) == 0 {
		return nil, fmt.Errorf("%q: %w", what, errUnknownObject)
	}
	f.sort()
	return f.objects, nil
}

func (f *finding) sort() {
	slices.SortFunc(f.objects, func(a, b inspect.Object) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
}

// mostNames is how many objects of a kind are offered to one who types.
const mostNames = 200

// names lists ports, networks and hosts whose name or ID begins like that.
func (c *Controller) names(begins string) []inspect.Object {
	f := &finding{snap: c.o.Store.Snapshot(), objects: []inspect.Object{}}
	some := func() func(name, id string) bool {
		left := mostNames
		return func(name, id string) bool {
			if left == 0 || !strings.HasPrefix(name, begins) && !strings.HasPrefix(id, begins) {
				return false
			}
			left--
			return true
		}
	}
	ports, networks, hosts := some(), some(), some()
	f.hosts(func(h *model.Host) bool { return hosts(h.Hostname, h.ID) })
	f.networks(func(n *model.Network) bool { return networks(n.Name, n.ID.String()) })
	f.ports(func(p *model.Port) bool { return p.DeviceOwner != model.OwnerDHCP && ports(p.Name, p.ID.String()) })
	f.sort()
	return f.objects
}

// one finds the one object that what means. Of a kind, unless that is "", it is the object itself, or the
// one that all others belong to: a port's network or host, a subnet's network.
func (c *Controller) one(ctx context.Context, snap *store.Snapshot, kind, what string) (inspect.Object, error) {
	found, err := c.lookup(ctx, snap, what)
	if err != nil {
		return inspect.Object{}, err
	}
	if kind != "" {
		f := &finding{snap: snap}
		for _, o := range found {
			if o.Kind == kind {
				f.add(o)
			}
		}
		if len(f.objects) == 0 {
			for _, o := range found {
				f.owner(kind, o)
			}
		}
		found = f.objects
	}
	switch {
	case len(found) == 0:
		return inspect.Object{}, fmt.Errorf("%q is no %s, and belongs to none: %w", what, kind, errUnknownObject)
	case len(found) > 1:
		var list strings.Builder
		for i, o := range found {
			if i == mostCandidates {
				fmt.Fprintf(&list, "\n  … and %d more", len(found)-i)
				break
			}
			fmt.Fprintf(&list, "\n  %s  %s", o, o.Note)
		}
		return inspect.Object{}, fmt.Errorf("%q is %w, give the ID of one of these:%s", what, errAmbiguous, list.String())
	}
	return found[0], nil
}

// owner adds what of a kind an object belongs to.
func (f *finding) owner(kind string, o inspect.Object) {
	var network uuid.UUID
	id, _ := uuid.Parse(o.ID)
	switch o.Kind {
	case inspect.KindPort:
		p, ok := f.snap.Port(id)
		if !ok {
			return
		}
		network = p.NetworkID
		if h, enrolled := f.snap.HostByName(f.snap.Holder(p)); enrolled && kind == inspect.KindHost {
			f.host(h)
		}
	case inspect.KindSubnet:
		s, ok := f.snap.Subnet(id)
		if !ok {
			return
		}
		network = s.NetworkID
	}
	if n, ok := f.snap.Network(network); ok && kind == inspect.KindNetwork {
		f.network(n)
	}
}

func (f *finding) byID(id uuid.UUID) {
	if p, ok := f.snap.Port(id); ok {
		f.port(p)
	}
	if n, ok := f.snap.Network(id); ok {
		f.network(n)
	}
	if s, ok := f.snap.Subnet(id); ok {
		f.subnet(s)
	}
}

// byCookie finds what a flow with the cookie is for: see flows.Object.Cookie.
func (f *finding) byCookie(cookie uint64) {
	_, kind, prefix := flows.CookieParts(cookie)
	is := func(id uuid.UUID) bool {
		_, _, p := flows.CookieParts(flows.Object{Kind: kind, ID: id}.Cookie(0))
		return p == prefix
	}
	switch kind {
	case flows.KindPort:
		f.ports(func(p *model.Port) bool { return is(p.ID) })
	case flows.KindNetwork:
		f.networks(func(n *model.Network) bool { return is(n.ID) })
	case flows.KindHost, flows.KindPeer:
		f.hosts(func(h *model.Host) bool { return is(flows.HostID(h.ID)) })
	}
}

func (f *finding) byAddress(addr netip.Addr) {
	f.ports(func(p *model.Port) bool {
		return slices.ContainsFunc(p.FixedIPs, func(ip model.FixedIP) bool { return ip.IPAddress == addr })
	})
	f.hosts(func(h *model.Host) bool { return h.EncapIP == addr })
}

func (f *finding) byName(name string) {
	f.ports(func(p *model.Port) bool { return p.Name == name || p.DeviceID == name })
	f.networks(func(n *model.Network) bool { return n.Name == name })
	f.subnets(func(s *model.Subnet) bool { return s.Name == name })
	f.hosts(func(h *model.Host) bool { return h.ID == name || h.Hostname == name })
}

func (f *finding) byPrefix(begins string) {
	begins = strings.ToLower(begins)
	if len(begins) < leastPrefix || strings.Trim(begins, "0123456789abcdef-") != "" {
		return
	}
	is := func(id string) bool { return strings.HasPrefix(id, begins) }
	f.ports(func(p *model.Port) bool { return is(p.ID.String()) })
	f.networks(func(n *model.Network) bool { return is(n.ID.String()) })
	f.subnets(func(s *model.Subnet) bool { return is(s.ID.String()) })
	f.hosts(func(h *model.Host) bool { return is(h.ID) })
}

// cutHost parts HOST:PORT. What is behind the last colon may itself be no more than a name.
func cutHost(snap *store.Snapshot, what string) (h *model.Host, port string, ok bool) {
	i := strings.LastIndexByte(what, ':')
	if i <= 0 || i == len(what)-1 {
		return nil, "", false
	}
	if h, ok = snap.HostByName(what[:i]); !ok {
		h, ok = snap.Host(what[:i])
	}
	return h, what[i+1:], ok
}

// byInterface finds whose a port of the host's br-int is: a VIF's, or the host's own. name is its number
// or the interface's name.
func (c *Controller) byInterface(ctx context.Context, f *finding, row *model.Host, name string) error {
	c.mu.Lock()
	h := c.hosts[row.ID]
	c.mu.Unlock()
	if h == nil {
		return fmt.Errorf("host %s: %w", row.Hostname, errAway)
	}
	return h.ask(ctx, func() {
		m := h.session.Mirror()
		br := m.Bridge(flows.BrInt.String())
		if br == nil {
			return
		}
		for _, i := range m.Attached(br) {
			if i.Name != name && strconv.Itoa(i.OFPort) != name {
				continue
			}
			id, err := uuid.Parse(i.ExternalIDs["iface-id"])
			if p, known := f.snap.Port(id); err == nil && known {
				f.port(p)
			} else if err != nil {
				f.host(row) // a patch, or the bridge itself
			}
		}
	})
}

func (f *finding) ports(is func(*model.Port) bool) {
	for p := range f.snap.Ports() {
		if is(p) {
			f.port(p)
		}
	}
}

func (f *finding) networks(is func(*model.Network) bool) {
	for n := range f.snap.Networks() {
		if is(n) {
			f.network(n)
		}
	}
}

func (f *finding) subnets(is func(*model.Subnet) bool) {
	for s := range f.snap.Subnets() {
		if is(s) {
			f.subnet(s)
		}
	}
}

func (f *finding) hosts(is func(*model.Host) bool) {
	for h := range f.snap.Hosts() {
		if is(h) {
			f.host(h)
		}
	}
}
