package model

// Extension is a part of the API beyond its core that clients look for by its alias.
type Extension struct {
	Alias, Name, Description string
	Updated                  string // when Neutron last changed its definition
	// Advertised is whether clients are told of it: only what is enforced is.
	Advertised bool
}

// Extensions are those that attributes or the API's behaviour belong to, in the order they are listed.
var Extensions = []Extension{
	{"agent", "agent", "The hosts, and whether they answer.", "2013-02-03T10:00:00-00:00", true},
	{"agent_sort_key", "Agent Sort Key", "Agents can be sorted.", "2013-02-03T10:00:00-00:00", true},
	{"allowed-address-pairs", "Allowed Address Pairs", "Addresses beside its own that a port may send from.", "2013-07-23T10:00:00-00:00", true},
	{"auto-allocated-topology", "Auto Allocated Topology Services", "A network is made for a project that has none.", "2016-01-01T00:00:00-00:00", false},
	{"availability_zone", "Availability Zone", "Names that hosts share.", "2015-01-01T10:00:00-00:00", true},
	{"availability_zone_filter", "Availability Zone Filter Extension", "Availability zones can be filtered.", "2018-06-22T10:00:00-00:00", true},
	{"binding", "Port Binding", "The host a port is bound to and how it is plugged there.", "2014-02-03T10:00:00-00:00", true},
	{"binding-extended", "Port Bindings Extended", "A port is bound to more than one host while it migrates.", "2017-07-17T10:00:00-00:00", true},
	{"default-subnetpools", "Default Subnetpools", "A subnet pool can be the default one.", "2016-02-18T18:00:00-00:00", true},
	{"dhcp_agent_scheduler", "DHCP Agent Scheduler", "Which hosts answer DHCP for a network.", "2013-02-07T10:00:00-00:00", true},
	{"dns-integration", "DNS Integration", "Host names of ports and domains of networks.", "2015-08-15T18:00:00-00:00", true},
	{"empty-string-filtering", "Empty String Filtering Extension", "Lists can be filtered by empty strings.", "2018-05-01T10:00:00-00:00", true},
	{"external-net", "Neutron external network", "Marks networks that lead outside.", "2013-01-14T10:00:00-00:00", true},
	{"extra_dhcp_opt", "Neutron Extra DHCP options", "DHCP options given to one port.", "2013-03-17T12:00:00-00:00", true},
	{"filter-validation", "Filter parameters validation", "Unknown filters are errors.", "2018-07-04T10:00:00-00:00", true},
	{"ip-substring-filtering", "IP address substring filtering", "Ports can be filtered by parts of their addresses.", "2017-11-28T09:00:00-00:00", true},
	{"ip_allocation", "IP Allocation", "When a port gets its addresses: at once.", "2016-06-10T23:00:00-00:00", true},
	{"l2_adjacency", "L2 Adjacency", "Whether all ports of a network share one broadcast domain.", "2016-04-12T16:00:00-00:00", true},
	{"net-mtu", "Network MTU", "The MTU of a network.", "2015-03-25T10:00:00-00:00", true},
	{"net-mtu-writable", "Network MTU (writable)", "The MTU of a network can be set.", "2017-07-12T00:00:00-00:00", true},
	{"network-ip-availability", "Network IP Availability", "How many addresses of networks are used.", "2015-09-24T00:00:00-00:00", true},
	{"network_availability_zone", "Network Availability Zone", "Zones can be named for a network.", "2015-01-01T10:00:00-00:00", true},
	{"pagination", "Pagination support", "Lists can be read in pages.", "2016-06-12T00:00:00-00:00", true},
	{"port-security", "Port Security", "Ports send from their own addresses only.", "2012-07-23T10:00:00-00:00", true},
	{"project-id", "project_id field enabled", "Resources show project_id beside tenant_id.", "2016-09-09T09:09:09-09:09", true},
	{"provider", "Provider Network", "How a network is carried on the physical one.", "2012-09-07T10:00:00-00:00", true},
	{"quota-check-limit", "Quota engine limit check", "A limit below what a project has can be refused.", "2021-09-08T16:00:00-00:00", true},
	{"quota_details", "Quota details management support", "What a project has of each resource, beside its limit.", "2017-02-10T10:00:00-00:00", true},
	{"quotas", "Quota management support", "How many resources a project may have.", "2012-07-29T10:00:00-00:00", true},
	{"rbac-policies", "RBAC Policies", "Networks can be shared with single projects.", "2015-06-17T12:15:12-00:00", true},
	{"revision-if-match", "If-Match constraints based on revision_number", "Changes can be made conditional on revision_number.", "2016-12-11T00:00:00-00:00", true},
	{"service-type", "Neutron Service Type Management", "What provides services beyond layer 2: nothing.", "2013-01-20T00:00:00-00:00", true},
	{"sort-key-validation", "Sort key validation", "Unknown sort keys are errors.", "2017-10-03T10:00:00-00:00", true},
	{"sorting", "Sorting support", "Lists can be sorted.", "2016-06-12T00:00:00-00:00", true},
	{"standard-attr-description", "standard-attr-description", "Resources have a description.", "2016-02-10T10:00:00-00:00", true},
	{"standard-attr-revisions", "Resource revision numbers", "Resources have a revision_number.", "2016-04-11T10:00:00-00:00", true},
	{"standard-attr-tag", "Tag support for resources with standard attribute: port, subnet, network", "Resources have tags.", "2017-01-01T00:00:00-00:00", true},
	{"standard-attr-timestamp", "Resource timestamps", "Resources have created_at and updated_at.", "2016-09-12T10:00:00-00:00", true},
	{"subnet_allocation", "Subnet Allocation", "Subnets can be cut from subnet pools.", "2015-03-30T10:00:00-00:00", true},
	{"subnetpool-prefix-ops", "Subnet Pool Prefix Operations", "Prefixes can be added to subnet pools and taken from them.", "2019-02-08T10:00:00-00:00", true},
	{"tag-creation", "Tag creation", "Resources can be created with tags.", "2023-01-01T00:00:00-00:00", true},
	{"tag-ports-during-bulk-creation", "Tag Ports During Bulk Creation", "Ports created together can be tagged.", "2019-12-29T19:00:00-00:00", true},
	{"tunbridge-metadata", "Metadata of ports", "What machines are told of themselves without Nova.", "2026-01-01T00:00:00-00:00", true},
}
