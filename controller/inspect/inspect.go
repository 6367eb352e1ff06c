// Package inspect is what one may ask a running controller: the types of its admin API, and the
// client the command line uses. The server is in package controller.
//
// The admin API is HTTP with JSON bodies under /v1/, on a unix socket by default:
//
//	GET /v1/hosts               []Host
//	GET /v1/hosts/HOST          Host
//	GET /v1/hosts/HOST/flows    []Flow, read from the switch now
//	GET /v1/hosts/HOST/diff     Diff, installed against wanted
//	GET /v1/find/WHAT           []Object, that an ID, name, address, cookie … may mean
//	GET /v1/names?begins=       []Object, of which that is the beginning of the name or ID
//	GET /v1/verify              a stream of Verified: the store, and each host
//	GET /v1/verify/HOST         a stream of one Verified
//	POST /v1/captures           CaptureRequest; a stream of Frames
//	GET /v1/leases              []Lease
//	GET /v1/leases/PORT         []Lease, of one port; empty if it is not wired
//	GET /v1/explain/WHAT        Explanation
//	GET /v1/explain/SUBJECT/WHAT Explanation, of a port, network, host, flow, or of dhcp or metadata for a port
//	GET /v1/trace/PORT/TO       Trace; ?protocol= port= size= source_mac= source_ip= vlan= both= as in TraceQuery
//
// HOST is a hostname or a system-id, PORT an ID or a name. An error is a status of 400 or more with {"error": "…"}.
package inspect

import "time"

// Host is one enrolled host as its loop sees it.
type Host struct {
	ID           string            `json:"id"` // system-id
	Hostname     string            `json:"hostname"`
	Alive        bool              `json:"alive"` // OVSDB and both OpenFlow sessions are up
	OVSDB        *Session          `json:"ovsdb"`
	OpenFlow     map[string]string `json:"openflow"` // bridge to peer address
	EncapIP      string            `json:"encap_ip"`
	EncapGuessed bool              `json:"encap_ip_guessed,omitempty"`
	DatapathType string            `json:"datapath_type"`
	Datapath     string            `json:"datapath_note,omitempty"` // why that datapath type
	LocalVLANs   []LocalVLAN       `json:"local_vlans"`
	VIFs         []VIF             `json:"vifs"`
	Peers        []Peer            `json:"peers"`                          // that it shares an overlay network with; in the list of hosts only those with a note
	Flows        map[string]int    `json:"flows"`                          // wanted, by bridge
	Pending      string            `json:"pending,omitempty" text:"lines"` // the plan that is not yet acknowledged
	Waiting      string            `json:"waiting,omitempty"`              // what the loop waits for
	LastError    string            `json:"last_error,omitempty" text:"lines"`
	LastCommit   time.Time         `json:"last_commit,omitzero"`
	Commits      uint64            `json:"commits"`
	Repairs      uint64            `json:"repairs"`  // plans that undid a foreign change
	Restarts     uint64            `json:"restarts"` // switch found empty after a reconnect
	Activity     *Activity         `json:"activity,omitempty"`
}

// Session is a host's OVSDB session.
type Session struct {
	Address string    `json:"address"`
	Since   time.Time `json:"since"`
	Version string    `json:"ovs_version"`
}

// LocalVLAN is a network's number on a host.
type LocalVLAN struct {
	VLAN        uint16 `json:"vlan"`
	NetworkID   string `json:"network_id"`
	NetworkName string `json:"network_name"`
}

// VIF is an interface on br-int that names a port.
type VIF struct {
	Interface string `json:"interface"`
	PortID    string `json:"port_id"` // external_ids:iface-id as it stands there
	OFPort    int    `json:"ofport"`
	Wired     bool   `json:"wired"`
	Reason    string `json:"reason,omitempty"` // why it is not wired
}

// Peer is a host that one shares an overlay network with, and what was measured on the way there and back
// through tunnels of one type. Nothing is measured while probes are off.
type Peer struct {
	Hostname string    `json:"hostname"`
	Type     string    `json:"type"`               // vxlan, gre or geneve
	Alive    bool      `json:"alive"`              // false without a note: not asked often enough yet
	LastSeen time.Time `json:"last_seen,omitzero"` // when a probe last came back
	RTT      int64     `json:"rtt_us"`             // microseconds, without the control channel's part; 0: not measured
	PathMTU  int       `json:"path_mtu"`           // largest packet of a guest that passes, bytes, of those it may send; 0: not known
	Note     string    `json:"note,omitempty"`     // what is wrong, and what to do
}

// Flow is one installed flow and why it is there.
type Flow struct {
	Bridge     string `json:"bridge"`
	Table      uint8  `json:"table"`
	TableName  string `json:"table_name"`
	Priority   uint16 `json:"priority"`
	Cookie     string `json:"cookie"`
	Match      string `json:"match"`
	Actions    string `json:"actions"`
	Owner      string `json:"owner"`
	Kind       string `json:"kind"`
	ObjectID   string `json:"object_id"`
	ObjectName string `json:"object_name"`
	NetworkID  string `json:"network_id,omitempty"` // that the object is or is in
	Reason     string `json:"reason"`
	Stale      bool   `json:"stale,omitempty"` // nobody wants it, or not like this
	Packets    uint64 `json:"packets"`
	Bytes      uint64 `json:"bytes"`
	Seconds    int64  `json:"duration_seconds"`
}

// Diff is the difference between what a host has and what it should have.
type Diff struct {
	Host    string   `json:"host"`
	Changes []string `json:"changes"` // one line each, as a plan prints; empty: none
}

// Error is the body of an answer that is not 200.
type Error struct {
	Error string `json:"error"`
}
