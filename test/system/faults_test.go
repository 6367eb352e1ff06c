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
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/test/demo"
	"github.com/tunbridge/tunbridge/test/testbed"
)

var update = flag.Bool("update", false, "write docs/troubleshooting.md instead of comparing with it")

const troubleshooting = "../../docs/troubleshooting.md"

// fault is something that goes wrong on the demo's deployment, and what the operator is told of it.
type fault struct {
	what string // as the documentation says it
	asks []ask  // that name the cause
	make func() error
	mend func() error // nil: it is made good by itself
	away string       // the host that does not answer meanwhile
}

// ask is one of the operator's commands, and words that its first line must have.
type ask struct {
	command string
	words   []string
}

// shown is the deployment of `tunbridge demo`, and its guests that the story is about: web and db are on one
// vxlan network and two hosts, disk is on a vlan network.
type shown struct {
	*deployment
	one, two      *testbed.Host
	web, db, disk *guest
}

// deployDemo starts what the demo starts.
func deployDemo(t *testing.T) *shown {
	t.Helper()
	d := prepare(t)
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	of, err := demo.Deploy(ctx, d.bed, program)
	if err != nil {
		t.Fatal(err)
	}
	d.place(d.bed.Underlay)
	d.api, d.ovsdb, d.dataDir, d.process = demo.API, testbed.ManagementAddr.String()+":6640", of.DataDir(), of.Controller
	if d.admin, err = inspect.NewClient("unix:" + filepath.Join(d.dataDir, "admin.sock")); err != nil {
		t.Fatal(err)
	}
	w := &shown{deployment: d, one: of.Hosts[0], two: of.Hosts[1]}
	find := func(h *testbed.Host, name string) *guest {
		var list struct{ Ports []*port }
		d.must(http.MethodGet, "/v2.0/ports?name="+name, nil, &list)
		if len(list.Ports) != 1 || h.VM(name) == nil {
			t.Fatalf("the demo has %d ports %s", len(list.Ports), name)
		}
		return &guest{h.VM(name), list.Ports[0]}
	}
	w.web, w.db, w.disk = find(w.one, "vxlan1"), find(w.two, "vxlan3"), find(w.one, "vlan1")
	return w
}

// enrol maps the physical network to a bridge of the first host.
func (w *shown) enrol(bridge string) error {
	return w.one.Enroll("tcp:"+w.ovsdb, map[string]string{"tunbridge-bridge-mappings": physical + ":" + bridge})
}

// plugged plugs web again, as it was.
func (w *shown) plugged() error {
	return errors.Join(w.web.Plug(), w.web.AddAddress(netip.PrefixFrom(w.web.address(), 24)))
}

