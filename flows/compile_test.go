package flows

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// stub is a feature that emits what a test says.
type stub struct {
	owner   Owner
	compile func(v *View, e *Emitter)
}

func (s *stub) Owner() Owner                { return s.owner }
func (s *stub) Compile(v *View, e *Emitter) { s.compile(v, e) }

var (
	testView = &View{Host: &model.Host{ID: "00000000-0000-4000-8000-000000000001"}}
	portA    = Object{KindPort, uuid.MustParse("aaaaaaaa-aaaa-4000-8000-000000000000")}
	portB    = Object{KindPort, uuid.MustParse("bbbbbbbb-bbbb-4000-8000-000000000000")}
	toMAC    = openflow.MustMatch(openflow.EthDst.MAC(openflow.MAC{2, 0, 0, 0, 0, 1}))
)

// emits makes a feature that emits one flow into the l2 table per object.
func emits(do map[Object]openflow.Instructions) *stub {
	return &stub{OwnerL2, func(v *View, e *Emitter) {
		for obj, do := range do {
			e.Scope(obj, do, func(e *Emitter) { e.Flow(L2, 100, toMAC, do, "mac_address of the port") })
		}
	}}
}

func TestCompileNamesBothCausesOfAContradiction(t *testing.T) {
	f := emits(map[Object]openflow.Instructions{portA: openflow.Drop, portB: openflow.Goto(90)})
	c := NewCompiler(f)
	err := c.Compile(testView)
	if err == nil {
		t.Fatal("flows with the same key and other actions were accepted")
	}
	for _, want := range []string{"br-int", "table 60", "dl_dst=02:00:00:00:00:01", portA.ID.String(), portB.ID.String(), "drop", "goto_table:90"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %q", err, want)
		}
	}
	*f = *emits(map[Object]openflow.Instructions{portA: openflow.Drop})
	if err := c.Compile(testView); err != nil {
		t.Errorf("the contradiction is gone, and still: %v", err)
	}
}

func TestCompileMergesEqualFlows(t *testing.T) {
	f := emits(map[Object]openflow.Instructions{portB: openflow.Goto(90), portA: openflow.Goto(90)})
	c := NewCompiler(f)
	key := Key{L2.Number, 100, toMAC}
	check := func(want Object, others ...Object) {
		t.Helper()
		if err := c.Compile(testView); err != nil {
			t.Fatal(err)
		}
		got, rest := c.Lookup(BrInt, key)
		if got == nil || got.Object != want || len(rest) != len(others) {
			t.Fatalf("got %v and %d more, want %v and %d more", got, len(rest), want, len(others))
		}
		for i := range rest {
			if rest[i].Object != others[i] {
				t.Errorf("cause %d is %v, want %v", i, rest[i].Object, others[i])
			}
		}
	}
	check(portA, portB) // the lowest UUID's cookie, all causes
	*f = *emits(map[Object]openflow.Instructions{portB: openflow.Goto(90)})
	check(portB)
	*f = *emits(map[Object]openflow.Instructions{portB: openflow.Goto(90), portA: openflow.Goto(90)})
	check(portA, portB)
	*f = *emits(nil)
	if err := c.Compile(testView); err != nil {
		t.Fatal(err)
	}
	if got, _ := c.Lookup(BrInt, key); got != nil {
		t.Errorf("%v is wanted by nobody and still there", got)
	}
}

