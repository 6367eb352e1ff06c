package system

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// tool runs one of the operator's commands.
func (d *deployment) tool(args ...string) (string, error) {
	return d.where.Exec(program, append(args, "--admin=unix:"+filepath.Join(d.dataDir, "admin.sock"))...)
}

// The operator looks around, with this program's commands and with Open vSwitch's own.
func TestOperatorLooksAround(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	h := d.addHosts("compute01")[0]
	n := d.addNetwork("blue", "10.0.0.0/24")
	p := d.addPort(n, h.Name)
	d.plug(h, p)
	d.become("ACTIVE", p)
	d.settled(h)

	for _, c := range []struct {
		args []string
		has  []string
	}{
		{[]string{"hosts"}, []string{"compute01"}},
		{[]string{"flows", "compute01"}, []string{"classify", p.ID, "blue"}},
		{[]string{"diff", "compute01"}, []string{"installed is what is wanted"}},
	} {
		text, err := d.tool(c.args...)
		if err != nil {
			t.Error(err)
		}
		for _, w := range c.has {
			if !strings.Contains(text, w) {
				t.Errorf("%s does not mention %s:\n%s", c.args, w, text)
			}
		}
		if text, err = d.tool(append(c.args, "--json")...); err != nil || !json.Valid([]byte(text)) {
			t.Errorf("%s --json: error %v, printed\n%s", c.args, err, text)
		}
	}
	if text, err := d.tool("diff", "compute99"); err == nil || !strings.Contains(err.Error(), "no host of that name is enrolled") {
		t.Errorf("diff of an unknown host: %q, error %v", text, err)
	}
	var hosts []inspect.Host
	text, err := d.tool("hosts", "--json")
	if err == nil {
		err = json.Unmarshal([]byte(text), &hosts)
	}
	if err != nil || len(hosts) != 1 || len(hosts[0].LocalVLANs) != 1 || hosts[0].LocalVLANs[0].NetworkName != "blue" {
		t.Fatalf("hosts: %+v, error %v", hosts, err)
	}
	if tag, err := h.Vsctl("get", "Port", p.device(), "tag"); err != nil || tag != fmt.Sprint(hosts[0].LocalVLANs[0].VLAN) {
		t.Errorf("the VIF has tag %s, error %v, and the network local VLAN %d", tag, err, hosts[0].LocalVLANs[0].VLAN)
	}

	plain, err := h.Exec("ovs-ofctl", "dump-flows", "br-int")
	if err != nil || !strings.Contains(plain, "cookie=") {
		t.Errorf("ovs-ofctl dump-flows br-int: error %v\n%s", err, plain)
	}
	if text, err = h.DumpFlows("br-int"); err != nil || !strings.Contains(text, `table="port_security_kind"`) {
		t.Errorf("tables have no names, error %v:\n%s", err, text)
	}
	for _, id := range []string{n.ID, p.ID} {
		if begins := strings.ReplaceAll(id, "-", "")[:12]; !regexp.MustCompile(`cookie=0x[0-9a-f]+` + begins).MatchString(plain) {
			t.Errorf("no cookie ends like the beginning of %s:\n%s", id, plain)
		}
	}
}

