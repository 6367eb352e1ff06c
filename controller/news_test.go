package controller

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/test/testbed"
)

// gate is a feature without flows that holds a step up.
type gate struct {
	mu      sync.Mutex
	entered chan struct{} // a step has come to it
	open    chan struct{} // … and goes on once this is closed
}

func (g *gate) Owner() flows.Owner { return flows.OwnerController }

func (g *gate) Compile(*flows.View, *flows.Emitter) {
	g.mu.Lock()
	entered, open := g.entered, g.open
	g.entered, g.open = nil, nil
	g.mu.Unlock()
	if open != nil {
		close(entered)
		<-open
	}
}

// arm makes the next step wait.
func (g *gate) arm() (entered, open chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.entered, g.open = make(chan struct{}), make(chan struct{})
	return g.entered, g.open
}

// What happens on a host while a step is under way is seen after it: a VIF that is plugged and opened
// meanwhile becomes ACTIVE without anything else moving.
func TestNewsDuringStep(t *testing.T) {
	s, ports := deployed(t, 61)
	bed, err := testbed.New(testbed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	})
	var listeners [2]net.Listener
	for i := range listeners {
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	g := &gate{}
	c := New(Options{Store: s, Features: []flows.Feature{g}, Target: "tcp:" + listeners[1].Addr().String()})
	ctx := t.Context()
	var serving sync.WaitGroup
	serving.Go(func() { _ = c.Run(ctx) })
	serving.Go(func() { _ = c.ServeOVSDB(ctx, listeners[0]) })
	serving.Go(func() { _ = c.ServeOpenFlow(ctx, listeners[1]) })
	t.Cleanup(serving.Wait)
	h, err := bed.AddCheapHost("host-news")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Enroll("tcp:"+listeners[0].Addr().String(), map[string]string{"tunbridge-local-manager": "false"}); err != nil {
		t.Fatal(err)
	}
	// What else the host writes down by itself is news too: how its controllers are, every 5 s, and that
	// it is connected.
	if _, err := h.Vsctl("set", "Open_vSwitch", ".", "other_config:stats-update-interval=600000"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Vsctl("wait-until", "Manager", "tcp:"+listeners[0].Addr().String(), "is_connected=true"); err != nil {
		t.Fatal(err)
	}
	if err := h.AwaitBridge("br-int"); err != nil {
		t.Fatal(err)
	}
	plug := func(p *model.Port) {
		t.Helper()
		moved := *p
		moved.HostID = h.Name
		if _, err := s.Update(ctx, func(tx *store.Tx) error { return tx.PutPort(&moved) }); err != nil {
			t.Fatal(err)
		}
		if err := h.PlugVIF(testbed.VIF{PortID: p.ID.String(), MAC: p.MACAddress[:]}); err != nil {
			t.Fatal(err)
		}
	}
	active := func(p *model.Port) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if status, ok := s.Snapshot().PortStatus(p.ID, h.Name); ok && status.Status == model.StatusActive {
				return
			}
			if time.Now().After(deadline) {
				row, err := c.inspectHost(ctx, h.Name)
				t.Fatalf("port %s is not ACTIVE: %+v, %v", p.ID, row.VIFs, err)
			}
		}
	}
	plug(ports[0])
	active(ports[0])

	entered, open := g.arm()
	trigger := *ports[1] // a port elsewhere on the network
	trigger.Name = "changed"
	if _, err := s.Update(ctx, func(tx *store.Tx) error { return tx.PutPort(&trigger) }); err != nil {
		t.Fatal(err)
	}
	<-entered
	plug(ports[2])
	if _, err := h.Vsctl("wait-until", "Interface", testbed.VIF{PortID: ports[2].ID.String()}.Device(), "ofport>=1"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // what the database says of it is in the mirror
	// What poked the loop meanwhile, the new binding, is not the news of this test.
	c.mu.Lock()
	for _, h := range c.hosts {
		select {
		case <-h.poked:
		default:
		}
	}
	c.mu.Unlock()
	close(open)
	active(ports[2])
}
