package pipeline

import (
	"context"
	"errors"
	"fmt"
	"net"
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

// newSwitches starts one switch for each compiled host and installs what is wanted there.
func newSwitches(t *testing.T, top *topology, wanted map[string]*flows.Compiler) map[string]*realSwitch {
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
	for name, c := range wanted {
		host, err := bed.AddCheapHost(name)
		if err != nil {
			t.Fatal(err)
		}
		s := &realSwitch{host, t}
		s.vsctl("add-br br-int -- set Bridge br-int datapath_type=system fail_mode=secure")
		s.vsctl("add-br br-tun -- set Bridge br-tun datapath_type=system fail_mode=secure")
		s.vsctl("add-port br-int patch-tun -- set Interface patch-tun type=patch options:peer=patch-int ofport_request=%d", bridgePorts.PatchTun)
		s.vsctl("add-port br-tun patch-int -- set Interface patch-int type=patch options:peer=patch-tun ofport_request=%d", bridgePorts.PatchInt)
		for _, kind := range []string{model.TypeVXLAN, model.TypeGRE, model.TypeGeneve} {
			s.vsctl("add-port br-tun %s -- set Interface %s type=%s options:key=flow options:remote_ip=flow ofport_request=%d", kind, kind, kind, bridgePorts.Tunnel(kind))
		}
		s.vsctl("add-port br-int uplink -- set Interface uplink type=dummy ofport_request=%d", uplink)
		for _, p := range top.ports {
			if at := top.vifs[p.ID]; p.HostID == name && at.ofport != 0 {
				s.vsctl("add-port br-int v%d -- set Interface v%d type=dummy ofport_request=%d", at.ofport, at.ofport, at.ofport)
			}
		}
		s.install(c)
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
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	plan := c.Plan()
	for i := range plan {
		p := &plan[i]
		socket, err := net.Dial("unix", filepath.Join(s.Dir, p.Bridge.String()+".mgmt"))
		if err != nil {
			s.t.Fatal(err)
		}
		conn, err := openflow.Accept(ctx, socket, openflow.Options{})
		if err != nil {
			s.t.Fatal(err)
		}
		defer conn.Close()
		before, bundle, after := p.Messages()
		if err := errors.Join(conn.Do(ctx, before...), conn.Bundle(ctx, bundle...), conn.Do(ctx, after...)); err != nil {
			s.t.Fatalf("%s: %v", p.Bridge, err)
		}
		c.Committed(p)

		var in flows.Installed
		if err := errors.Join(
			conn.DumpFlows(ctx, openflow.FlowStatsRequest{Table: openflow.TableAll}, func(f *openflow.FlowStats) error { in.Flows = append(in.Flows, *f); return nil }),
			conn.DumpGroups(ctx, func(g *openflow.GroupDesc) error { in.Groups = append(in.Groups, *g); return nil }),
			conn.DumpMeters(ctx, func(m *openflow.MeterConfig) error { in.Meters = append(in.Meters, *m); return nil }),
		); err != nil {
			s.t.Fatalf("%s: %v", p.Bridge, err)
		}
		c.Load(p.Bridge, in)
	}
	if again := c.Plan(); !again.Empty() {
		s.t.Fatalf("after a dump of what was installed there is more to do:\n%s", again)
	}
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
