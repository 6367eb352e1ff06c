package system

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a plan says is what then happens: every write is planned, made, and what has changed on the hosts is
// compared with the plan.
func TestPlan(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	hosts := d.addHosts("compute01", "compute02")
	h1, h2 := hosts[0], hosts[1]
	blue, red := d.networkOf("vxlan", "blue", "10.0.0.0/24"), d.addNetwork("red", "10.1.0.0/24")
	a, b, x := d.addPort(blue, h1.Name), d.addPort(blue, h2.Name), d.addPort(red, h1.Name)
	d.plug(h1, a)
	d.plug(h2, b, x) // x is not to be there, yet
	d.become("ACTIVE", a, b)
	d.reason(h2, x.device(), "bound to host compute01")
	d.settled(hosts...)

	p := d.plans(hosts...)
	subnet := "/v2.0/subnets/" + a.FixedIPs[0].SubnetID
	port := func(p *port) string { return "/v2.0/ports/" + p.ID }
	set := func(key string, value any) object { return object{"port": object{key: value}} }
	for _, c := range []struct {
		what, method, path string
		body               any
		objects            string // of the plan: sign and kind
		hosts              string // that it names
		has                []string
	}{
		{"a port whose VIF is not there yet", http.MethodPost, "/v2.0/ports",
			object{"port": object{"name": "new", "network_id": blue.ID, "binding:host_id": h2.Name, "mac_address": "02:00:00:00:00:77", "fixed_ips": []object{{"ip_address": "10.0.0.77"}}}},
			"+ port", "compute01", []string{"its VIF is not plugged on host compute02", "br-tun: + cookie", "mac_address and binding:host_id of the port", "02:00:00:00:00:77 10.0.0.77 on compute02"}},
		{"a port on a network that the host does not have", http.MethodPut, port(x), set("binding:host_id", h2.Name), "~ port", "compute02",
			[]string{"~ Port " + x.device() + ": tag=", "other_config:net_uuid=" + red.ID, "br-int: + group_id", "br-int: + meter"}},
		{"a port that moves away from its VIF", http.MethodPut, port(b), set("binding:host_id", h1.Name), "~ port", "compute01 compute02", []string{"not plugged on host compute01", "br-int: - cookie"}},
		{"… and back", http.MethodPut, port(b), set("binding:host_id", h2.Name), "~ port", "compute01 compute02", nil},
		{"another address", http.MethodPut, port(a), set("fixed_ips", []object{{"ip_address": "10.0.0.99"}}), "~ port", "compute01 compute02", []string{"10.0.0.99"}},
		{"no DHCP", http.MethodPut, subnet, object{"subnet": object{"enable_dhcp": false}}, "~ network, - port, ~ subnet", "compute01 compute02", []string{"br-int: - cookie"}},
		{"a name", http.MethodPut, port(a), set("name", "web"), "~ port", "", nil},
		{"a port that is down", http.MethodPut, port(a), set("admin_state_up", false), "~ port", "compute01 compute02", nil},
		{"a port that is gone", http.MethodDelete, port(b), nil, "- port", "compute02", []string{"br-int: - group_id"}},
		{"a network without ports", http.MethodPost, "/v2.0/networks", object{"network": object{"name": "green"}}, "+ network", "", nil},
	} {
		plan, _ := p.goes(c.method, c.path, c.body)
		var objects, names []string
		text, _ := json.Marshal(plan)
		for _, o := range plan.Objects {
			objects = append(objects, o.Sign+" "+o.Object.Kind)
		}
		for _, h := range plan.Hosts {
			names = append(names, h.Hostname)
		}
		if strings.Join(objects, ", ") != c.objects || strings.Join(names, " ") != c.hosts {
			t.Errorf("%s: the plan has %q on %q, not %q on %q:\n%s", c.what, objects, names, c.objects, c.hosts, text)
		}
		for _, words := range c.has {
			if !strings.Contains(string(text), words) {
				t.Errorf("%s: the plan does not mention %q:\n%s", c.what, words, text)
			}
		}
	}

	// As the operator asks.
	file := filepath.Join(t.TempDir(), "port.json")
	if err := os.WriteFile(file, []byte(`{"port":{"name":"late","network_id":"`+blue.ID+`","binding:host_id":"compute02"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	api := "--api=http://" + d.api
	for _, c := range []struct {
		args   []string
		status int
		has    string
	}{
		{[]string{"plan", "-f", file}, 0, "+ port late ("},
		{[]string{"plan", "-f", file, "--json"}, 0, `"sign": "+"`},
		{[]string{"plan", "DELETE", "/v2.0/networks/" + blue.ID}, 2, ""}, // it has ports
		{[]string{"plan", "-f", "/dev/null"}, 2, ""},
	} {
		text, err := d.where.Exec(program, append(c.args, api)...)
		if status := exitStatus(err); status != c.status || !strings.Contains(text, c.has) {
			t.Errorf("%s: status %d, error %v\n%s", c.args, status, err, text)
		}
	}
}
