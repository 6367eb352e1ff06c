package system

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever the operator has at hand is explained: well or ill, with the exit status for scripts, and no line
// wider than a terminal.
func TestExplain(t *testing.T) {
	t.Parallel()
	d := deploy(t, "--probe-interval=0") // no tunnel of dummies carries anything
	hosts := d.addHosts("compute01", "compute02", "compute03")
	h1, h2, away := hosts[0], hosts[1], hosts[2]
	n := d.addNetwork("blue", "10.0.0.0/24")
	named := func(name, host string) *port {
		p := d.addPort(n, host)
		d.must(http.MethodPut, "/v2.0/ports/"+p.ID, object{"port": object{"name": name, "device_id": "server-of-" + name}}, nil)
		return p
	}
	web, db, twin, other := named("web", h1.Name), named("db", h2.Name), named("twin", h1.Name), named("twin", h2.Name)
	lost, gone := named("lost", ""), named("gone", away.Name)
	named("nowhere", "compute99")
	d.plug(h1, web, twin)
	d.plug(h2, db)
	d.become("ACTIVE", web, db, twin)
	if err := away.KillOVSDB(); err != nil {
		t.Fatal(err)
	}
	d.await("the host away", func() error {
		if h, err := d.host(away.Name); err != nil || h.OVSDB != nil {
			return fmt.Errorf("it is there, error %v", err)
		}
		return nil
	})
	if _, err := h2.Vsctl("add-port", "br-int", "stray", "--", "set", "Interface", "stray", "type=dummy", "external_ids:iface-id=nonsense"); err != nil {
		t.Fatal(err)
	}
	d.reason(h2, "stray", "is not a port ID")
	ofport, err := h1.Vsctl("get", "Interface", web.device(), "ofport")
	if err != nil {
		t.Fatal(err)
	}
	cookie := regexp.MustCompile(`cookie (0x\w+)`)
	flows, _, err := d.answer("flows", "compute01", "--object", web.ID, "--table", "l2")
	if err != nil || cookie.FindStringSubmatch(flows) == nil {
		t.Fatalf("no flow of the port: error %v\n%s", err, flows)
	}
	its := cookie.FindStringSubmatch(flows)[1]

	well := "port web (" + web.ID + ") is in order"
	for _, c := range []struct {
		args   string
		status int
		first  string // of the text
		has    string
	}{
		{"web", 0, well, "VIF seen: Interface " + web.device()},
		{"port " + web.ID, 0, well, ""},
		{"port " + web.ID[:13], 0, well, ""},
		{"port " + web.MAC, 0, well, ""},
		{"port " + web.address(), 0, well, ""},
		{"port server-of-web", 0, well, ""},
		{"port " + web.device(), 0, well, ""},
		{"port compute01:" + strings.TrimSpace(ofport), 0, well, ""},
		{"port compute01:" + web.device(), 0, well, ""},
		{"port " + its, 0, well, ""},
		{its, 0, well, ""},
		{"flow " + its, 0, well, "mac_address of the port"},
		{"flow web", 0, well, "compute02 br-tun table=20(unicast)"},
		{"host compute01", 0, "host compute01 (" + h1.SystemID() + ") is in order", "all "},
		{"compute01:patch-tun", 0, "host compute01 (" + h1.SystemID() + ") is in order", ""},
		{"host compute02", 1, "Interface stray is not wired: iface-id \"nonsense\" is not a port ID", ""},
		{"compute03", 1, "host compute03 is not connected", ""},
		{"lost", 1, "the port is not bound, and no Interface on any host's br-int has iface-id " + lost.ID, ""},
		{"nowhere", 1, "the port is bound to host compute99, which is not enrolled", "bound to host compute99"},
		{gone.ID, 1, "host compute03 is not connected", "created on vxlan network blue"},
		{other.ID, 1, "VIF not plugged: no Interface on compute02 has iface-id " + other.ID, "port twin"},
		{"blue", 1, "", "subnet blue"},
		{"network " + db.address(), 1, "", "2 of 2 ports on host compute01 (local VLAN 1) are ACTIVE"},
		{"flow nowhere", 1, "no host has a flow for port nowhere", "explain port"},
		{"dhcp web", 1, "nothing was asked since the VIF was wired", ""},
	} {
		text, status, err := d.answer(append([]string{"explain"}, strings.Fields(c.args)...)...)
		if err != nil || status != c.status || !strings.HasPrefix(folded.ReplaceAllString(text, " "), c.first) || !strings.Contains(folded.ReplaceAllString(text, " "), c.has) {
			t.Errorf("explain %s: status %d, not %d, error %v; it is to begin with %q and to have %q:\n%s", c.args, status, c.status, err, c.first, c.has, text)
		}
		for line := range strings.Lines(text) {
			if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > 100 && strings.Contains(strings.TrimSpace(line), " ") && !strings.Contains(line, "actions=") {
				t.Errorf("explain %s: wider than 100 columns: %s", c.args, line)
			}
		}
	}
	for _, c := range []struct{ args, says string }{
		{"twin", "ambiguous"},
		{"port twin", other.ID},
		{"host web db", "want one thing"},
		{"nobody", "nothing is known by that"},
		{"flow 0x1234", "no object and no flow"},
		{"host " + n.ID, "is no host"},
	} {
		if _, err := d.tool(append([]string{"explain"}, strings.Fields(c.args)...)...); exitStatus(err) != 2 || !strings.Contains(err.Error(), c.says) {
			t.Errorf("explain %s: status %d, error %v; want %q", c.args, exitStatus(err), err, c.says)
		}
	}
	if _, err := h1.Ofctl("add-flow", "br-int", "cookie=0xbadc0de,table=60,priority=77,actions=drop"); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"explain flow 0xbadc0de", "explain flow 0x000badc0de", "explain host compute01"} {
		d.await(args, func() error {
			text, status, err := d.answer(strings.Fields(args)...)
			if err == nil && (status != 1 || !strings.HasPrefix(text, "a foreign flow was added to br-int of host compute01")) {
				err = fmt.Errorf("status %d:\n%s", status, text)
			}
			return err
		})
	}
	if err := away.StartOVSDB(); err != nil {
		t.Fatal(err)
	}
	d.settled(away)
}

// folded is where a line was.
var folded = regexp.MustCompile(`\n +`)