// faults are all that are made. What one of them leaves behind is healthy again.
func (w *shown) faults() []fault {
	web, db := w.web, w.db
	vifOf := func(id string) error {
		_, err := w.one.Vsctl("set", "Interface", web.port.device(), "external_ids:iface-id="+id)
		return err
	}
	serveDHCP := func(on bool) error {
		_, err := w.call(http.MethodPut, "/v2.0/subnets/"+web.port.FixedIPs[0].SubnetID, object{"subnet": object{"enable_dhcp": on}}, nil)
		return err
	}
	link := func(state string) error {
		_, err := db.Exec("ip", "link", "set", "eth0", state)
		return err
	}
	replug := func() error { return errors.Join(web.Unplug(), w.plugged()) } // with eth0 as new
	const mine = "02:00:00:00:00:66"
	return []fault{
		{what: "The VIF is unplugged", asks: []ask{
			{"explain port vxlan1", []string{"VIF not plugged: no Interface on compute01 has iface-id"}},
			{"trace vxlan3 vxlan1", []string{"does not arrive: VIF not plugged: no Interface on compute01 has iface-id"}}},
			make: web.Unplug, mend: w.plugged},
		{what: "The VIF's `iface-id` is another", asks: []ask{
			{"explain port vxlan1", []string{"wrong iface-id: Interface " + web.port.device() + " on compute01"}},
			{"trace vxlan1 vxlan3", []string{"is not sent: wrong iface-id: Interface " + web.port.device() + " on compute01"}}},
			make: func() error { return vifOf("4c7e2d6a-0000-4000-8000-000000000000") }, mend: func() error { return vifOf(web.port.ID) }},
		{what: "The guest's device is down", asks: []ask{
			{"trace vxlan1 vxlan3", []string{"does not arrive: nobody listens at " + db.port.device(), "the device has no carrier"}}},
			make: func() error { return link("down") }, mend: func() error { return link("up") }},
		{what: "The bridge that a provider network is mapped to is not there", asks: []ask{
			{"explain port vlan1", []string{"wrong provider mapping: host compute01 has no bridge br-none"}},
			{"trace vlan1 vlan2", []string{"is not sent: wrong provider mapping: host compute01 has no bridge br-none"}}},
			make: func() error { return w.enrol("br-none") }, mend: func() error { return w.enrol("br-ex") }},
		{what: "A subnet has no DHCP", asks: []ask{
			{"explain dhcp vxlan1", []string{"DHCPv4 gives nothing: enable_dhcp is false on subnet 10.0.0.0/24"}}},
			make: func() error { return serveDHCP(false) }, mend: func() error { return serveDHCP(true) }},
		{what: "The underlay is cut", asks: []ask{
			{"explain port vxlan1", []string{"the vxlan tunnel from host compute01 to compute02 is down"}},
			{"trace vxlan1 vxlan3", []string{"does not arrive: the vxlan tunnel from host compute01 to compute02 is down"}}},
			make: w.two.LeaveUnderlay, mend: w.two.JoinUnderlay},
		{what: "The underlay's MTU is too small", asks: []ask{
			{"explain port vxlan1", []string{"the MTU is too small: the vxlan tunnel from host compute01 to compute02"}},
			{"trace vxlan1 vxlan3 --size 1600", []string{"does not arrive: the MTU is too small: the vxlan tunnel from host compute01 to compute02", "and this one has 1600"}}},
			make: func() error { return w.two.SetUnderlayMTU(1500) }, mend: func() error { return w.two.SetUnderlayMTU(testbed.UnderlayMTU) }},
		{what: "`ovs-vswitchd` of a host is stopped", asks: []ask{
			{"explain host compute02", []string{"ovs-vswitchd of host compute02 does not answer"}},
			{"trace vxlan1 vxlan3", []string{"whether it arrives cannot be told: ovs-vswitchd of host compute02 does not answer"}}},
			make: w.two.KillVswitchd, mend: w.two.StartVswitchd, away: "compute02"},
		{what: "`ovsdb-server` of a host is stopped", asks: []ask{
			{"explain host compute02", []string{"host compute02"}},
			{"trace vxlan1 vxlan3", []string{"whether it arrives cannot be told: host compute02 is not connected"}}},
			make: w.two.KillOVSDB, mend: w.two.StartOVSDB, away: "compute02"},
		{what: "A guest sends from an IP address that is not its port's", asks: []ask{
			{"explain port vxlan1", []string{"the guest spoofs:", "source address"}},
			{"trace vxlan1 vxlan3 --source-ip 10.0.0.66", []string{"does not arrive: port security of vxlan1: address is neither"}}},
			make: func() error {
				for _, args := range []string{"addr flush dev eth0", "addr add 10.0.0.66/24 dev eth0", "neigh replace 10.0.0.77 lladdr 02:00:00:00:00:77 dev eth0"} {
					if _, err := web.Exec("ip", strings.Fields(args)...); err != nil {
						return err
					}
				}
				_, err := web.Ping(netip.MustParseAddr("10.0.0.77"), 100, 5*time.Millisecond)
				return err
			}, mend: replug},
		{what: "A guest sends from a MAC address that is not its port's", asks: []ask{
			{"explain port vxlan1", []string{"the guest spoofs:", "source MAC"}},
			{"trace vxlan1 vxlan3 --source-mac " + mine, []string{"does not arrive: port security of vxlan1: source is neither"}}},
			make: func() error {
				_, err := web.Exec("ip", "link", "set", "eth0", "address", mine)
				if err == nil {
					_, err = web.Ping(netip.MustParseAddr("10.0.0.77"), 3, 10*time.Millisecond)
				}
				return err
			}, mend: replug},
		{what: "A flow is deleted with `ovs-ofctl`", asks: []ask{
			{"explain port vxlan3", []string{"a flow was deleted from, or changed on, br-int of host compute02"}}},
			make: func() error {
				_, err := w.two.Ofctl("--strict", "del-flows", "br-int", w.flowOf(w.two.Name, db.port, "l2"))
				return err
			}},
		{what: "A foreign flow is added with `ovs-ofctl`", asks: []ask{
			{"explain host compute01", []string{"a foreign flow was added to br-int of host compute01"}}},
			make: func() error {
				_, err := w.one.Ofctl("add-flow", "br-int", "table=60,priority=77,dl_dst=02:00:00:00:00:77,actions=drop")
				return err
			}},
	}
}

