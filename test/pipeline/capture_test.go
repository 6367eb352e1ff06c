package pipeline

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/capture"
)

// Captures of a port and of its host, by two, one after the other and together, keep to the pipeline and to their
// networks; a flow whose capture is over goes, and the switch would take it by itself.
func TestCaptures(t *testing.T) {
	top := everyType()
	h := top.hosts[0]
	all := append(features(), capture.Feature{})
	c := flows.NewCompiler(all...)
	view := func(captures ...flows.Capture) *flows.View {
		v := top.view(h)
		v.Captures = captures
		return v
	}
	s := newSwitches(t, top, map[string]*flows.Compiler{"h1": compile(t, view(), all...)})["h1"]
	until := time.Now().Add(time.Minute)
	v := view()
	vxlan := v.Networks[3]
	port := flows.Capture{ID: id(0xe, 1), Until: until, Port: vxlan.Local[0], Network: vxlan}
	again := flows.Capture{ID: id(0xe, 2), Until: until, Port: vxlan.Local[0], Network: vxlan}
	flat := flows.Capture{ID: id(0xe, 3), Until: until, Port: v.Networks[1].Local[0], Network: v.Networks[1]}
	host := flows.Capture{ID: id(0xe, 4), Until: until}
	for _, b := range flows.Bridges {
		s.load(c, b)
	}
	for i, captures := range [][]flows.Capture{nil, {port}, {port, again}, {again, host}, {host}, {flat}, {port, flat, host}, nil} {
		v := view(captures...)
		if err := c.Compile(v); err != nil {
			t.Fatal(err)
		}
		s.install(c)
		fresh := compile(t, v, all...)
		for _, b := range flows.Bridges {
			s.load(fresh, b)
			taps := 0
			for f := range c.Wanted(b) {
				if err := flows.Verify(flows.TableOf(b, f.Table), f); err != nil {
					t.Error(err)
				}
				if f.Owner == flows.OwnerCapture {
					taps++
					if !f.Until.Equal(until) {
						t.Errorf("%s has no end", f)
					}
				}
			}
			if want := len(captures) > 0 && (b == flows.BrInt || captures[0].ID != flat.ID); (taps > 0) != want {
				t.Errorf("step %d: %d flows of captures on %s", i, taps, b)
			}
			in := s.dump(b)
			for _, l := range flows.Isolation(v, b, in) {
				t.Errorf("step %d: %s: %s", i, l.Flow, l.Text)
			}
			for _, f := range in.Flows {
				if owner, _, _ := flows.CookieParts(f.Cookie); owner == flows.OwnerCapture && (f.HardTimeout == 0 || f.HardTimeout > 65) {
					t.Errorf("the switch keeps %s for %d s", f, f.HardTimeout)
				}
			}
		}
		if p := fresh.Plan(); !p.Empty() {
			t.Errorf("step %d: incremental is not fresh:\n%s", i, cmp.Diff("", p.String()))
		}
		// What is copied goes its way all the same.
		from, to := vxlan.Local[0], vxlan.Local[1]
		went, _ := s.trace("br-int", "in_port=13,dl_src="+from.MACAddress.String()+",dl_dst="+to.MACAddress.String()+",ip,nw_src=10.0.0.1,nw_dst=10.0.0.2")
		if strings.TrimSpace(strings.ReplaceAll(went, "punted", "")) != "v23" {
			t.Errorf("step %d: a frame went to %q", i, went)
		}
	}
}
