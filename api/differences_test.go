package api

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the generated files anew")

// finding is one difference between Neutron's answer and ours.
type finding struct{ request, field, neutron, ours string }

// difference is one that is meant.
type difference struct {
	fields    string // attributes, keys of lists, "status", "type" or "message" of an error; "" is any
	requests  string // what the request's name begins with; "" is any
	extension string // that it belongs to, which only one of the two servers has; else there is a reason
	reason    string
	left      string // the text that is taken out of the request's body, so that the rest is compared
}

// oneOf reports whether one of the texts, separated by |, is what the value begins with, or is.
func oneOf(texts, value string, prefix bool) bool {
	for text := range strings.SplitSeq(texts, "|") {
		if value == text || prefix && strings.HasPrefix(value, text) {
			return true
		}
	}
	return texts == ""
}

func (d *difference) of(f finding) bool {
	return oneOf(d.fields, f.field, false) && oneOf(d.requests, f.request, true)
}

// differences are all there are. The first that fits is the reason of a finding.
var differences = []difference{
	{fields: "request", requests: "ports: create all member attrs", extension: "security-group", left: `"security_groups": ["662b8ea6-e439-4c54-bf7a-5207d24cc108"], `},
	{fields: "request", requests: "subnetpools: create all attrs", extension: "address-scope", left: `"address_scope_id": "5b9bcb97-99cb-4126-8c19-e188a63fbb75", `},
	{requests: "security_groups: |errors: 404 security group|errors: security group in use|errors: SG with|ports: list by security group", extension: "security-group"},
	{fields: "status|type|message|ports", requests: "routers: |errors: 404 router|errors: quota exceeded router|floatingips: |errors: 404 floatingip|errors: quota exceeded floatingip", extension: "router"},
	{fields: "status|trunk_details", requests: "trunks: ", extension: "trunk"},
	{fields: "status", requests: "qos: ", extension: "qos"},
	{fields: "status", requests: "subnetpools: address scope ", extension: "address-scope"},
	{fields: "service_providers", requests: "misc: service providers", extension: "router"},
	{fields: "status", requests: "misc: segments", extension: "segment"},
	{fields: "status", requests: "misc: network segment ranges", extension: "network-segment-range"},
	{fields: "status", requests: "misc: flavors", extension: "flavors"},
	{fields: "status", requests: "misc: loggable resources", extension: "logging"},
	{fields: "status", requests: "misc: metering labels", extension: "metering"},
	{fields: "status", requests: "misc: local ips", extension: "local_ip"},
	{fields: "status", requests: "networks: create multi-segment", extension: "multi-provider"},
	{fields: "networks", requests: "networks: list provider filter", extension: "multi-provider"},
	{fields: "qos_policy_id|qos_network_policy_id", extension: "qos"},
	{fields: "ipv4_address_scope|ipv6_address_scope|address_scope_id", extension: "address-scope"},
	{fields: "is_default", extension: "auto-allocated-topology"},
	{fields: "service_types", extension: "subnet-service-types"},
	{fields: "segment_id", extension: "segment"},
	{fields: "vlan_transparent", extension: "vlan-transparent"},
	{fields: "data_plane_status", extension: "data-plane-status"},
	{fields: "propagate_uplink_status", extension: "uplink-status-propagation"},
	{fields: "resource_request", extension: "port-resource-request"},
	{fields: "resources_synced|resource_versions", extension: "agent-resources-synced"},
	{fields: "router|floatingip", requests: "quotas: ", extension: "router"},
	{fields: "security_group|security_group_rule", requests: "quotas: ", extension: "security-group"},
	{fields: "trunk", requests: "quotas: ", extension: "trunk"},
	{fields: "tunbridge:metadata", extension: "tunbridge-metadata"},
	{fields: "message", requests: "errors: wrong type bool|errors: bad cidr|errors: cidr without prefix|subnets: create v4 /|errors: gateway is network|errors: provider: vlan id out|errors: mtu too big|errors: bad AAP|subnets: v6 mode with v4",
		reason: "the attribute and its value are named, of which Neutron names one or none"},
	{fields: "standard_attr_id", reason: "a number of Neutron's database, which it shows by mistake"},
	{fields: "extensions", requests: "discovery: ", reason: "only what is enforced is advertised, and some that came after Neutron 21"},
	{fields: "description|name", requests: "discovery: ", reason: "extensions are described in words of our own, and by what they are for here"},
	{fields: "mtu", requests: "networks: create geneve", reason: "the recorded Neutron left room for Geneve options, which we do not send: 8 bytes more for the guest"},
	{requests: "ports: bindings activate|ports: after the bindings dance", reason: "a port whose binding was activated is bound there, as Neutron documents; the recorded Neutron left it unbound"},
	{fields: "binding:vif_type", requests: "ports: list by host", reason: "that port, in a list"},
	{fields: "ports", requests: "ports: dhcp port|ports: list by host|ports: list by fixed_ips subnet", reason: "a network has one DHCP port, which is on every host and bound to none"},
	{fields: "status", requests: "errors: reader creates", reason: "a reader changes nothing, as in Neutron's own defaults since 2023.2"},
	{fields: "provider:network_type|provider:physical_network|provider:segmentation_id", requests: "errors: OPTIONS", reason: "a member is not shown them, whatever the method"},
	{fields: "networks", requests: "errors: OPTIONS", reason: "the recording had more networks, of requests that are not in it"},
	{fields: "quotas", requests: "quotas: ", reason: "the recording had more projects with quotas, and one that is not in it"},
	{fields: "agents|availability_zone", requests: "agents: ", reason: "every host has an Open vSwitch agent and a DHCP agent; there is no metadata agent"},
	{fields: "description", requests: "agents: ", reason: "set by a request that is not in the recording"},
	{fields: "networks", requests: "agents: dhcp-networks", reason: "DHCP is answered on the hosts that have a port of the network, and there alone"},
	{fields: "default_prefixlen|min_prefixlen|max_prefixlen", requests: "subnetpools: ", reason: "numbers, as documented; Neutron shows a creation's as strings"},
	{fields: "default_quota", requests: "subnetpools: update", reason: "shown after an update too; Neutron leaves it out"},
	{fields: "status", requests: "subnetpools: subnet from pool", reason: "what the caller can mend is 400 or 409; Neutron answers 500"},
	{fields: "status", requests: "misc: auto allocated topology", reason: "there is none, for anybody: 409 is what makes Nova say so"},
}

