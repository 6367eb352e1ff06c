package system

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// A bucket put into a network's flood set by hand takes its frames to another network's port. Neither the flow
// monitor nor Open vSwitch tells of it: verify finds it, and names both.
func TestVerify(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	hosts := d.addHosts("compute01", "compute02")
	h := hosts[0]
	blue, red := d.addNetwork("blue", "10.0.0.0/24"), d.addNetwork("red", "10.0.0.0/24")
	a, b := d.addPort(blue, h.Name), d.addPort(red, h.Name)
	d.addPort(blue, "compute02")
	d.plug(h, a, b)
	d.become("ACTIVE", a, b)
	d.settled(h)

	holds := func() {
		t.Helper()
		d.await("all to hold", func() error {
			text, err := d.tool("verify")
			if err == nil && (!strings.HasPrefix(text, "all holds: ") || !strings.Contains(text, "of 2 hosts")) {
				err = fmt.Errorf("verify says %s", text)
			}
			return err
		})
	}
	holds()

	state, err := d.host(h.Name)
	if err != nil {
		t.Fatal(err)
	}
	vlan, ofport := 0, 0
	for _, v := range state.LocalVLANs {
		if v.NetworkID == blue.ID {
			vlan = int(v.VLAN)
		}
	}
	for _, v := range state.VIFs {
		if v.PortID == b.ID {
			ofport = v.OFPort
		}
	}
	group := fmt.Sprintf("group_id=%d,command_bucket_id=", vlan)
	if _, err := h.Ofctl("insert-buckets", "br-int", group+fmt.Sprintf("last,bucket=bucket_id:9999,actions=set_field:%d->reg7,resubmit(,90)", ofport)); err != nil {
		t.Fatal(err)
	}
	text, err := d.tool("verify")
	if err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("verify: error %v\n%s", err, text)
	}
	text, _ = d.where.Exec("sh", "-c", fmt.Sprintf("%s verify --json --admin=unix:%s || true", program, filepath.Join(d.dataDir, "admin.sock")))
	var v inspect.Verification
	if err := json.Unmarshal([]byte(text), &v); err != nil || len(v.Violations) == 0 {
		t.Fatalf("verify --json: error %v\n%s", err, text)
	}
	first := v.Violations[0]
	if first.Kind != inspect.ViolationIsolation || first.Host != h.Name || first.Bridge != "br-int" || !strings.Contains(first.Where, "bucket_id:9999") {
		t.Errorf("the first violation is %+v", first)
	}
	for _, name := range []string{"blue (" + blue.ID + ")", "(" + b.ID + ")", "red (" + red.ID + ")"} {
		if !strings.Contains(first.Text, name) {
			t.Errorf("the first violation does not name %s: %s", name, first.Text)
		}
	}
	if _, err := h.Ofctl("remove-buckets", "br-int", group+"9999"); err != nil {
		t.Fatal(err)
	}
	holds()

	if text, err := d.tool("verify", "compute99"); err == nil || !strings.Contains(err.Error(), "exit status 2") {
		t.Errorf("of an unknown host: %q, error %v", text, err)
	}
	d.flowsAreChosen(h.Name, a, blue, red)
	for _, bridge := range []string{"br-int", "br-tun"} {
		for _, version := range []string{"OpenFlow10", "OpenFlow15"} {
			dump, err := h.Exec("ovs-ofctl", "-O", version, "--no-names", "dump-flows", bridge)
			if err != nil {
				t.Fatal(err)
			}
			d.savedFlowsAreOurs(filepath.Join(t.TempDir(), bridge+" "+version), bridge, dump)
		}
	}

	// Of a host that does not answer nothing is known, and that is said.
	if err := hosts[1].KillOVSDB(); err != nil {
		t.Fatal(err)
	}
	d.await("a host that cannot be verified", func() error {
		text, err := d.tool("verify")
		if exitStatus(err) != 2 || !strings.Contains(text, "host compute02 could not be verified: ") || !strings.Contains(text, "what could be looked at holds: ") || !strings.Contains(text, "of 1 hosts") {
			return fmt.Errorf("error %v: %s", err, text)
		}
		return nil
	})
}

