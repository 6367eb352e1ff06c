package metadata

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

// kept serves what is kept with the port (model.Metadata) and what follows from it, in the form of
// OpenStack's metadata service and in that of EC2's, so that a machine starts with no Nova at all.
type kept struct{}

// node is a document or, without one, a directory.
type node struct {
	document func() []byte
	children map[string]*node
	list     string // what a directory is shown as
}

// serve answers GET and HEAD.
func (kept) serve(w *recorder, r *http.Request, m *machine) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.fail(http.StatusMethodNotAllowed, "only GET and HEAD", "what is kept with the port can only be read")
		return
	}
	w.reason = "that is what is kept with the port, and follows from it"
	n, file := root(m), ""
	for name := range strings.SplitSeq(r.URL.Path, "/") {
		if name == "" {
			continue
		}
		if n = n.children[name]; n == nil {
			w.fail(http.StatusNotFound, "404 page not found", "there is no "+cut(name)+" among what is kept with the port")
			return
		}
		file = name
	}
	body := []byte(n.list)
	if n.document != nil {
		body = n.document()
	}
	switch {
	case n.document != nil && strings.HasSuffix(file, ".json"):
		w.Header().Set("Content-Type", "application/json")
	case file == "user_data", file == "user-data":
		w.Header().Set("Content-Type", "application/octet-stream")
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	_, _ = w.Write(body)
}

// serves never fails: every port has something.
func (kept) serves(m *machine) (text string, ok bool) {
	return fmt.Sprintf("what is kept with the port is served (there is no metadata-url): instance %s, hostname %s", m.instance(), m.hostname()), true
}

// root is everything there is for a machine.
func root(m *machine) *node {
	n := ec2(m)
	n.children["openstack"] = openstack(m)
	return n
}

// directory is shown as its names; mark follows those of directories.
func directory(children map[string]*node, mark string) *node {
	names := make([]string, 0, len(children))
	for name, n := range children {
		if n.document == nil {
			name += mark
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return &node{children: children, list: strings.Join(names, "\n")}
}

// versions is a directory with the same below each name.
func versions(names []string, below *node) *node {
	n := &node{children: make(map[string]*node, len(names)+1), list: strings.Join(names, "\n")}
	for _, name := range names {
		n.children[name] = below
	}
	return n
}

func text(s string) *node { return &node{document: func() []byte { return []byte(s) }} }

// document is the JSON of what make makes.
func document(make func() any) *node {
	return &node{document: func() []byte {
		b, err := json.Marshal(make())
		if err != nil {
			panic("metadata: " + err.Error()) // the types are this package's
		}
		return b
	}}
}

// instance is what the machine is called: its device_id, or its port's ID if it has none.
func (m *machine) instance() string { return cmp.Or(m.port.DeviceID, m.port.ID.String()) }

// kept is what the port's owner wants the machine to know; never nil.
func (m *machine) kept() *model.Metadata {
	for _, p := range m.ports() {
		if p.Metadata != nil {
			return p.Metadata
		}
	}
	return &model.Metadata{}
}

// hostname is what the port's owner says, or its dns_name, or a name made of its address.
func (m *machine) hostname() string {
	if name := cmp.Or(m.kept().Hostname, m.port.DNSName); name != "" {
		return name
	}
	a := m.ipv4()
	if !a.IsValid() && len(m.port.FixedIPs) > 0 {
		a = m.port.FixedIPs[0].IPAddress
	}
	if !a.IsValid() {
		return "host-" + m.port.ID.String()[:8]
	}
	return "host-" + strings.NewReplacer(".", "-", ":", "-").Replace(a.StringExpanded())
}

// ipv4 is the machine's IPv4 address: the one it asks from, or the first of the port.
func (m *machine) ipv4() netip.Addr {
	if m.address.Is4() {
		return m.address
	}
	for _, f := range m.port.FixedIPs {
		if f.IPAddress.Is4() {
			return f.IPAddress
		}
	}
	return netip.Addr{}
}

// publicKeys are the names of the machine's keys, in one order.
func publicKeys(k *model.Metadata) []string { return slices.Sorted(maps.Keys(k.PublicKeys)) }

// vif is one of a machine's ports with its network.
type vif struct {
	*model.Port
	network *flows.Network
}

// ports are those that the machine has on this host, which for a machine are all: the one it asks by,
// and those of the same device_id and project.
func (m *machine) ports() []vif {
	all := []vif{{m.port, m.network}}
	if m.port.DeviceID == "" {
		return all
	}
	for _, n := range m.view.Networks {
		for _, p := range n.Local {
			if p.DeviceID == m.port.DeviceID && p.ProjectID == m.port.ProjectID && p.ID != m.port.ID {
				all = append(all, vif{p.Port, n})
			}
		}
	}
	slices.SortStableFunc(all[1:], func(a, b vif) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return all
}
