package system

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/test/testbed"
)

// holding is all that a host has been sent: flows, groups, buckets, meters and the notes in its database, each as a
// plan names it, with what it says.
type holding map[string]string

var (
	groupText  = regexp.MustCompile(`group_id=(\d+),type=all(.*)`)
	bucketText = regexp.MustCompile(`bucket_id:(\d+),actions=(.*?)(?:,bucket=|$)`)
	meterText  = regexp.MustCompile(`(?s)meter=(\d+) (.*?)(?:\n\n|$)`)
)

// holds reads it from the switches and from the database.
func (d *deployment) holds(h *testbed.CheapHost) (holding, error) {
	is := holding{}
	for _, f := range d.flows(h) {
		match := f.Match
		if match != "" {
			match = "," + match
		}
		is[fmt.Sprintf("%s: table=%d,priority=%d%s", f.Bridge, f.Table, f.Priority, match)] = f.Actions
	}
	for _, bridge := range []string{"br-int", "br-tun"} {
		groups, err := h.Ofctl("dump-groups", bridge)
		if err != nil {
			return nil, err
		}
		for _, g := range groupText.FindAllStringSubmatch(groups, -1) {
			is[bridge+": group_id="+g[1]] = ""
			for part := range strings.SplitSeq(g[2], ",bucket=") {
				if b := bucketText.FindStringSubmatch(part); b != nil {
					is[bridge+": group_id="+g[1]+",bucket=bucket_id:"+b[1]] = b[2]
				}
			}
		}
		meters, err := h.Ofctl("dump-meters", bridge)
		if err != nil {
			return nil, err
		}
		for _, m := range meterText.FindAllStringSubmatch(meters, -1) {
			is[bridge+": meter="+m[1]] = strings.TrimSpace(m[2])
		}
	}
	text, err := h.Vsctl("--format=json", "--columns=name,tag,other_config", "list", "Port")
	if err != nil {
		return nil, err
	}
	var ports struct{ Data [][]any }
	if err := json.Unmarshal([]byte(text), &ports); err != nil {
		return nil, err
	}
	for _, p := range ports.Data {
		name, network := fmt.Sprint(p[0]), ""
		for _, pair := range p[2].([]any)[1].([]any) {
			if pair := pair.([]any); pair[0] == "net_uuid" {
				network = fmt.Sprint(pair[1])
			}
		}
		if tag, ok := p[1].(float64); ok && network != "" {
			is["Port "+name] = fmt.Sprintf("tag=%.0f other_config:net_uuid=%s", tag, network)
		}
	}
	return is, nil
}

// planning makes writes one after the other, each after it was planned.
type planning struct {
	*deployment
	hosts []*testbed.CheapHost
	now   map[string]holding // what each host holds as planned so far, by hostname
}

// plans begins with what the hosts hold.
func (d *deployment) plans(hosts ...*testbed.CheapHost) *planning {
	d.t.Helper()
	p := &planning{deployment: d, hosts: hosts}
	p.look()
	return p
}