func TestCompileRefusesWhatThePipelineDoesNotDeclare(t *testing.T) {
	for name, tc := range map[string]struct {
		emit func(e *Emitter)
		want string
	}{
		"owner":  {func(e *Emitter) { e.Flow(TunFlood, 0, "", openflow.Drop, "x") }, "l2 emits flows there"},
		"bucket": {func(e *Emitter) { e.Bucket(BrInt, 7, 1, "") }, "group 7, which nobody wants"},
		"two buckets": {func(e *Emitter) {
			e.Group(BrInt, 7)
			e.Bucket(BrInt, 7, 1, "")
			e.Bucket(BrInt, 7, 1, openflow.MustActions(openflow.Output{Port: 1}))
		}, "bucket 1 is wanted twice"},
	} {
		c := NewCompiler(&stub{OwnerL2, func(v *View, e *Emitter) { tc.emit(e) }})
		if err := c.Compile(testView); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// A scope runs again when what it depends on changed, and only then; scopes inside it likewise.
func TestScopeRunsOnlyWhenItsDepsChange(t *testing.T) {
	var outer, inner int
	depsOfOuter, depsOfInner := 0, 0
	c := NewCompiler(&stub{OwnerL2, func(v *View, e *Emitter) {
		e.Scope(portA, depsOfOuter, func(e *Emitter) {
			outer++
			e.Flow(L2, 1, "", openflow.Drop, "x")
			e.Scope(portB, depsOfInner, func(e *Emitter) {
				inner++
				e.Flow(L2, 2, "", openflow.Drop, "x")
			})
		})
	}})
	for _, step := range []struct{ depsOfOuter, depsOfInner, outer, inner int }{
		{0, 0, 1, 1}, {0, 0, 1, 1},
		{1, 0, 2, 1}, // the inner one keeps its flows
		{1, 1, 2, 1}, // deps of the outer one do not say that those of the inner one changed
		{2, 1, 3, 2},
	} {
		depsOfOuter, depsOfInner = step.depsOfOuter, step.depsOfInner
		if err := c.Compile(testView); err != nil {
			t.Fatal(err)
		}
		if outer != step.outer || inner != step.inner {
			t.Errorf("%+v: ran %d and %d times", step, outer, inner)
		}
		for priority := range uint16(2) {
			if f, others := c.Lookup(BrInt, Key{L2.Number, priority + 1, ""}); f == nil || len(others) != 0 {
				t.Errorf("%+v: flow %d is %v with %d more", step, priority+1, f, len(others))
			}
		}
	}
}

// Numbers come from a host's database: one that cannot be is an error, and what was wanted stays.
func TestCompileRefusesImpossibleNumbers(t *testing.T) {
	for name, spoil := range map[string]func(v *View){
		"VIF 0":          func(v *View) { v.Networks[0].Local[0].OFPort = 0 },
		"VIF IN_PORT":    func(v *View) { v.Networks[0].Local[0].OFPort = 0xfff8 },
		"key":            func(v *View) { v.Networks[0].Local[0].Key = 1 << 20 },
		"tunnel port":    func(v *View) { v.Ports.VXLAN = 0xff00 },
		"patch port":     func(v *View) { v.Ports.PatchTun = 1 << 31 },
		"no local VLAN":  func(v *View) { v.Networks[0].LocalVLAN = 0 },
		"uplink":         func(v *View) { v.Networks[0].Uplink = 0xff00 },
		"GRE port":       func(v *View) { v.Ports.GRE = 0xff00 },
		"Geneve port":    func(v *View) { v.Ports.Geneve = 0xff00 },
		"no VNI":         func(v *View) { v.Networks[0].Segment = model.Segment{NetworkType: "vxlan"} },
		"VNI":            func(v *View) { v.Networks[0].Segment = model.Segment{NetworkType: "geneve", SegmentationID: 1 << 24} },
		"VLAN":           func(v *View) { v.Networks[0].Segment = model.Segment{NetworkType: "vlan", SegmentationID: 4095} },
		"local VLAN max": func(v *View) { v.Networks[0].LocalVLAN = 4095 },
	} {
		v := &View{Host: testView.Host, Networks: []*Network{{Network: &model.Network{}, LocalVLAN: 1, Local: []*LocalPort{{Port: &model.Port{}, Key: 1, OFPort: 1}}}}}
		c := NewCompiler(emits(map[Object]openflow.Instructions{portA: openflow.Drop}))
		if err := c.Compile(v); err != nil {
			t.Fatal(err)
		}
		spoil(v)
		if err := c.Compile(v); err == nil || !strings.Contains(err.Error(), v.Host.ID) {
			t.Errorf("%s: %v", name, err)
		}
		if f, _ := c.Lookup(BrInt, Key{L2.Number, 100, toMAC}); f == nil {
			t.Errorf("%s: what was wanted is gone", name)
		}
	}
}

func TestCookieIsReadableByEye(t *testing.T) {
	cookie := Object{KindPort, uuid.MustParse("a1b2c3d4-e5f6-4000-8000-000000000000")}.Cookie(OwnerL2Pop)
	if cookie != 0x0304a1b2c3d4e5f6 {
		t.Errorf("got %#x", cookie)
	}
	if owner, kind, prefix := CookieParts(cookie); owner != OwnerL2Pop || kind != KindPort || prefix != 0xa1b2c3d4e5f6 {
		t.Errorf("read back as %v %v %#x", owner, kind, prefix)
	}
}
