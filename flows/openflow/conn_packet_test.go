package openflow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestSwitchPacketInAndOut(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	got := make(chan string, 10)
	packets := make(chan []byte, 10)
	c := s.connect(Options{
		PacketIn: func(p *PacketIn) {
			port, _ := p.Uint(InPort)
			reg, _ := p.Uint(Reg0)
			got <- fmt.Sprintf("table %d, cookie %x, in_port %d, reg0 %d, userdata %x, %d bytes", p.Table, p.Cookie, port, reg, p.UserData, p.TotalLen)
			packets <- append([]byte(nil), p.Packet...)
		},
		Trouble: func(err error) { t.Error(err) },
	})
	punt := FlowMod{Table: 3, Priority: 1, Cookie: 0xfeed, Instructions: Apply(SetField{Reg0.Is(42)}, Controller{MaxLen: 0xffff, UserData: []byte{1, 2, 3}})}
	toPunt := FlowMod{Table: 0, Priority: 1, Match: MustMatch(InPort.Is(1)), Instructions: Goto(3)}
	if err := c.Bundle(s.within(), punt, toPunt); err != nil {
		t.Fatal(err)
	}
	s.appctl("netdev-dummy/receive", "p1", dhcpPacket)
	const want = "table 3, cookie feed, in_port 1, reg0 42, userdata 010203, "
	var packet []byte
	select {
	case p := <-got:
		wantIn(t, p, want)
		packet = <-packets
	case <-time.After(20 * time.Second):
		t.Fatal("no packet-in")
	}
	// The same packet sent out as if it had come in by port 1 comes back as it went.
	out := PacketOut{InPort: 1, Actions: MustActions(Resubmit{Table: 3}), Data: packet}
	if err := c.Send(out); err != nil {
		t.Fatal(err)
	}
	select {
	case p := <-got:
		wantIn(t, p, want)
		if back := <-packets; string(back) != string(packet) {
			t.Errorf("sent % x\nback % x", packet, back)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no packet-in of the packet-out")
	}
}

// A secondary may be set up, gets no packet-ins, and gets them once it is primary.
func TestSwitchSecondary(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	packets := make(chan string, 100)
	first := s.connect(Options{PacketIn: func(*PacketIn) { packets <- "first" }})
	second := s.another(Options{PacketIn: func(*PacketIn) { packets <- "second" }})
	if role, _, err := second.Role(s.within(), RoleSecondary, 1); err != nil || role != RoleSecondary {
		t.Fatal(role, err)
	}
	if err := second.Setup(s.within()); err != nil {
		t.Fatal(err)
	}
	if err := first.Do(s.within(), FlowMod{Instructions: Apply(Controller{MaxLen: 0xffff})}); err != nil {
		t.Fatal(err)
	}
	receive := func(want string) {
		t.Helper()
		s.appctl("netdev-dummy/receive", "p1", dhcpPacket)
		select {
		case got := <-packets:
			if got != want {
				t.Errorf("the %s got the packet-in, not the %s", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Error("no packet-in")
		}
		// Whatever was sent to either before this has then been received.
		for _, c := range []*Conn{first, second} {
			if _, err := c.Echo(s.within()); err != nil {
				t.Error(err)
			}
		}
		if n := len(packets); n != 0 {
			t.Errorf("%d packet-ins more", n)
		}
	}
	receive("first")
	if _, _, err := second.Role(s.within(), RolePrimary, 2); err != nil {
		t.Fatal(err)
	}
	receive("second")
}

// Replies arrive whole and in order whatever the peer's pace, among what others send: first they are
// written by the reader, then, while the peer takes nothing, by the writer.
func TestReply(t *testing.T) {
	verifyNoLeak(t)
	controller, peer := dialled(t)
	controller.(*net.TCPConn).SetWriteBuffer(16 << 10)
	peer.(*net.TCPConn).SetReadBuffer(16 << 10)
	const packets, size = 400, 4000 // far more than both buffers hold
	var c *Conn
	ready, seen := make(chan struct{}), make(chan int, packets)
	n := 0
	c = acceptFrom(t, controller, peer, Options{Backlog: 4 << 20, PacketIn: func(p *PacketIn) {
		<-ready
		data := make([]byte, size)
		binary.BigEndian.PutUint32(data, binary.BigEndian.Uint32(p.Packet))
		if err := c.Reply(PacketOut{Actions: MustActions(Output{Port: 1}), Data: data}); err != nil {
			t.Error(err)
		}
		n++
		seen <- n
	}})
	close(ready)
	var in []byte
	for i := range packets {
		property := binary.BigEndian.AppendUint32([]byte{0, packetInPacket, 0, 8}, uint32(i))
		in = append(in, message(Version, TypeExperimenter, 0, append([]byte{0, 0, 0x23, 0x20, 0, 0, 0, 30}, property...)...)...)
	}
	if !Frame(in).IsPacketIn() {
		t.Fatal("not a packet-in")
	}
	for len(in) > 0 { // some at once, some alone
		k := min(len(in), 24*(1+len(in)%7))
		if _, err := peer.Write(in[:k]); err != nil {
			t.Fatal(err)
		}
		in = in[k:]
	}
	var sent sync.WaitGroup
	sent.Go(func() {
		for range packets {
			if err := c.Send(Echo{Data: []byte("between")}); err != nil {
				t.Error(err)
			}
		}
	})
	for range packets { // all are handled, though the peer reads nothing
		<-seen
	}
	sent.Wait()
	for replies, echoes := 0, 0; replies < packets || echoes < packets; {
		f, err := receive(peer)
		if err != nil {
			t.Fatalf("after %d replies: %v", replies, err)
		}
		switch f.Type() {
		case TypeEchoRequest:
			echoes++
		case TypePacketOut:
			if got := binary.BigEndian.Uint32(f[len(f)-size:]); got != uint32(replies) {
				t.Fatalf("reply %d is to packet %d", replies, got)
			}
			replies++
		default:
			t.Fatalf("it sent %v", f.Type())
		}
	}
}

// What the switch has against a packet-out is told, though nobody waits for it.
func TestSwitchPacketOutRefused(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	told := make(chan error, 10)
	c := s.connect(Options{Trouble: func(err error) { told <- err }})
	if err := c.Send(PacketOut{InPort: 1, Actions: MustActions(Group{ID: 77}), Data: make([]byte, 60)}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-told:
		var refused *Error
		if !errors.As(err, &refused) {
			t.Errorf("got %v", err)
		}
		wantIn(t, err.Error(), "(datapath 000000000000abcd)")
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was told")
	}
}

// Replies are not starved by packet-ins.
func TestSwitchFlood(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	var punted atomic.Int64
	c := s.connect(Options{PacketIn: func(*PacketIn) { punted.Add(1) }, Trouble: func(err error) { t.Error(err) }})
	if err := c.Bundle(s.within(), flows(2000)...); err != nil {
		t.Fatal(err)
	}
	// Each packet-out makes 16 packet-ins of 1,400 bytes.
	var burst []Action
	for range 16 {
		burst = append(burst, Controller{MaxLen: 0xffff})
	}
	out := PacketOut{InPort: 1, Actions: MustActions(burst...), Data: make([]byte, 1400)}
	var slowest time.Duration
	for range 5 {
		for range 500 {
			if err := c.Send(out); err != nil {
				t.Fatal(err)
			}
		}
		start, seen := time.Now(), 0
		if err := c.DumpFlows(s.within(), FlowStatsRequest{Table: TableAll}, func(*FlowStats) error { seen++; return nil }); err != nil || seen != 2000 {
			t.Fatal(seen, err)
		}
		slowest = max(slowest, time.Since(start))
	}
	t.Logf("%d packet-ins, slowest dump of 2,000 flows %v", punted.Load(), slowest)
	if punted.Load() < 1000 {
		t.Error("no flood")
	}
}