// judge finds the reason for every finding, and writes the page of what differs.
func judge(t *testing.T, requests int, found []finding) []byte {
	type met struct {
		fields  map[string]bool
		answers map[string]bool // by request
	}
	all := make([]met, len(differences))
	for i := range all {
		all[i] = met{make(map[string]bool), make(map[string]bool)}
	}
	differ := make(map[string]bool) // value: not only in what an extension explains
	for _, f := range found {
		i := slices.IndexFunc(differences, func(d difference) bool { return d.of(f) })
		if i < 0 {
			t.Errorf("%s: %s: Neutron %.200s, ours %.300s", f.request, f.field, f.neutron, f.ours)
			continue
		}
		all[i].fields[f.field], all[i].answers[f.request] = true, true
		differ[f.request] = differ[f.request] || differences[i].extension == ""
	}
	others := 0
	for _, other := range differ {
		if other {
			others++
		}
	}
	var rows, missing []string
	for i, d := range differences {
		if len(all[i].answers) == 0 {
			t.Errorf("no answer differs in %q of %q any more", d.fields, d.requests)
			continue
		}
		row := fmt.Sprintf("| %s | %s | %d | ", code(slices.Sorted(maps.Keys(all[i].fields))), firstOf(slices.Sorted(maps.Keys(all[i].answers))), len(all[i].answers))
		if d.extension != "" {
			missing = append(missing, row+"`"+d.extension+"` |")
		} else {
			rows = append(rows, row+d.reason+" |")
		}
	}
	const head = `# Differences from Neutron

<!-- Generated: go test ./api -run TestNeutronAnswers -update -->

A real Neutron 21 was sent %d requests, and its answers were recorded (api/testdata/neutron.json). A
test sends the same requests here and compares status, keys, types, errors with their messages, and the
values that follow from the request.

%d answers are the same, %d differ only in what belongs to an extension that one of the two does not
have, %d in something else.

## In something else

| Field | Answers | Number | Reason |
|---|---|---|---|
%s

## In an extension

Clients look for an extension's alias in /v2.0/extensions before they use it. What one would serve that
is not there is not found, and its attributes are neither shown nor taken. There are two exceptions: is_default
may be false, and segments (of multi-provider) may have one entry, which is read as the provider attributes.
tunbridge-metadata is ours.

| Field | Answers | Number | Extension |
|---|---|---|---|
%s
`
	return fmt.Appendf(nil, head, requests, requests-len(differ), len(differ)-others, others, strings.Join(rows, "\n"), strings.Join(missing, "\n"))
}

func code(names []string) string { return "`" + strings.Join(names, "`, `") + "`" }

// firstOf names one of the requests, and says that there are more.
func firstOf(requests []string) string {
	if len(requests) == 1 {
		return requests[0]
	}
	return requests[0] + " …"
}

// golden compares a generated file with what it should be, or writes it anew.
func golden(t *testing.T, path string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(got), string(want)); d != "" {
		t.Errorf("%s is stale; run the test with -update (-is +should be):\n%s", path, d)
	}
}
