package model

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

var (
	subnetA = uuid.MustParse("e7cb2250-e93d-4c86-8c76-544d424d46cb")
	subnetB = uuid.MustParse("2475a77e-3dab-42e3-8b10-b881285e77bc")
)

func samplePorts() []*PortView {
	port := func(name, ip string, subnet uuid.UUID, tags ...string) *PortView {
		return &PortView{Port: &Port{
			Common:     Common{Name: name, Tags: tags, UpdatedAt: time.Unix(1e9, 0).UTC(), RevisionNumber: int64(len(name))},
			MACAddress: MAC{0xfa, 0x16, 0x3e, 0, 0, 1}, HostID: "h1",
			FixedIPs: []FixedIP{{subnet, netip.MustParseAddr(ip)}},
		}, Status: StatusDown}
	}
	return []*PortView{
		port("web", "10.0.0.3", subnetA, "blue", "red"),
		port("db", "10.0.0.30", subnetA, "red"),
		port("", "fd00::3", subnetB),
	}
}

func TestFilter(t *testing.T) {
	for _, c := range []struct{ query, want string }{
		{"", "web,db,"},
		{"name=web", "web"},
		{"name=web&name=db", "web,db"},
		{"name=", ""},
		{"name=web&status=ACTIVE", "-"},
		{"admin_state_up=FALSE", "web,db,"},
		{"mac_address=FA-16-3E-00-00-01&name=db", "db"},
		{"id=nope", "-"},
		{"fixed_ips=ip_address%3D10.0.0.3", "web"},
		{"fixed_ips=ip_address%3D10.0.0.3&fixed_ips=ip_address%3Dfd00:0::3", "web,"},
		{"fixed_ips=ip_address_substr%3D0.0.3", "web,db"},
		{"fixed_ips=subnet_id%3D" + subnetA.String(), "web,db"},
		{"fixed_ips=subnet_id%3D" + subnetB.String() + "&fixed_ips=ip_address%3D10.0.0.3", "-"},
		{"fixed_ips=subnet_id%3Dnope", "-"},
		{"tags=red", "web,db"},
		{"tags=red,blue", "web"},
		{"tags-any=blue,green", "web"},
		{"not-tags=red,blue", "db,"},
		{"not-tags-any=blue", "db,"},
		{"binding:host_id=h1", "web,db,"},
		{"revision_number=3", "web"},
		{"changed_since=2001-09-09T01:46:40Z", "web,db,"},
		{"changed_since=2001-09-09T01:46:41", "-"},
	} {
		values, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for key := range values {
			keys = append(keys, key)
		}
		f, err := Ports.Filter(keys, values, true)
		if err != nil {
			t.Errorf("%s: %v", c.query, err)
			continue
		}
		var names []string
		found := false
		for _, p := range samplePorts() {
			if f.Match(p) {
				found = true
				names = append(names, p.Name)
			}
		}
		got := strings.Join(names, ",")
		if !found {
			got = "-"
		}
		if got != c.want {
			t.Errorf("%s selects %q, not %q", c.query, got, c.want)
		}
	}
	f, err := Ports.Filter([]string{"binding:host_id"}, map[string][]string{"binding:host_id": {"h1"}}, false)
	if err != nil || f.Match(samplePorts()[0]) {
		t.Errorf("who may not see binding:host_id found a port by it (%v)", err)
	}
	for query, message := range map[string]string{
		"nonesuch=1":               "['nonesuch'] is invalid attribute for filtering",
		"allowed_address_pairs=1":  "['allowed_address_pairs'] is invalid attribute for filtering",
		"admin_state_up=perhaps":   "Invalid input for operation: admin_state_up: 'perhaps' cannot be converted to boolean.",
		"fixed_ips=10.0.0.3":       "Invalid input for operation: fixed_ips: '10.0.0.3' is not of the form <key>=[value].",
		"changed_since=yesterday":  "Invalid input for operation: changed_since: yesterday is not a valid time.",
		"revision_number=infinite": "Invalid input for operation: revision_number: 'infinite' is not an integer.",
	} {
		key, value, _ := strings.Cut(query, "=")
		if _, err := Ports.Filter([]string{key}, map[string][]string{key: {value}}, true); err == nil || err.Error() != message {
			t.Errorf("%s: %v, not %s", query, err, message)
		}
	}
}

func TestSort(t *testing.T) {
	for _, c := range []struct {
		keys, directions []string
		want             string
	}{
		{[]string{"name"}, []string{"asc"}, ",db,web"},
		{[]string{"name"}, []string{"desc"}, "web,db,"},
		{[]string{"status", "revision_number"}, []string{"asc", "asc"}, ",db,web"},
	} {
		sort, err := Ports.SortKeys(c.keys, c.directions)
		if err != nil {
			t.Fatal(err)
		}
		ports := samplePorts()
		slices.SortFunc(ports, func(x, y *PortView) int { return Ports.Compare(sort, x, y) })
		var names []string
		for _, p := range ports {
			names = append(names, p.Name)
		}
		if got := strings.Join(names, ","); got != c.want {
			t.Errorf("%v %v: %q, not %q", c.keys, c.directions, got, c.want)
		}
	}
	for _, c := range []struct {
		keys, directions []string
		message          string
	}{
		{[]string{"name"}, nil, "The number of sort_keys and sort_dirs must be same"},
		{[]string{"nonesuch"}, []string{"asc"}, "['nonesuch'] is invalid attribute for sort_keys"},
		{[]string{"name"}, []string{"up"}, "['up'] is invalid value for sort_dirs, valid value is 'asc' and 'desc'"},
	} {
		if _, err := Ports.SortKeys(c.keys, c.directions); err == nil || err.Error() != c.message {
			t.Errorf("%v %v: %v, not %s", c.keys, c.directions, err, c.message)
		}
	}
}

func TestMAC(t *testing.T) {
	want := MAC{0xfa, 0x16, 0x3e, 0x0a, 0x0b, 0x0c}
	for _, s := range []string{"fa:16:3e:0a:0b:0c", "FA-16-3E-0A-0B-0C", "fa16.3e0a.0b0c", "fa163e0a0b0c"} {
		if m, err := ParseMAC(s); err != nil || m != want {
			t.Errorf("%s: %v, %v", s, m, err)
		}
	}
	for _, s := range []string{"", "fa:16:3e:0a:0b", "fa:16-3e:0a:0b:0c", "fa163e0a0b0g", "fa16.3e0a:0b0c", "fa:16:3e:0a:0b:0c:0d"} {
		if m, err := ParseMAC(s); err == nil {
			t.Errorf("%q was read as %v", s, m)
		}
	}
}
