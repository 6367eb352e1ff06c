package ovsdb

// UUID names a row: 36 lower-case characters. Within the operations of one
// transaction any other string is the uuid-name of a row inserted there.
type UUID = string

// The rows hold the columns that the controller reads, and no others: a column
// that is not here is not monitored (statistics and status change every few
// seconds and mean nothing to it). The tag names the column
// (ovs-vswitchd.conf.db(5)). A column that may be empty is the zero value then,
// but for those where zero means something: they are pointers. Sets are sorted.
// Rows are shared by mirrors and immutable.

// OpenVSwitch is the database's single root row.
type OpenVSwitch struct {
	UUID           UUID              `ovsdb:"_uuid"`
	Bridges        []UUID            `ovsdb:"bridges"`
	ManagerOptions []UUID            `ovsdb:"manager_options"`
	ExternalIDs    map[string]string `ovsdb:"external_ids"`
	DatapathTypes  []string          `ovsdb:"datapath_types"` // what ovs-vswitchd can do; empty until it has run
	IfaceTypes     []string          `ovsdb:"iface_types"`
	OVSVersion     string            `ovsdb:"ovs_version"`
	NextCfg        int               `ovsdb:"next_cfg"` // counts configurations written
	CurCfg         int               `ovsdb:"cur_cfg"`  // the last one ovs-vswitchd has finished
}

// Bridge is one OpenFlow switch.
type Bridge struct {
	UUID         UUID              `ovsdb:"_uuid"`
	Name         string            `ovsdb:"name"`
	DatapathID   string            `ovsdb:"datapath_id"` // in use: 16 hexadecimal digits; empty until ovs-vswitchd made the bridge
	DatapathType string            `ovsdb:"datapath_type"`
	FailMode     string            `ovsdb:"fail_mode"`
	Protocols    []string          `ovsdb:"protocols"`
	Ports        []UUID            `ovsdb:"ports"`
	Controllers  []UUID            `ovsdb:"controller"`
	FlowTables   map[int]UUID      `ovsdb:"flow_tables"`
	OtherConfig  map[string]string `ovsdb:"other_config"`
	ExternalIDs  map[string]string `ovsdb:"external_ids"`
}

// Port is a port of a bridge: one interface, or several for a bond.
type Port struct {
	UUID        UUID              `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	Interfaces  []UUID            `ovsdb:"interfaces"`
	Tag         *int              `ovsdb:"tag"` // VLAN, 0 to 4095
	Trunks      []int             `ovsdb:"trunks"`
	VLANMode    string            `ovsdb:"vlan_mode"`
	OtherConfig map[string]string `ovsdb:"other_config"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

// Interface is a network device of a port.
type Interface struct {
	UUID          UUID              `ovsdb:"_uuid"`
	Name          string            `ovsdb:"name"`
	Type          string            `ovsdb:"type"`
	OFPort        int               `ovsdb:"ofport"` // OpenFlow port; 0 not yet known, -1 the device could not be opened
	OFPortRequest int               `ovsdb:"ofport_request"`
	Options       map[string]string `ovsdb:"options"`
	ExternalIDs   map[string]string `ovsdb:"external_ids"`
	Error         string            `ovsdb:"error"`
	LinkState     string            `ovsdb:"link_state"`
	AdminState    string            `ovsdb:"admin_state"`
	MACInUse      string            `ovsdb:"mac_in_use"`
	MTU           int               `ovsdb:"mtu"` // bytes; 0 where it has none
}

// Controller is an OpenFlow controller that a bridge connects to.
type Controller struct {
	UUID            UUID   `ovsdb:"_uuid"`
	Target          string `ovsdb:"target"`
	ConnectionMode  string `ovsdb:"connection_mode"`
	QueueSize       int    `ovsdb:"controller_queue_size"` // packet-ins
	MaxBackoff      int    `ovsdb:"max_backoff"`           // milliseconds
	InactivityProbe *int   `ovsdb:"inactivity_probe"`      // milliseconds, 0 never
	IsConnected     bool   `ovsdb:"is_connected"`          // lags by seconds
	Role            string `ovsdb:"role"`
}

// Manager is an OVSDB client that ovsdb-server dials, or an address where it listens.
type Manager struct {
	UUID            UUID   `ovsdb:"_uuid"`
	Target          string `ovsdb:"target"`
	MaxBackoff      *int   `ovsdb:"max_backoff"`      // milliseconds
	InactivityProbe *int   `ovsdb:"inactivity_probe"` // milliseconds, 0 never
	IsConnected     bool   `ovsdb:"is_connected"`
}

// FlowTable configures one OpenFlow table of a bridge.
type FlowTable struct {
	UUID        UUID              `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	Prefixes    []string          `ovsdb:"prefixes"` // fields that ovs-vswitchd looks up by prefix
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

// vocabulary holds the words that every host repeats, once for all sessions.
var vocabulary = func() map[string]string {
	words := make(map[string]string)
	for _, w := range []string{
		"system", "netdev", "dummy", "internal", "patch", "tap", "vxlan", "gre", "geneve", "secure", "standalone",
		"OpenFlow10", "OpenFlow11", "OpenFlow12", "OpenFlow13", "OpenFlow14", "OpenFlow15",
		"up", "down", "active", "inactive", "true", "false", "access", "trunk", "native-tagged", "native-untagged",
		"in-band", "out-of-band", "primary", "secondary", "other", "master", "slave",
		"iface-id", "iface-status", "attached-mac", "vm-uuid", "vm-id", "system-id", "hostname", "rundir",
		"datapath-id", "hwaddr", "bridge-id", "mac-table-size", "key", "flow", "peer", "remote_ip", "local_ip", "csum", "df_default",
		"net_uuid", "network_type", "physical_network", "segmentation_id", "tag",
	} {
		words[w] = w
	}
	return words
}()