// list is what `tunbridge flows` prints for the arguments; errors are the test's.
func (d *deployment) list(args ...string) (list []inspect.Flow) {
	d.t.Helper()
	text, err := d.tool(append([]string{"flows", "--json"}, args...)...)
	if err == nil {
		err = json.Unmarshal([]byte(text), &list)
	}
	if err != nil {
		d.t.Errorf("flows %s: %v\n%s", args, err, text)
	}
	return list
}

// flowsAreChosen checks what the flags of `tunbridge flows` leave.
func (d *deployment) flowsAreChosen(host string, p *port, n, other *network) {
	d.t.Helper()
	for _, c := range []struct {
		args []string
		is   func(*inspect.Flow) bool
	}{
		{[]string{"--port", p.ID, "--network", n.ID}, func(f *inspect.Flow) bool { return f.ObjectID == p.ID }},
		{[]string{"--port", p.MAC}, func(f *inspect.Flow) bool { return f.ObjectID == p.ID }},
		{[]string{"--network", "blue"}, func(f *inspect.Flow) bool { return f.NetworkID == n.ID }},
		{[]string{"--network", "red"}, func(f *inspect.Flow) bool { return f.NetworkID == other.ID }},
		{[]string{"--owner", "l2pop", "--bridge", "br-tun"}, func(f *inspect.Flow) bool { return f.Owner == "l2pop" && f.Bridge == "br-tun" }},
		{[]string{"--table", "l2"}, func(f *inspect.Flow) bool { return f.Table == 60 }},
		{[]string{"--table", "0", "--object", p.ID[:8]}, func(f *inspect.Flow) bool { return f.Table == 0 && f.ObjectID == p.ID }},
	} {
		list := d.list(append(c.args, host)...)
		if len(list) == 0 {
			d.t.Errorf("flows %s: none", c.args)
		}
		for i := range list {
			if !c.is(&list[i]) {
				d.t.Errorf("flows %s: %+v", c.args, list[i])
			}
		}
	}
	if text, err := d.tool("flows", host, "--port", "blue"); err == nil || !strings.Contains(err.Error(), "no port, but a network") {
		d.t.Errorf("flows of a port that is a network: %q, error %v", text, err)
	}
	if text, err := d.tool("flows", host, "--stale"); err != nil {
		d.t.Errorf("flows --stale: %v\n%s", err, text)
	}
}

// savedFlowsAreOurs reads a dump again, and finds the one flow in it that is not ours.
func (d *deployment) savedFlowsAreOurs(file, bridge, dump string) {
	d.t.Helper()
	what := filepath.Base(file)
	save := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			d.t.Fatal(err)
		}
	}
	save(dump)
	list := d.list("--from", file)
	if len(list) != strings.Count(dump, "cookie=") {
		d.t.Errorf("%s: %d flows are read of\n%s", what, len(list), dump)
	}
	for _, f := range list {
		if f.Bridge != bridge || f.Stale || f.TableName == "" || f.Kind == "" {
			d.t.Errorf("%s: %+v", what, f)
		}
	}
	save(dump + " cookie=0x8a1b2c3d4e5f6071, duration=1.0s, table=24, n_packets=0, n_bytes=0, priority=2,arp,in_port=3,arp_spa=10.0.0.5 actions=resubmit(,25)\n")
	if text, err := d.tool("flows", "--from", file, "--stale"); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		d.t.Errorf("%s: a foreign flow: %q, error %v", what, text, err)
	}
	if list := d.list("--from", file, "--owner", "foreign"); len(list) != 1 || list[0].Table != 24 || list[0].Actions != "resubmit(,25)" {
		d.t.Errorf("%s: the foreign flow: %+v", what, list)
	}
}