// What an operator breaks on a host is made again.
func TestBridgesAreBroken(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	hosts := d.addHosts("compute01", "compute02")
	h, other := hosts[0], hosts[1]
	n := d.addNetwork("blue", "10.0.0.0/24")
	a, b := d.addPort(n, h.Name), d.addPort(n, other.Name)
	d.plug(h, a)
	d.plug(other, b)
	d.become("ACTIVE", a, b)
	d.settled(hosts...)
	identity := func() string { // as the switch says it: in the database an old one may stand
		text, _ := h.Ofctl("show", "br-int")
		return regexp.MustCompile(`dpid:\S+`).FindString(text)
	}
	first := identity()
	for _, args := range []string{
		"del-controller br-int",
		"del-br br-tun",
		"del-port br-int patch-tun",
		"del-port br-tun vxlan-tb",
		"set-fail-mode br-int standalone",
		"set Bridge br-int other_config:datapath-id=00000000000000ff",
		"set-controller br-tun tcp:127.0.0.1:9",
		"remove Port " + a.device() + " tag 1",
		"set Port " + a.device() + " tag=77",
	} {
		if _, err := h.Vsctl(strings.Fields(args)...); err != nil {
			t.Errorf("%s: %v", args, err)
			continue
		}
		d.await("making good of "+args, func() error {
			state, err := d.host(h.Name)
			if err == nil {
				err = unsettled(state)
			}
			if err == nil {
				err = is(d.sends(h, a, b.MAC), through(other, n))
			}
			if err == nil {
				bridges, _ := h.Vsctl("list-br")
				err = is(bridges, "br-int\nbr-tun")
			}
			if err == nil {
				mode, _ := h.Vsctl("get-fail-mode", "br-int")
				err = is(mode, "secure")
			}
			if err == nil {
				tag, _ := h.Vsctl("get", "Port", a.device(), "tag")
				err = is(tag, fmt.Sprint(state.LocalVLANs[0].VLAN))
			}
			if err == nil {
				err = is(identity(), first)
			}
			for _, bridge := range []string{"br-int", "br-tun"} {
				if err == nil {
					target, _ := h.Vsctl("get-controller", bridge)
					err = is(target, "tcp:"+d.openflow)
				}
			}
			return err
		})
		d.become("ACTIVE", a)
	}
}

// A host's description is corrected while it is connected.
func TestHostDescribesItself(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	hosts := d.addHosts("compute01", "compute02")
	h, other := hosts[0], hosts[1]
	n := d.addNetwork("blue", "10.0.0.0/24")
	a, b := d.addPort(n, h.Name), d.addPort(n, other.Name)
	d.plug(h, a)
	d.plug(other, b)
	d.become("ACTIVE", a, b)
	d.settled(hosts...)
	describe := func(settings ...string) {
		t.Helper()
		if _, err := h.Vsctl(append([]string{"set", "Open_vSwitch", "."}, settings...)...); err != nil {
			t.Fatal(err)
		}
	}
	said := func(word string) {
		t.Helper()
		d.await("an error about "+word, func() error {
			state, err := d.host(h.Name)
			if err == nil && !strings.Contains(state.LastError, word) {
				err = fmt.Errorf("the error is %q", state.LastError)
			}
			return err
		})
	}
	describe("external_ids:tunbridge-encap-ip=nonsense")
	said("nonsense")
	describe("external_ids:tunbridge-encap-ip=172.31.9.9")
	d.settled(hosts...)
	d.await("the new address in the other host's flows", func() error {
		return is(d.sends(other, b, a.MAC), fmt.Sprintf("172.31.9.9/%d", n.VNI))
	})
	if got := d.went(h, "br-tun", fmt.Sprintf("in_port=vxlan-tb,tun_id=%d,tun_src=%s,dl_src=%s,dl_dst=%s", n.VNI, other.Encap, b.MAC, a.MAC)); got != a.device() {
		t.Errorf("a frame from the other host went to %q", got)
	}
	if got := d.went(h, "br-tun", fmt.Sprintf("in_port=vxlan-tb,tun_id=%d,tun_src=172.31.77.77,dl_src=%s,dl_dst=%s", n.VNI, b.MAC, a.MAC)); got != "" {
		t.Errorf("a frame from a stranger went to %q", got)
	}
	describe("external_ids:hostname=compute02") // somebody else's
	said("compute02")
	describe("external_ids:hostname=compute01")
	d.settled(hosts...)
	d.become("ACTIVE", a, b)

	local, _ := d.host(h.Name)
	if i := slices.IndexFunc(local.VIFs, func(v inspect.VIF) bool { return v.Wired }); i < 0 {
		t.Errorf("no VIF is wired: %+v", local)
	}
}
