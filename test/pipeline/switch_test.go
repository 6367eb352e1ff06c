package pipeline

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
	"github.com/tunbridge/tunbridge/test/testbed"
)

// realSwitch is a host's Open vSwitch with dummies for devices, named v11 for the VIF on port 11.
type realSwitch struct {
	*testbed.CheapHost
	t *testing.T
}

// newSwitches starts one switch for each compiled host, plugs its VIFs, and installs what is wanted there.
func newSwitches(t *testing.T, top *topology, wanted map[string]*flows.Compiler) map[string]*realSwitch {
	t.Helper()
	switches := emptySwitches(t, wanted)
	for name, s := range switches {
		for _, p := range top.ports {
			if at := top.vifs[p.ID]; p.HostID == name && at.ofport != 0 {
				s.vsctl("add-port br-int v%d -- set Interface v%d type=dummy ofport_request=%d", at.ofport, at.ofport, at.ofport)
			}
		}
		s.install(wanted[name])
	}
	return switches
}

// emptySwitches starts one switch for each compiled host, without VIFs or flows.
func emptySwitches(t *testing.T, wanted map[string]*flows.Compiler) map[string]*realSwitch {
	t.Helper()
	bed, err := testbed.New(testbed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	})
	switches := map[string]*realSwitch{}
	for name := range wanted {
		host, err := bed.AddCheapHost(name)
		if err != nil {
			t.Fatal(err)
		}
		s := &realSwitch{host, t}
		s.vsctl("add-br br-int -- set Bridge br-int datapath_type=system fail_mode=secure")
		s.vsctl("add-br br-tun -- set Bridge br-tun datapath_type=system fail_mode=secure")
		for _, table := range flows.Pipeline() {
			if table.Prefixes != nil {
				s.vsctl("-- --id=@t create Flow_Table prefixes=%s -- set Bridge %s flow_tables:%d=@t", strings.Join(table.Prefixes, ","), table.Bridge, table.Number)
			}
		}
		s.vsctl("add-port br-int patch-tun -- set Interface patch-tun type=patch options:peer=patch-int ofport_request=%d", bridgePorts.PatchTun)
		s.vsctl("add-port br-tun patch-int -- set Interface patch-int type=patch options:peer=patch-tun ofport_request=%d", bridgePorts.PatchInt)
		for _, kind := range []string{model.TypeVXLAN, model.TypeGRE, model.TypeGeneve} {
			s.vsctl("add-port br-tun %s -- set Interface %s type=%s options:key=flow options:remote_ip=flow ofport_request=%d", kind, kind, kind, bridgePorts.Tunnel(kind))
		}
		s.vsctl("add-port br-int uplink -- set Interface uplink type=dummy ofport_request=%d", uplink)
		switches[name] = s
	}
	return switches
}

