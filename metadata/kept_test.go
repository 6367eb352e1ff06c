package metadata

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

// instance is a view with one machine that has a port on each of two networks, and all metadata.
func instance() *flows.View {
	v := deployment(2)
	first, second := v.Networks[0].Local[0], v.Networks[1].Local[0]
	second.DeviceID = first.DeviceID
	second.MACAddress[5] = 6
	first.Metadata = &model.Metadata{Hostname: "web1", PublicKeys: map[string]string{"you": "ssh-rsa BBBB you", "me": "ssh-ed25519 AAAA me"},
		UserData: []byte("#cloud-config\n\x00\xff"), Meta: map[string]string{"role": "web"}}
	v.Networks[1].Subnets[0].EnableDHCP = false
	v.Networks[0].Subnets[1].EnableDHCP, v.Networks[0].Subnets[1].IPv6AddressMode = true, "slaac"
	return v
}

// The documents of OpenStack's tree.
func TestOpenStackTree(t *testing.T) {
	t.Parallel()
	s := serve(t, Options{})
	v := instance()
	g := boot(t, s, v, v.Networks[0], v.Networks[0].Local[0], 1450)

	if got := strings.Split(g.get(t, "/openstack"), "\n"); !slices.Equal(got, openstackVersions) || g.get(t, "/openstack/") != strings.Join(got, "\n") {
		t.Errorf("versions %q", got)
	}
	same := func(path string, want string) {
		t.Helper()
		var got, wanted any
		if err := json.Unmarshal([]byte(g.get(t, path)), &got); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if err := json.Unmarshal([]byte(want), &wanted); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	for _, version := range openstackVersions {
		if got := g.get(t, "/openstack/"+version); got != "meta_data.json\nnetwork_data.json\nuser_data\nvendor_data.json\nvendor_data2.json" {
			t.Errorf("%s holds %q", version, got)
		}
		same("/openstack/"+version+"/meta_data.json", `{"uuid":"b0000000-0000-0000-0000-000000000001","name":"web1","hostname":"web1","project_id":"project","availability_zone":"nova",
			"launch_index":0,"devices":[],"meta":{"role":"web"},"public_keys":{"me":"ssh-ed25519 AAAA me","you":"ssh-rsa BBBB you"},
			"keys":[{"name":"me","type":"ssh","data":"ssh-ed25519 AAAA me"},{"name":"you","type":"ssh","data":"ssh-rsa BBBB you"}]}`)
	}
	same("/openstack/latest/vendor_data.json", `{}`)
	same("/openstack/latest/vendor_data2.json", `{}`)
	if got := g.get(t, "/openstack/latest/user_data"); got != "#cloud-config\n\x00\xff" {
		t.Errorf("user_data %q", got)
	}
	same("/openstack/latest/network_data.json", `{
		"links":[
			{"id":"tapa0000000-00","vif_id":"a0000000-0000-0000-0000-000000000001","type":"ovs","mtu":1450,"ethernet_mac_address":"fa:16:3e:00:00:05"},
			{"id":"tapa0000000-00","vif_id":"a0000000-0000-0000-0000-000000000002","type":"ovs","mtu":1450,"ethernet_mac_address":"fa:16:3e:00:00:06"}],
		"networks":[
			{"id":"network0","type":"ipv4_dhcp","link":"tapa0000000-00","network_id":"20000000-0000-0000-0000-000000000001"},
			{"id":"network1","type":"ipv6_slaac","link":"tapa0000000-00","network_id":"20000000-0000-0000-0000-000000000001"},
			{"id":"network2","type":"ipv4","link":"tapa0000000-00","network_id":"20000000-0000-0000-0000-000000000002","ip_address":"10.0.0.5","netmask":"255.255.255.0",
			 "routes":[{"network":"0.0.0.0","netmask":"0.0.0.0","gateway":"10.0.0.1"}],"services":[{"type":"dns","address":"9.9.9.9"}]},
			{"id":"network3","type":"ipv6","link":"tapa0000000-00","network_id":"20000000-0000-0000-0000-000000000002","ip_address":"2001:db8::5","netmask":"ffff:ffff:ffff:ffff::",
			 "routes":[{"network":"::","netmask":"::","gateway":"2001:db8::1"},{"network":"2001:db8:1::","netmask":"ffff:ffff:ffff::","gateway":"2001:db8::2"}],
			 "services":[{"type":"dns","address":"9.9.9.9"},{"type":"dns","address":"2620:fe::fe"}]}],
		"services":[{"type":"dns","address":"9.9.9.9"},{"type":"dns","address":"2620:fe::fe"}]}`)
}

// The documents of EC2's tree.
func TestEC2Tree(t *testing.T) {
	t.Parallel()
	s := serve(t, Options{})
	v := instance()
	g := boot(t, s, v, v.Networks[0], v.Networks[0].Local[0], 1450)
	for path, want := range map[string]string{
		"/":                                        strings.Join(ec2Versions, "\n"),
		"/latest":                                  "meta-data/\nuser-data",
		"/latest/user-data":                        "#cloud-config\n\x00\xff",
		"/2009-04-04/instance-id":                  "i-b0000000000000000",
		"/2009-04-04/meta-data/instance-id":        "i-b0000000000000000",
		"/latest/meta-data/public-keys/":           "0=me\n1=you",
		"/latest/meta-data/public-keys/1":          "openssh-key",
		"/latest/meta-data/placement/":             "availability-zone",
		"/latest/meta-data/local-ipv4":             "10.0.0.5",
		"/latest/meta-data/mac":                    "fa:16:3e:00:00:05",
		"/latest/meta-data//local-hostname/":       "web1",
		"/1.0/meta-data/public-keys/0/openssh-key": "ssh-ed25519 AAAA me",
		"/latest/meta-data/":                       "ami-id\nhostname\ninstance-action\ninstance-id\ninstance-type\nlocal-hostname\nlocal-ipv4\nmac\nplacement/\npublic-hostname\npublic-ipv4\npublic-keys/\nreservation-id",
	} {
		status, got, err := g.ask("GET", overIPv4+path, nil, nil)
		if err != nil || status != http.StatusOK || got != want {
			t.Errorf("%s: %d, %q, %v; want %q", path, status, got, err, want)
		}
	}
	if status, _, err := g.ask("PUT", overIPv4+"/latest/api/token", nil, nil); err != nil || status != http.StatusMethodNotAllowed {
		t.Errorf("PUT: %d, %v", status, err)
	}
	if status, body, err := g.ask("HEAD", overIPv4+"/latest/user-data", nil, nil); err != nil || status != http.StatusOK || body != "" {
		t.Errorf("HEAD: %d, %q, %v", status, body, err)
	}
}

// A machine of which nothing is kept has a name all the same, and no user data.
func TestBare(t *testing.T) {
	t.Parallel()
	s := serve(t, Options{})
	v := deployment(1)
	p := v.Networks[0].Local[0]
	g := boot(t, s, v, v.Networks[0], p, 1450)
	for _, path := range []string{"/openstack/latest/user_data", "/latest/user-data", "/latest/meta-data/public-keys", "/nothing", "/latest/meta-data/hostname/x", "/latest/../latest"} {
		if status, _, err := g.ask("GET", overIPv4+path, nil, nil); err != nil || status != http.StatusNotFound {
			t.Errorf("%s: %d, %v", path, status, err)
		}
	}
	if got := g.get(t, "/latest/meta-data/hostname"); got != "host-10-0-0-5" {
		t.Errorf("it is called %s", got)
	}
	m := func(change func(*model.Port)) *machine {
		port := *p.Port
		change(&port)
		return &machine{port: &port, network: v.Networks[0], view: v, address: addr(guestIPv6)}
	}
	for want, m := range map[string]*machine{
		"host-10-0-0-5": m(func(*model.Port) {}),
		"db":            m(func(p *model.Port) { p.DNSName = "db" }),
		"web":           m(func(p *model.Port) { p.DNSName, p.Metadata = "db", &model.Metadata{Hostname: "web"} }),
		"host-2001-0db8-0000-0000-0000-0000-0000-0005": m(func(p *model.Port) { p.FixedIPs = p.FixedIPs[1:] }),
		"host-a0000000": m(func(p *model.Port) { p.FixedIPs = nil }),
	} {
		if got := m.hostname(); got != want {
			t.Errorf("called %s, want %s", got, want)
		}
	}
	if got := m(func(p *model.Port) { p.DeviceID = "" }).instance(); got != p.ID.String() {
		t.Errorf("a port that nobody uses is %s", got)
	}
	if got := ec2ID("the-first"); got != "the-first" {
		t.Errorf("%s", got)
	}
}