// look takes what the hosts hold now for what was planned.
func (p *planning) look() {
	p.t.Helper()
	var err error
	if p.now, err = p.read(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *planning) read() (map[string]holding, error) {
	all := make([]holding, len(p.hosts))
	errs := make([]error, len(p.hosts))
	var wg sync.WaitGroup
	for i, h := range p.hosts {
		wg.Go(func() { all[i], errs[i] = p.holds(h) })
	}
	wg.Wait()
	named := map[string]holding{}
	for i, h := range p.hosts {
		named[h.Name] = all[i]
	}
	return named, errors.Join(errs...)
}

// asPlanned says where the hosts hold something else.
func (p *planning) asPlanned() error {
	is, err := p.read()
	if err != nil {
		return err
	}
	for _, h := range p.hosts {
		if err := is[h.Name].differs(p.now[h.Name]); err != nil {
			return fmt.Errorf("host %s: %w", h.Name, err)
		}
	}
	p.now = is // with the texts of ovs-ofctl
	return nil
}

// changed is what is planned of something whose text ovs-ofctl writes in another way: it is there.
const changed = "as planned"

var (
	plannedFlow   = regexp.MustCompile(`^(br-\w+: )([+-]) cookie=0x[0-9a-f]+,(table=.*?) actions=(.*?)(  # .*)?$`)
	plannedBucket = regexp.MustCompile(`^(br-\w+: )([+-]) (group_id=\d+,bucket=bucket_id:\d+)(,actions=.*)?$`)
	plannedOther  = regexp.MustCompile(`^(br-\w+: )([+-]) ((?:group_id|meter)=\d+)(,.*)?$`)
	plannedRow    = regexp.MustCompile(`^~ (Port \S+): (.*)$`)
)

// after is what a host holds once a plan has been carried out.
func (is holding) after(p *inspect.HostPlan) (holding, error) {
	will := maps.Clone(is)
	var added []func()
	for _, line := range p.Changes {
		what, sign, does := "", "", changed
		if m := plannedFlow.FindStringSubmatch(line); m != nil {
			what, sign, does = m[1]+m[3], m[2], m[4]
		} else if m := plannedBucket.FindStringSubmatch(line); m != nil {
			what, sign = m[1]+m[3], m[2]
		} else if m := plannedOther.FindStringSubmatch(line); m != nil {
			what, sign = m[1]+m[3], m[2]
		} else {
			return nil, fmt.Errorf("the plan says %q", line)
		}
		if sign == "-" {
			if _, had := will[what]; !had {
				return nil, fmt.Errorf("the plan removes %q, which is not there", line)
			}
			delete(will, what)
			for k := range will {
				if strings.HasPrefix(k, what+",bucket=") {
					delete(will, k)
				}
			}
		} else {
			added = append(added, func() { will[what] = does })
		}
	}
	for _, add := range added { // what is replaced is removed first
		add()
	}
	for _, line := range p.Rows {
		m := plannedRow.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("the plan says %q", line)
		}
		will[m[1]] = m[2]
	}
	return will, nil
}

// chosen is a MAC address that a port was given, as an action loads it. That of a port which is made, as one that
// answers DHCP, cannot be planned.
var chosen = regexp.MustCompile(`0xfa163e[0-9a-f]{6}`)

// differs says what a host holds that was not planned.
func (is holding) differs(want holding) error {
	var list []string
	for k, text := range is {
		if w, ok := want[k]; !ok {
			list = append(list, fmt.Sprintf("has %s %s", k, text))
		} else if w != changed && chosen.ReplaceAllString(w, "MAC") != chosen.ReplaceAllString(text, "MAC") {
			list = append(list, fmt.Sprintf("has %s %s, not %s", k, text, w))
		}
	}
	for k, text := range want {
		if _, ok := is[k]; !ok {
			list = append(list, fmt.Sprintf("lacks %s %s", k, text))
		}
	}
	if len(list) == 0 {
		return nil
	}
	slices.Sort(list)
	return fmt.Errorf("it %s", strings.Join(list, "\n"))
}

// goes plans a write, which changes nothing, and makes it: then the hosts hold what they held before and what was
// planned, and nothing else.
func (p *planning) goes(method, path string, body any) (plan inspect.Plan, answer json.RawMessage) {
	p.t.Helper()
	what := method + " " + path
	p.must(method, path+"?dry_run=true", body, &plan)
	if err := p.asPlanned(); err != nil {
		p.t.Fatalf("%s: planning it changed something, or what was before it did too late: %v", what, err)
	}
	if status, err := p.call(method, path, body, &answer); err != nil || status >= 300 {
		p.t.Fatalf("%s: status %d, error %v: %s", what, status, err, answer)
	}
	for i := range plan.Hosts {
		h := &plan.Hosts[i]
		will, err := p.now[h.Hostname].after(h)
		if err != nil {
			p.t.Fatalf("%s: host %s: %v", what, h.Hostname, err)
		}
		p.now[h.Hostname] = will
	}
	text, _ := json.Marshal(plan)
	p.await(what+": as planned", func() error {
		if err := p.asPlanned(); err != nil {
			return fmt.Errorf("%w\nplanned was %s", err, text)
		}
		return nil
	})
	return plan, answer
}