// What goes wrong on the demo's deployment: the first line of what the operator asks names the cause, and every
// command answers, before, meanwhile and after. docs/troubleshooting.md is made of this.
func TestFaults(t *testing.T) {
	testbed.RequireRoot(t)
	t.Parallel()
	w := deployDemo(t)
	w.healthy()
	w.answers(nil)
	n := network{Name: "vxlan"}
	w.tellsTheWalk(w.web.port, &n)

	var doc strings.Builder
	doc.WriteString(troubleshootingHead)
	faults := w.faults()
	for i := range faults {
		f := &faults[i]
		if err := f.make(); err != nil {
			t.Fatalf("%s: %v", f.what, err)
		}
		what := f.what
		for _, a := range f.asks {
			line := w.names(f.what, a)
			fmt.Fprintf(&doc, "| %s | `tunbridge %s` | %s |\n", what, a.command, w.anonymous(line))
			what = ""
		}
		w.answers(f)
		if f.mend == nil {
			continue
		}
		if err := f.mend(); err != nil {
			t.Fatalf("mending %s: %v", f.what, err)
		}
		w.healthy()
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

// healthy waits until nothing is wrong with anything, and frames come where they should.
func (w *shown) healthy() {
	w.t.Helper()
	for _, what := range []string{"vxlan1", "vxlan3", "vlan1", "vxlan", "compute01", "compute02"} {
		w.await("nothing wrong with "+what, func() error {
			e, err := w.story("", what)
			if err == nil && e.Wrong != "" {
				err = errors.New(e.Wrong)
			}
			return err
		})
	}
	for _, command := range []string{"trace vxlan1 vxlan3", "trace vxlan3 vxlan1", "trace vlan1 vlan2"} {
		w.await(command, func() error {
			text, status, err := w.answer(strings.Fields(command)...)
			if err == nil && (status != 0 || !strings.HasPrefix(text, "arrives at ")) {
				err = fmt.Errorf("status %d: %s", status, text)
			}
			return err
		})
	}
}

// names waits until a command names the cause of a fault in its first line, and exits with status 1.
func (w *shown) names(what string, a ask) (line string) {
	w.t.Helper()
	w.await(what+", asked by "+a.command, func() error {
		text, status, err := w.answer(strings.Fields(a.command)...)
		if err != nil {
			return err
		}
		if line, err = firstLine(text, a.words[:1]); err != nil {
			return err
		}
		for _, word := range a.words[1:] { // perhaps behind a fold
			if !strings.Contains(line, word) {
				return fmt.Errorf("it lacks %q: %s", word, line)
			}
		}
		return is(status, 1)
	})
	return line
}

// answers runs all of the operator's commands. Each is answered; with status 2 only while a host is away, which
// is then named. Where nothing is wrong (no fault), none finds anything.
func (w *shown) answers(f *fault) {
	w.t.Helper()
	commands := []string{"hosts", "hosts compute02", "flows compute01", "flows compute02", "diff compute02", "verify", "leases", "explain port vxlan3", "explain network vxlan",
		"trace vxlan3 vxlan1", "plan DELETE /v2.0/ports/" + w.web.port.ID, "capture vxlan1 --for 300ms", "top --once --interval 100ms"}
	const unasked = "explain metadata vxlan1" // the demo's guests do not ask for it
	if f == nil {
		commands = append(commands, "explain host compute01", "explain flow "+w.disk.port.ID, "explain dhcp vxlan1", unasked, "explain "+w.disk.port.address(), "trace vlan1 vlan2")
	}
	var g errgroup.Group
	g.SetLimit(4)
	for _, command := range commands {
		g.Go(func() error {
			args := strings.Fields(command)
			run := w.tool
			if args[0] == "plan" {
				run = func(args ...string) (string, error) {
					return w.where.Exec(program, append(args, "--api=http://"+w.api)...)
				}
			}
			text, err := run(args...)
			status := exitStatus(err)
			switch {
			case status < 0 || status > 2, status == 1 && f == nil && command != unasked, status == 2 && (f == nil || f.away == ""):
				return fmt.Errorf("%s: %w\n%s", command, err, text)
			case status == 2 && !strings.Contains(err.Error(), f.away):
				return fmt.Errorf("%s does not name %s: %w\n%s", command, f.away, err, text)
			case status < 2 && text == "" && args[0] != "capture":
				return fmt.Errorf("%s: nothing", command)
			}
			if f != nil || args[0] == "capture" {
				return nil
			}
			if text, err = run(append(args, "--json")...); !json.Valid([]byte(text)) {
				return fmt.Errorf("%s --json: %w\n%s", command, err, text)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		what := "in order"
		if f != nil {
			what = f.what
		}
		w.t.Errorf("%s: %v", what, err)
	}
}

// anonymous takes out of a line what is another each time.
func (w *shown) anonymous(line string) string {
	for id, name := range map[string]string{w.web.port.ID: "ID", w.db.port.ID: "ID", w.disk.port.ID: "ID", w.web.port.FixedIPs[0].SubnetID: "SUBNET-ID",
		w.web.port.device(): "TAP", w.db.port.device(): "TAP", w.web.port.MAC: "MAC"} {
		line = strings.ReplaceAll(line, id, name)
	}
	line = regexp.MustCompile(`undone: .*`).ReplaceAllString(line, "undone: …")
	line = regexp.MustCompile(`of up to \d+ bytes`).ReplaceAllString(line, "of up to 1450 bytes")         // less where probes were lost
	line = regexp.MustCompile(`network (vxlan|twin) needs`).ReplaceAllString(line, "network vxlan needs") // both do
	line = regexp.MustCompile(`172\.31\.0\.\d+`).ReplaceAllString(line, "172.31.0.2")
	return regexp.MustCompile(`\d+ of its packets`).ReplaceAllString(line, "3 of its packets")
}

const troubleshootingHead = `# Troubleshooting

<!-- Made by TestFaults (test/system/faults_test.go -update), which makes each fault on the demo's deployment. -->

` + "`tunbridge explain`" + ` takes whatever is at hand: an ID or its beginning, a name, the instance's ID, a MAC or IP
address, a cookie of a flow, or HOST:OFPORT. Its first line says what is wrong, its other lines each step of
the way with its time. ` + "`tunbridge trace`" + ` takes two ports, and its first line says what stops a packet
between them. Exit status: 0 nothing is wrong, 1 something is, 2 there was no answer.

The names are those of ` + "`tunbridge demo --keep`" + `: vxlan1 is on compute01, vxlan3 on compute02.

| What goes wrong | Ask | First line of the answer |
|---|---|---|
`

const troubleshootingTail = `
Changes that somebody else makes to flows are undone at once; for ten minutes after that ` + "`explain`" + ` counts
them as wrong, of the host and of the port that they concern.
`
