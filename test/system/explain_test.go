package system

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/test/testbed"
)

var update = flag.Bool("update", false, "write docs/troubleshooting.md instead of comparing with it")

const troubleshooting = "../../docs/troubleshooting.md"

// fault is something that goes wrong on a deployment, and what the operator is told of it.
type fault struct {
	what    string   // as the documentation says it
	command []string // that names the cause
	words   []string // of the cause, in the first line
	make    func() error
	mend    func() error // nil: it is made good by itself
}

// answer runs one of the operator's commands, which may find something, and takes its text and status.
func (d *deployment) answer(args ...string) (text string, status int, err error) {
	text, err = d.tool(args...)
	if status = exitStatus(err); status > 0 {
		err = nil
	}
	return text, status, err
}

// exitStatus is that of a command, by its error; -1 if it did not run to its end.
func exitStatus(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// story is what explain says of something.
func (d *deployment) story(subject, what string) (inspect.Explanation, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return d.admin.Explain(ctx, subject, what)
}

// What goes wrong, each made on real hosts: the first line of what the operator asks names the
// cause. docs/troubleshooting.md is made of this.
func TestFaults(t *testing.T) {
	testbed.RequireRoot(t)
	t.Parallel()
	d := prepare(t)
	hosts, err := d.bed.AddHosts("compute01", "compute02")
	if err != nil {
		t.Fatal(err)
	}
	d.onUnderlay(underlayMTU, "--probe-interval=1s", "--vlan-ranges="+physical+":100:199")
	d.serve()
	one, two := hosts[0], hosts[1]
	if _, err := one.Vsctl("add-br", "br-ex", "--", "set", "Bridge", "br-ex", "datapath_type=netdev"); err != nil {
		t.Fatal(err)
	}
	mapped := func(bridge string) map[string]string {
		return map[string]string{"tunbridge-bridge-mappings": physical + ":" + bridge}
	}
	if err := one.Enroll("tcp:"+d.ovsdb, mapped("br-ex")); err != nil {
		t.Fatal(err)
	}
	if err := two.Enroll("tcp:"+d.ovsdb, nil); err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		d.quiet(h.Name)
	}
	blue, red := d.addNetwork("blue", "10.0.0.0/24"), d.networkOf("vlan", "red", "10.1.0.0/24")
	vms := map[string]*testbed.VM{}
	plug := func(name string, n *network, h *testbed.Host) *port {
		p := d.addPort(n, h.Name)
		d.must(http.MethodPut, "/v2.0/ports/"+p.ID, object{"port": object{"name": name}}, nil)
		vm, err := h.AddVM(name, p.vif())
		if err != nil {
			t.Fatal(err)
		}
		vms[name] = vm
		return p
	}
	web, db, disk := plug("web", blue, one), plug("db", blue, two), plug("disk", red, one)
	if err := vms["web"].AddAddress(netip.MustParsePrefix(web.address() + "/24")); err != nil {
		t.Fatal(err)
	}
	d.become("ACTIVE", web, db, disk)
	healthy := func(what ...string) {
		t.Helper()
		d.await(fmt.Sprint("nothing wrong with ", what), func() error {
			for _, w := range what {
				if e, err := d.story("", w); err != nil || e.Wrong != "" {
					return fmt.Errorf("%s: %q, error %w", w, e.Wrong, err)
				}
			}
			return nil
		})
	}
	healthy("web", "db", "disk", "compute01", "compute02", "10.1.0.0/24")
	for _, args := range [][]string{{"hosts"}, {"hosts", "compute01"}, {"flows", "compute01"}, {"diff", "compute01"}, {"leases"},
		{"explain", "web"}, {"explain", "port", db.address()}, {"explain", "network", "blue"}, {"explain", "host", "compute02"}, {"explain", "flow", disk.ID}} {
		text, status, err := d.answer(args...)
		if err != nil || status != 0 || text == "" {
			t.Errorf("%s: status %d, error %v\n%s", args, status, err, text)
		}
		if text, status, err = d.answer(append(args, "--json")...); err != nil || status != 0 || !json.Valid([]byte(text)) {
			t.Errorf("%s --json: status %d, error %v\n%s", args, status, err, text)
		}
	}
	d.tellsTheWalk(web, blue)

	subnet := web.FixedIPs[0].SubnetID
	serveDHCP := func(on bool) error {
		_, err := d.call(http.MethodPut, "/v2.0/subnets/"+subnet, object{"subnet": object{"enable_dhcp": on}}, nil)
		return err
	}
	name := func(id string) error {
		_, err := one.Vsctl("set", "Interface", web.device(), "external_ids:iface-id="+id)
		return err
	}
	enrol := func(bridge string) error { return one.Enroll("tcp:"+d.ovsdb, mapped(bridge)) }
	plugged := func() error {
		return errors.Join(vms["web"].Plug(), vms["web"].AddAddress(netip.MustParsePrefix(web.address()+"/24")))
	}
	replug := func() error { return errors.Join(vms["web"].Unplug(), plugged()) } // with eth0 as new
	const mine = "02:00:00:00:00:66"
	faults := []fault{
		{"The VIF is unplugged", []string{"explain", "port", "web"}, []string{"VIF not plugged: no Interface on compute01 has iface-id"},
			vms["web"].Unplug, plugged},
		{"The VIF's `iface-id` is another", []string{"explain", "port", "web"}, []string{"wrong iface-id: Interface " + web.device() + " on compute01"},
			func() error { return name("4c7e2d6a-0000-4000-8000-000000000000") }, func() error { return name(web.ID) }},
		{"The bridge that a provider network is mapped to is not there", []string{"explain", "port", "disk"}, []string{"wrong provider mapping: host compute01 has no bridge br-none"},
			func() error { return enrol("br-none") }, func() error { return enrol("br-ex") }},
		{"A subnet has no DHCP", []string{"explain", "dhcp", "web"}, []string{"DHCPv4 gives nothing: enable_dhcp is false on subnet 10.0.0.0/24"},
			func() error { return serveDHCP(false) }, func() error { return serveDHCP(true) }},
		{"The underlay is cut", []string{"explain", "port", "web"}, []string{"the vxlan tunnel from host compute01 to compute02 is down"}, two.LeaveUnderlay, two.JoinUnderlay},
		{"The underlay's MTU is too small", []string{"explain", "port", "web"}, []string{"the MTU is too small: the vxlan tunnel from host compute01 to compute02"},
			func() error { return two.SetUnderlayMTU(1500) }, func() error { return two.SetUnderlayMTU(testbed.UnderlayMTU) }},
		{"`ovs-vswitchd` of a host is stopped", []string{"explain", "host", "compute02"}, []string{"ovs-vswitchd of host compute02 does not answer"}, two.KillVswitchd, two.StartVswitchd},
		{"A guest sends from an IP address that is not its port's", []string{"explain", "port", "web"}, []string{"the guest spoofs:", "source address"},
			func() error {
				for _, args := range []string{"addr flush dev eth0", "addr add 10.0.0.66/24 dev eth0", "neigh replace 10.0.0.77 lladdr 02:00:00:00:00:77 dev eth0"} {
					if _, err := vms["web"].Exec("ip", strings.Fields(args)...); err != nil {
						return err
					}
				}
				_, err := vms["web"].Ping(netip.MustParseAddr("10.0.0.77"), 100, 5*time.Millisecond)
				return err
			}, replug},
		{"A guest sends from a MAC address that is not its port's", []string{"explain", "port", "web"}, []string{"the guest spoofs:", "source MAC"},
			func() error {
				_, err := vms["web"].Exec("ip", "link", "set", "eth0", "address", mine)
				if err == nil {
					_, err = vms["web"].Ping(netip.MustParseAddr("10.0.0.77"), 3, 10*time.Millisecond)
				}
				return err
			}, replug},
		{"A flow is deleted with `ovs-ofctl`", []string{"explain", "port", "db"}, []string{"a flow was deleted from, or changed on, br-int of host compute02"},
			func() error {
				_, err := two.Ofctl("--strict", "del-flows", "br-int", d.flowOf(two.Name, db, "l2"))
				return err
			}, nil},
		{"A foreign flow is added with `ovs-ofctl`", []string{"explain", "host", "compute01"}, []string{"a foreign flow was added to br-int of host compute01"},
			func() error {
				_, err := one.Ofctl("add-flow", "br-int", "table=60,priority=77,dl_dst=02:00:00:00:00:77,actions=drop")
				return err
			}, nil},
	}
	var doc strings.Builder
	doc.WriteString(troubleshootingHead)
	for i := range faults {
		f := &faults[i]
		if err := f.make(); err != nil {
			t.Fatalf("%s: %v", f.what, err)
		}
		var line string
		d.await(f.what+" named", func() error {
			text, status, err := d.answer(f.command...)
			if err == nil {
				line, err = firstLine(text, f.words)
			}
			if err == nil && status != 1 {
				err = fmt.Errorf("exit status %d", status)
			}
			return err
		})
		line = d.anonymous(line, map[string]string{web.ID: "ID", db.ID: "ID", disk.ID: "ID", subnet: "SUBNET-ID", web.device(): "TAP"})
		fmt.Fprintf(&doc, "| %s | `tunbridge %s` | %s |\n", f.what, strings.Join(f.command, " "), line)
		if f.mend == nil {
			continue
		}
		if err := f.mend(); err != nil {
			t.Fatalf("mending %s: %v", f.what, err)
		}
		healthy("web", "db", "disk", "compute01", "compute02")
	}
	doc.WriteString(troubleshootingTail)
	if *update {
		if err := os.WriteFile(filepath.FromSlash(troubleshooting), []byte(doc.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if was, err := os.ReadFile(filepath.FromSlash(troubleshooting)); err != nil || string(was) != doc.String() {
		t.Errorf("docs/troubleshooting.md is not what this test finds (error %v); go test ./test/system -run TestFaults -update makes it:\n%s", err, doc.String())
	}
}

// tellsTheWalk looks at the story of a port that works: each step with its time, in their order.
func (d *deployment) tellsTheWalk(p *port, n *network) {
	d.t.Helper()
	var e inspect.Explanation
	d.await("the tunnels in the story", func() (err error) {
		if e, err = d.story("port", p.ID); err == nil && !strings.HasPrefix(e.Steps[len(e.Steps)-1].Text, "the vxlan tunnel from host") {
			err = fmt.Errorf("it ends with %q", e.Steps[len(e.Steps)-1].Text)
		}
		return err
	})
	steps := []string{"created on vxlan network " + n.Name, "bound to host", "its database is connected", "VIF seen: Interface " + p.device(), "wired on host", "flows sent", "flows acknowledged",
		"the port is ACTIVE", "are installed", "known to the other hosts", "the vxlan tunnel from host compute01 to compute02 carries packets"}
	timed := map[string]bool{"created on": true, "VIF seen": true, "wired on": true, "flows sent": true, "flows ackn": true, "the port i": true}
	last := e.Steps[0].At
	for _, s := range e.Steps {
		if len(steps) > 0 && strings.Contains(s.Text, steps[0]) {
			steps = steps[1:]
		}
		if !timed[s.Text[:min(len(s.Text), 10)]] && !timed[s.Text[:min(len(s.Text), 8)]] {
			continue
		}
		if s.At.Before(last) {
			d.t.Errorf("%q at %s, before what comes before it", s.Text, s.At)
		}
		last = s.At
	}
	if len(steps) > 0 || e.Subject != inspect.KindPort || e.Object.ID != p.ID {
		d.t.Errorf("the story of a port lacks %q:\n%+v", steps, e)
	}
}

// flowOf is a flow of a port in a table, as ovs-ofctl takes it.
func (d *deployment) flowOf(host string, p *port, table string) string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	list, err := d.admin.Flows(ctx, host)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, f := range list {
		if f.ObjectID == p.ID && f.TableName == table {
			return fmt.Sprintf("table=%d,priority=%d,%s", f.Table, f.Priority, f.Match)
		}
	}
	d.t.Fatalf("port %s has no flow in table %s of host %s", p.ID, table, host)
	return ""
}

// firstLine is the first line of a text, with what was folded; it begins with all the words, or that is an error.
func firstLine(text string, words []string) (string, error) {
	lines := strings.Split(text, "\n")
	for _, w := range words {
		if !strings.Contains(lines[0], w) {
			return "", fmt.Errorf("its first line lacks %q:\n%s", w, text)
		}
	}
	line := lines[0]
	for _, more := range lines[1:] {
		if !strings.HasPrefix(more, "    ") {
			break
		}
		line += " " + strings.TrimSpace(more)
	}
	return line, nil
}

// anonymous takes out of a line what is another each time.
func (d *deployment) anonymous(line string, names map[string]string) string {
	for id, name := range names {
		line = strings.ReplaceAll(line, id, name)
	}
	line = regexp.MustCompile(`undone: .*`).ReplaceAllString(line, "undone: …")
	line = regexp.MustCompile(`[0-9a-f]{2}(:[0-9a-f]{2}){5}`).ReplaceAllString(line, "MAC")
	line = regexp.MustCompile(`of 10\.0\.0\.\d+$`).ReplaceAllString(line, "of 10.0.0.5")
	line = regexp.MustCompile(`of up to \d+ bytes`).ReplaceAllString(line, "of up to 1450 bytes") // less where probes were lost
	line = regexp.MustCompile(`172\.31\.0\.\d+`).ReplaceAllString(line, "172.31.0.2")
	return regexp.MustCompile(`\d+ of its packets`).ReplaceAllString(line, "3 of its packets")
}

const troubleshootingHead = `# Troubleshooting

<!-- Made by TestFaults (test/system/explain_test.go -update), which makes each fault on real hosts. -->

` + "`tunbridge explain`" + ` takes whatever is at hand: an ID or its beginning, a name, the instance's ID, a MAC or IP
address, a cookie of a flow, or HOST:OFPORT. Its first line says what is wrong, its other lines each step of
the way with its time. Exit status: 0 nothing is wrong, 1 something is, 2 there was no answer.

| What goes wrong | Ask | First line of the answer |
|---|---|---|
`

const troubleshootingTail = `
Changes that somebody else makes to flows are undone at once; for ten minutes after that ` + "`explain`" + ` counts
them as wrong, of the host and of the port that they concern.
`