// Every operation of the API that writes is planned, and made: what the plan says is what then happens on the hosts,
// or the request is refused in the same words.
func TestPlanOfEveryWrite(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	hosts := d.addHosts("compute01", "compute02", "compute03", "gone")
	h1, h2, h3, gone := hosts[0], hosts[1], hosts[2], hosts[3]
	blue, red := d.networkOf("vxlan", "blue", "10.0.0.0/24"), d.networkOf("vxlan", "red", "10.0.0.0/24")
	a, b, r := d.addPort(blue, h1.Name), d.addPort(blue, h2.Name), d.addPort(red, h1.Name)
	d.plug(h1, a, r)
	d.plug(h2, b)
	d.become("ACTIVE", a, b, r)
	d.settled(hosts...)
	p := d.plans(h1, h2, h3)
	ids := map[string]string{"blue": blue.ID, "red": red.ID, "a": a.ID, "b": b.ID, "r": r.ID, "blue_subnet": a.FixedIPs[0].SubnetID}
	var list struct {
		Agents []struct {
			ID, Host string
			Type     string `json:"agent_type"`
		}
	}
	d.must(http.MethodGet, "/v2.0/agents", nil, &list)
	for _, agent := range list.Agents {
		if agent.Type == "DHCP agent" {
			ids["agent of "+agent.Host] = agent.ID
		}
	}

	type step struct {
		method, path, body string
		hosts              string // that are sent something
		status             int    // of a refusal
		first              func() // before it is planned
	}
	steps := []step{
		{method: "POST", path: "/v2.0/subnetpools", body: `{"subnetpool": {"name": "pool", "prefixes": ["10.50.0.0/16"]}}`},
		{method: "PUT", path: "/v2.0/subnetpools/{pool}", body: `{"subnetpool": {"description": "campus"}}`},
		{method: "PUT", path: "/v2.0/subnetpools/{pool}/add_prefixes", body: `{"prefixes": ["10.51.0.0/16"]}`},
		{method: "PUT", path: "/v2.0/subnetpools/{pool}/remove_prefixes", body: `{"prefixes": ["10.51.0.0/16"]}`},

		{method: "POST", path: "/v2.0/networks", body: `{"networks": [{"name": "green"}, {"name": "grey"}]}`},
		{method: "PUT", path: "/v2.0/networks/{blue}", body: `{"network": {"mtu": 1300}}`},
		{method: "PUT", path: "/v2.0/networks/{blue}", body: `{"network": {"admin_state_up": false}}`, hosts: "compute01 compute02"},
		{method: "PUT", path: "/v2.0/networks/{blue}", body: `{"network": {"admin_state_up": true}}`, hosts: "compute01 compute02"},
		{method: "PUT", path: "/v2.0/networks/{blue}", body: `{"network": {"port_security_enabled": false}}`},
		{method: "PUT", path: "/v2.0/subnets/{blue_subnet}", body: `{"subnet": {"dns_nameservers": ["192.0.2.53"]}}`},
		{method: "PUT", path: "/v2.0/subnets/{blue_subnet}", body: `{"subnet": {"enable_dhcp": false}}`, hosts: "compute01 compute02"},
		{method: "PUT", path: "/v2.0/subnets/{blue_subnet}", body: `{"subnet": {"enable_dhcp": true}}`, hosts: "compute01 compute02"},
		{method: "POST", path: "/v2.0/subnets", body: `{"subnet": {"name": "six", "network_id": "{blue}", "ip_version": 6, "cidr": "2001:db8::/64", "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}}`, hosts: "compute01 compute02"},
		{method: "DELETE", path: "/v2.0/subnets/{six}", hosts: "compute01 compute02"},

		{method: "POST", path: "/v2.0/ports", body: `{"ports": [{"network_id": "{blue}", "binding:host_id": "compute01", "mac_address": "02:00:00:00:00:01", "fixed_ips": [{"ip_address": "10.0.0.101"}]}, {"network_id": "{blue}", "binding:host_id": "compute02", "mac_address": "02:00:00:00:00:02", "fixed_ips": [{"ip_address": "10.0.0.102"}]}, {"network_id": "{red}", "binding:host_id": "compute03", "mac_address": "02:00:00:00:00:03", "fixed_ips": [{"ip_address": "10.0.0.103"}]}]}`, hosts: "compute01 compute02"},
		{method: "PUT", path: "/v2.0/ports/{b}", body: `{"port": {"allowed_address_pairs": [{"ip_address": "10.0.0.200", "mac_address": "00:00:5e:00:01:01"}]}}`, hosts: "compute01 compute02"},
		{method: "PUT", path: "/v2.0/ports/{b}", body: `{"port": {"port_security_enabled": false, "allowed_address_pairs": []}}`, hosts: "compute01 compute02"},
		{method: "PUT", path: "/v2.0/ports/{b}", body: `{"port": {"port_security_enabled": true}}`, hosts: "compute02"},
		{method: "PUT", path: "/v2.0/ports/{a}", body: `{"port": {"admin_state_up": false}}`, hosts: "compute01 compute02"},
		{method: "PUT", path: "/v2.0/ports/{a}", body: `{"port": {"admin_state_up": true}}`, hosts: "compute01 compute02"},

		{method: "POST", path: "/v2.0/ports/{b}/bindings", body: `{"binding": {"host": "compute03"}}`, hosts: "compute01 compute02 compute03", first: func() {
			d.plug(h3, b)
			d.reason(h3, b.device(), "bound to host compute02")
		}},
		{method: "PUT", path: "/v2.0/ports/{b}/bindings/compute03", body: `{"binding": {"profile": {"migrating_to": "compute03"}}}`},
		{method: "PUT", path: "/v2.0/ports/{b}/bindings/compute03/activate", hosts: "compute01 compute02 compute03"},
		{method: "DELETE", path: "/v2.0/ports/{b}/bindings/compute02"},

		{method: "POST", path: "/v2.0/rbac-policies", body: `{"rbac_policy": {"object_type": "network", "object_id": "{blue}", "action": "access_as_shared", "target_tenant": "other"}}`},
		{method: "PUT", path: "/v2.0/rbac-policies/{rbac_policy}", body: `{"rbac_policy": {"target_tenant": "third"}}`},
		{method: "DELETE", path: "/v2.0/rbac-policies/{rbac_policy}"},
		{method: "PUT", path: "/v2.0/quotas/other", body: `{"quota": {"port": 20}}`},
		{method: "DELETE", path: "/v2.0/quotas/other"},
		{method: "DELETE", path: "/v2.0/auto-allocated-topology/default"},

		{method: "PUT", path: "/v2.0/agents/{agent of compute01}", body: `{"agent": {"admin_state_up": false}}`},
		{method: "POST", path: "/v2.0/agents/{agent of compute01}/dhcp-networks", body: `{"network_id": "{blue}"}`, status: 409},
		{method: "DELETE", path: "/v2.0/agents/{agent of compute01}/dhcp-networks/{blue}", status: 409},
		{method: "DELETE", path: "/v2.0/agents/{agent of compute01}", status: 409},
		{method: "DELETE", path: "/v2.0/agents/{agent of gone}", hosts: "compute01 compute02 compute03", first: func() {
			if err := gone.KillOVSDB(); err != nil {
				t.Fatal(err)
			}
			d.await("host gone is away", func() error {
				var shown struct{ Agent struct{ Alive bool } }
				if status, err := d.call(http.MethodGet, "/v2.0/agents/"+ids["agent of gone"], nil, &shown); err != nil || status != http.StatusOK || shown.Agent.Alive {
					return fmt.Errorf("status %d, error %v, alive %t", status, err, shown.Agent.Alive)
				}
				return nil
			})
		}},

		{method: "DELETE", path: "/v2.0/networks/{red}", status: 409},
		{method: "DELETE", path: "/v2.0/ports/{r}", hosts: "compute01"},
		{method: "DELETE", path: "/v2.0/subnets/{blue_subnet}", status: 409},
		{method: "DELETE", path: "/v2.0/networks/{green}"},
	}
	for _, of := range []string{"networks/{blue}", "subnets/{blue_subnet}", "ports/{a}", "subnetpools/{pool}"} {
		tags := "/v2.0/" + of + "/tags"
		steps = append(steps, step{method: "PUT", path: tags, body: `{"tags": ["web"]}`}, step{method: "POST", path: tags, body: `{"tags": ["eu"]}`},
			step{method: "PUT", path: tags + "/old"}, step{method: "DELETE", path: tags + "/old"}, step{method: "DELETE", path: tags})
	}
	steps = append(steps, step{method: "DELETE", path: "/v2.0/subnetpools/{pool}"})

	tried := map[string]bool{}
	operations := d.writes()
	for _, s := range steps {
		if s.first != nil {
			s.first()
			p.look()
		}
		path, text := s.path, s.body
		for name, id := range ids {
			path, text = strings.ReplaceAll(path, "{"+name+"}", id), strings.ReplaceAll(text, "{"+name+"}", id)
		}
		for operation, is := range operations {
			if is.MatchString(s.method + " " + path) {
				tried[operation] = true
			}
		}
		var body any
		if text != "" {
			body = json.RawMessage(text)
		}
		if s.status != 0 {
			var dry, real json.RawMessage
			planned, err := d.call(s.method, path+"?dry_run=true", body, &dry)
			if err != nil {
				t.Fatal(err)
			}
			status, err := d.call(s.method, path, body, &real)
			if err != nil || status != s.status || planned != status || string(dry) != string(real) {
				t.Errorf("%s %s: planned %d %s, made %d %s, error %v", s.method, path, planned, dry, status, real, err)
			}
			continue
		}
		plan, made := p.goes(s.method, path, body)
		var answer map[string]json.RawMessage
		_ = json.Unmarshal(made, &answer) // or there is none
		var names []string
		for _, h := range plan.Hosts {
			names = append(names, h.Hostname)
		}
		if got := strings.Join(names, " "); got != s.hosts {
			t.Errorf("%s %s: planned for %q, not for %q: %+v", s.method, path, got, s.hosts, plan)
		}
		if nothing := slices.ContainsFunc(plan.Notes, func(n string) bool { return strings.HasPrefix(n, "changes nothing on any host") }); nothing != (s.hosts == "") {
			t.Errorf("%s %s: it says that nothing changes: %t: %q", s.method, path, nothing, plan.Notes)
		}
		for kind, made := range answer {
			var one struct{ ID, Name string }
			if json.Unmarshal(made, &one) == nil && one.ID != "" && s.method == http.MethodPost {
				ids[kind] = one.ID
				if one.Name != "" {
					ids[one.Name] = one.ID
				}
			}
			var many []struct{ ID, Name string }
			if json.Unmarshal(made, &many) == nil {
				for _, one := range many {
					if one.Name != "" {
						ids[one.Name] = one.ID
					}
				}
			}
		}
	}
	for operation := range operations {
		if !tried[operation] {
			t.Errorf("%s is not planned here", operation)
		}
	}
}

// writes are the operations of the API that write, each with the requests that are such.
func (d *deployment) writes() map[string]*regexp.Regexp {
	d.t.Helper()
	var description struct {
		Paths map[string]map[string]json.RawMessage
	}
	d.must(http.MethodGet, "/v2.0/openapi.json", nil, &description)
	parameter := regexp.MustCompile(`\\\{[^}]*\\\}`)
	operations := map[string]*regexp.Regexp{}
	for path, methods := range description.Paths {
		for method := range methods {
			if method = strings.ToUpper(method); slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodDelete}, method) {
				operations[method+" "+path] = regexp.MustCompile("^" + method + " " + parameter.ReplaceAllString(regexp.QuoteMeta(path), "[^/]+") + "$")
			}
		}
	}
	return operations
}