func (s *realSwitch) vsctl(format string, args ...any) {
	s.t.Helper()
	if _, err := s.Vsctl(strings.Fields(fmt.Sprintf(format, args...))...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *realSwitch) ofctl(args ...string) string {
	s.t.Helper()
	out, err := s.Ofctl(args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// install carries out the plan as a controller does, and then finds nothing more to do in a dump.
func (s *realSwitch) install(c *flows.Compiler) {
	s.t.Helper()
	plan := c.Plan()
	for i := range plan {
		p := &plan[i]
		conn, ctx := s.connect(p.Bridge)
		before, bundle, after := p.Messages()
		if err := errors.Join(conn.Do(ctx, before...), conn.Bundle(ctx, bundle...), conn.Do(ctx, after...)); err != nil {
			s.t.Fatalf("%s: %v", p.Bridge, err)
		}
		c.Committed(p)
		s.load(c, p.Bridge)
	}
	if again := c.Plan(); !again.Empty() {
		s.t.Fatalf("after a dump of what was installed there is more to do:\n%s", again)
	}
}

// load tells the compiler what a dump finds.
func (s *realSwitch) load(c *flows.Compiler, b flows.Bridge) {
	s.t.Helper()
	conn, ctx := s.connect(b)
	var in flows.Installed
	if err := errors.Join(
		conn.DumpFlows(ctx, openflow.FlowStatsRequest{Table: openflow.TableAll}, func(f *openflow.FlowStats) error { in.Flows = append(in.Flows, *f); return nil }),
		conn.DumpGroups(ctx, func(g *openflow.GroupDesc) error { in.Groups = append(in.Groups, *g); return nil }),
		conn.DumpMeters(ctx, func(m *openflow.MeterConfig) error { in.Meters = append(in.Meters, *m); return nil }),
	); err != nil {
		s.t.Fatalf("%s: %v", b, err)
	}
	c.Load(b, in)
}

// connect is a connection to a bridge that lives as long as the test, a minute at most.
func (s *realSwitch) connect(b flows.Bridge) (*openflow.Conn, context.Context) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	s.t.Cleanup(cancel)
	socket, err := net.Dial("unix", filepath.Join(s.Dir, b.String()+".mgmt"))
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := openflow.Accept(ctx, socket, openflow.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return conn, ctx
}

// Open vSwitch gives back each flow in the very text that we have for it: what is compared with a dump
// is canonical.
func TestSwitchTextEqualsOurs(t *testing.T) {
	top := deployment()
	c := compile(t, top.view(top.hosts[0]), features()...)
	s := newSwitches(t, top, map[string]*flows.Compiler{"h1": c})["h1"]
	for _, b := range flows.Bridges {
		var ours []string
		for f := range c.Wanted(b) {
			line, _, _ := strings.Cut(f.String(), "  #")
			ours = append(ours, line)
		}
		slices.Sort(ours)
		var theirs []string
		for line := range strings.Lines(s.ofctl("--no-names", "--no-stats", "dump-flows", b.String())) {
			line = strings.TrimSpace(line)
			if !strings.Contains(line, "table=") { // the switch leaves out table 0
				line = strings.Replace(line, ", ", ", table=0, ", 1)
			}
			line = regexp.MustCompile(`^(cookie=\S+), (?:table=(\d+), )?`).ReplaceAllString(line, "$1,table=$2,")
			theirs = append(theirs, line)
		}
		slices.Sort(theirs)
		if a, b := strings.Join(ours, "\n"), strings.Join(theirs, "\n"); a != b {
			t.Errorf("ours:\n%s\ntheirs:\n%s", a, b)
		}
	}
}

// A frame for all reaches each member of a flood set that is a group of groups.
func TestSwitchBigFlood(t *testing.T) {
	const size = 300
	top := newTopology()
	net, h1 := top.network(1, 5001), top.host(1)
	top.vlans[vlanKey{"h1", net.ID}] = 1
	top.port(1, net, h1, 11, "10.1.0.1")
	for i := range size {
		top.port(2+i, net, top.host(2+i), 11)
	}
	s := newSwitches(t, top, map[string]*flows.Compiler{"h1": compile(t, top.view(h1), features()...)})["h1"]
	went, _ := s.trace("br-int", "in_port=11,dl_src=fa:16:3e:00:00:01,"+all+"ip,nw_src=10.1.0.1")
	hosts := strings.Fields(went)
	if slices.Sort(hosts); len(slices.Compact(hosts)) != size || len(hosts) != size {
		t.Errorf("%d copies, %d hosts: %s", len(hosts), size, went)
	}
}

// 2,000 members of a network on a host and 300 other hosts with members: a controller that starts anew
// reads it all back and finds nothing to do.
func TestSwitchManyMembers(t *testing.T) {
	top := newTopology()
	net, h1 := top.network(1, 5001), top.host(1)
	top.vlans[vlanKey{"h1", net.ID}] = 1
	for i := range 2000 {
		top.port(1+i, net, h1, uint32(11+i), addr4(10, 1, byte(i>>8), byte(i)).String()).PortSecurityEnabled = i%2 == 0
	}
	for i := range 300 {
		top.port(10001+i, net, top.host(2+i), 11).PortSecurityEnabled = false
	}
	wanted := map[string]*flows.Compiler{"h1": compile(t, top.view(h1), features()...)}
	s := emptySwitches(t, wanted)["h1"]
	s.install(wanted["h1"])
	anew := compile(t, top.view(h1), features()...)
	for _, b := range flows.Bridges {
		s.load(anew, b)
	}
	if p := anew.Plan(); !p.Empty() {
		t.Errorf("after a restart there is to do:\n%s", p)
	}
}

// A port that may send from everywhere costs no megaflow per source.
func TestMegaflowsOfWidePairs(t *testing.T) {
	top := newTopology()
	h1, net := top.host(1), top.network(1, 5001)
	top.vlans[vlanKey{"h1", net.ID}] = 1
	top.subnet(0xd1, net, "10.0.0.0/24", "10.0.0.2")
	router := top.port(1, net, h1, 11, "10.0.0.11", "2001:db8::11")
	router.AllowedAddressPairs = []model.AddressPair{{IPAddress: netip.MustParsePrefix("0.0.0.0/0")}, {IPAddress: netip.MustParsePrefix("::/0")}}
	top.port(2, net, h1, 12, "10.0.0.12", "2001:db8::12").AllowedAddressPairs = []model.AddressPair{{IPAddress: netip.MustParsePrefix("192.168.0.0/16")}}
	c := compile(t, top.view(h1), features()...)
	s := newSwitches(t, top, map[string]*flows.Compiler{"h1": c})["h1"]

	random := rand.New(rand.NewPCG(1, 1))
	const sources = 300
	for range sources {
		var a6 [16]byte
		binary.BigEndian.PutUint64(a6[:], random.Uint64()>>3|1<<61) // 2000::/3
		binary.BigEndian.PutUint64(a6[8:], random.Uint64())
		a4 := random.Uint32()
		for _, packet := range []string{
			fmt.Sprintf("eth_type(0x0800),ipv4(src=%s,dst=10.0.0.12,proto=17,tos=0,ttl=64,frag=no)", addr4(byte(a4>>24), byte(a4>>16), byte(a4>>8), byte(a4))),
			fmt.Sprintf("eth_type(0x86dd),ipv6(src=%s,dst=2001:db8::12,label=0,proto=17,tclass=0,hlimit=64,frag=no)", netip.AddrFrom16(a6)),
		} {
			if _, err := s.Appctl("netdev-dummy/receive", "v11", "in_port(1),eth(src=fa:16:3e:00:00:01,dst=fa:16:3e:00:00:02),"+packet+",udp(src=53,dst=53)"); err != nil {
				t.Fatal(err)
			}
		}
	}
	megaflows, err := s.Appctl("dpctl/dump-flows")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(megaflows, "in_port("); n == 0 || n > 2*32 {
		t.Errorf("%d megaflows for %d sources:\n%s", n, 2*sources, megaflows)
	} else {
		t.Logf("%d megaflows for %d sources", n, 2*sources)
	}
}
