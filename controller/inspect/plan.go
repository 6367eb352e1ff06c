package inspect

// Plan is what a write of the API would do, without it being made: the answer to ?dry_run=true.
type Plan struct {
	Objects []Change   `json:"objects"` // of the API: by kind, name and ID
	Hosts   []HostPlan `json:"hosts"`   // whose switches or databases would change, by hostname
	Notes   []string   `json:"notes"`   // that nothing would change on hosts; what would not happen at once, and why
}

// The kinds of an Object that only plans tell of.
const (
	KindSubnetPool = "subnetpool"
	KindRBACPolicy = "rbac_policy"
	KindQuota      = "quota"   // its ID is the project's
	KindAgent      = "agent"   // what an administrator has set of it
	KindBinding    = "binding" // beside that of binding:host_id; its ID is the port's
)

// The signs of a Change.
const (
	Added   = "+"
	Changed = "~"
	Removed = "-"
)

// Change is an object that a write would add, change or remove, as it would be, or was.
type Change struct {
	Sign   string `json:"sign"`
	Object Object `json:"object"`
}

// HostPlan is what would be sent to one host.
type HostPlan struct {
	ID       string `json:"id"`
	Hostname string `json:"hostname"`
	// Rows are the changes of the host's database, one line each.
	Rows []string `json:"rows"`
	// Changes are those of flows, groups, buckets and meters, one line each as a plan prints them: + for new
	// or changed, - for gone.
	Changes []string `json:"changes"`
}
