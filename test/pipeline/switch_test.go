package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/flows"
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
		s.vsctl("add-port br-tun vxlan -- set Interface vxlan type=vxlan options:key=flow options:remote_ip=flow ofport_request=%d", bridgePorts.VXLAN)
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

// install gives the plan of a fresh switch to ovs-ofctl, as text.
func (s *realSwitch) install(c *flows.Compiler) {
	s.t.Helper()
	for _, p := range c.Plan() {
		bridge := p.Bridge.String()
		for _, m := range p.AddMeters {
			s.ofctl("add-meter", bridge, fmt.Sprintf("meter=%d,pktps,burst,band=type=drop,rate=%d,burst_size=%d", m.ID, m.Rate, m.Burst))
		}
		var groups, lines strings.Builder
		for _, g := range p.AddGroups {
			fmt.Fprintf(&groups, "group_id=%d,type=all", g.ID)
			for _, k := range p.AddBuckets {
				if k.Group == g.ID {
					fmt.Fprintf(&groups, ",bucket=bucket_id:%d,actions=%s", k.ID, k.Actions)
				}
			}
			groups.WriteByte('\n')
		}
		for _, f := range p.AddFlows {
			fmt.Fprintln(&lines, f)
		}
		s.ofctl("add-groups", bridge, s.file("groups", groups.String()))
		s.ofctl("--bundle", "add-flows", bridge, s.file("flows", lines.String()))
	}
}

func (s *realSwitch) file(name, content string) string {
	path := filepath.Join(s.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return path
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
