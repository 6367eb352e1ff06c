package controller

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/dhcp"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

func TestBucket(t *testing.T) {
	const rate = 10
	var b bucket
	now := time.Unix(1000, 0)
	passed := func(n int) (passed int) {
		for range n {
			if b.take(now, rate) {
				passed++
			}
		}
		return passed
	}
	burst := int(rate * burstTime.Seconds())
	if got := passed(100); got != burst {
		t.Errorf("%d passed at once, want %d", got, burst)
	}
	now = now.Add(500 * time.Millisecond)
	if got := passed(100); got != rate/2 {
		t.Errorf("%d passed half a second later, want %d", got, rate/2)
	}
	now = now.Add(time.Hour)
	if got := passed(100); got != burst {
		t.Errorf("%d passed after an hour, want %d", got, burst)
	}
}

// silent takes what it is given.
type silent struct{ ports map[uuid.UUID]int }

func (s silent) Handle(p *flows.Punt, _ func([]byte)) error {
	s.ports[p.Port.ID]++
	return nil
}

// asking is a host with two ports, and their packets as the switch sends them.
func asking(rate int) (l *link, h *host, from func(key, generation uint32) *openflow.PacketIn) {
	n := &flows.Network{Network: &model.Network{}, LocalVLAN: 1}
	for key := uint32(1); key <= 2; key++ {
		n.Local = append(n.Local, &flows.LocalPort{Port: &model.Port{Common: model.Common{ID: uuid.UUID{byte(key)}}}, Key: key, OFPort: key, Generation: 7})
	}
	h = &host{c: New(Options{PuntRate: rate, Handlers: map[flows.Op]flows.Handler{flows.OpDHCPv4: silent{map[uuid.UUID]int{}}}})}
	h.punts.Store(puntsOf(&flows.View{Host: &model.Host{}, Networks: []*flows.Network{n}}, nil))
	l = &link{queue: make(chan puntedPacket, puntQueue), log: slog.New(slog.DiscardHandler)}
	l.owner.Store(h)
	return l, h, func(key, generation uint32) *openflow.PacketIn {
		return &openflow.PacketIn{Packet: []byte("frame"), UserData: flows.AppendUserdata(nil, key, generation),
			Metadata: []byte(openflow.MustMatch(flows.RegOp.Is(uint64(flows.OpDHCPv4))))}
	}
}

// A port that floods is held back before the queue, and never fills it: its neighbour's packets go through.
func TestFloodingPort(t *testing.T) {
	for _, rate := range []int{10, 1_000_000} { // held back by its bucket; by its share of the queue
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			l, h, from := asking(rate)
			for range 10 * puntQueue {
				l.packetIn(from(1, 7))
			}
			admitted := min(rate*flows.PuntBurst/flows.PuntRate, puntShare)
			if len(l.queue) < admitted || len(l.queue) > admitted+2 {
				t.Errorf("%d packets of one port wait, want %d", len(l.queue), admitted)
			}
			for range puntShare / 8 {
				l.packetIn(from(2, 7))
			}
			served := h.c.o.Handlers[flows.OpDHCPv4].(silent)
			for len(l.queue) > 0 {
				in := <-l.queue
				in.from.asker.waiting.Add(-1)
				l.pass(served, &in)
			}
			if got := served.ports[uuid.UUID{2}]; got != puntShare/8 {
				t.Errorf("%d of the neighbour's packets came through, want all %d", got, puntShare/8)
			}
			dropped := l.dropped[dropRate].Load() + l.dropped[dropQueue].Load()
			if want := uint64(10*puntQueue - served.ports[uuid.UUID{1}]); dropped != want || l.dropped[dropStale].Load() != 0 {
				t.Errorf("%d counted as dropped, want %d", dropped, want)
			}
			l.packetIn(from(1, 7))
			if a := h.punts.Load().byKey[1].asker; a.waiting.Load() != int32(len(l.queue)) {
				t.Errorf("%d of the port's packets are said to wait, %d do", a.waiting.Load(), len(l.queue))
			}
		})
	}
}

// forgetful is a prompt handler that says nothing.
type forgetful struct{ silent }

func (forgetful) Explain(*flows.Punt, []byte, error) dhcp.Exchange { return dhcp.Exchange{} }

// What is answered at once does not wait in the queue, is held back by its port's bucket, and is kept after
// the connection's buffer was used again.
func TestPromptHandler(t *testing.T) {
	l, h, from := asking(10)
	served := silent{map[uuid.UUID]int{}}
	h.c.o.Handlers[flows.OpDHCPv4] = forgetful{served}
	for range 1000 {
		l.packetIn(from(1, 7))
	}
	one := from(2, 7)
	l.packetIn(one)
	copy(one.Packet, "XXXXX")
	burst := 10 * flows.PuntBurst / flows.PuntRate
	if got := served.ports[uuid.UUID{1}]; got < burst || got > 5*burst { // more only on a machine that is very busy
		t.Errorf("%d packets of the port were handled, want %d", got, burst)
	}
	if len(l.queue) != 0 || served.ports[uuid.UUID{2}] != 1 {
		t.Errorf("%d packets wait, %d of the neighbour's were handled", len(l.queue), served.ports[uuid.UUID{2}])
	}
	last := h.punts.Load().byKey[2].asker.exchanges()[flows.OpDHCPv4]
	if string(last.request) != "frame" || last.count != 1 || len(last.answer) != 0 {
		t.Errorf("kept %+v", last)
	}
	h.c.o.PuntRate = 1 << 30
	if n := testing.AllocsPerRun(100, func() { l.packetIn(one) }); n > 0 {
		t.Errorf("%v allocations for a packet, want none", n)
	}
}

// Nothing is done for a VIF that has gone, nor for what nobody answers.
func TestStalePunts(t *testing.T) {
	l, _, from := asking(100)
	l.packetIn(from(1, 6)) // of an earlier VIF with that key
	l.packetIn(from(9, 7)) // of none
	other := from(1, 7)
	other.Metadata = []byte(openflow.MustMatch(flows.RegOp.Is(99)))
	l.packetIn(other)
	bare := from(1, 7)
	bare.UserData = nil
	l.packetIn(bare)
	if len(l.queue) != 0 || l.dropped[dropStale].Load() != 4 {
		t.Errorf("%d wait, %d counted", len(l.queue), l.dropped[dropStale].Load())
	}
}

// What a VIF asked is kept while the view around it changes, and gone with it.
func TestAskerLives(t *testing.T) {
	_, h, _ := asking(100)
	was := h.punts.Load()
	n := *was.view.Networks[0]
	moved := *n.Local[1]
	moved.Generation++
	n.Local = []*flows.LocalPort{n.Local[0], &moved}
	is := puntsOf(&flows.View{Host: was.view.Host, Networks: []*flows.Network{&n}}, was)
	if is == was || is.byKey[1].asker != was.byKey[1].asker {
		t.Error("a port that did not change is another asker")
	}
	if is.byKey[2].asker == was.byKey[2].asker {
		t.Error("a VIF that was plugged again is the same asker")
	}
	if puntsOf(is.view, is) != is {
		t.Error("the same view is read again")
	}
}
