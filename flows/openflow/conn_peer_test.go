package openflow

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// These tests put a peer of their own making where a switch would be, for what a
// real one does not do.

// verifyNoLeak fails the test if it leaves a goroutine behind.
func verifyNoLeak(t testing.TB) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

// within is a context that a hanging call runs into.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// dialled returns the two ends of a TCP connection.
func dialled(t testing.TB) (controller, peer net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	controller, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close(); controller.Close() })
	return controller, peer
}

// message is a message of raw parts, of any version.
func message(version uint8, typ Type, xid uint32, body ...byte) []byte {
	b := []byte{version, byte(typ), 0, 0}
	binary.BigEndian.PutUint16(b[2:], uint16(HeaderLen+len(body)))
	return append(binary.BigEndian.AppendUint32(b, xid), body...)
}

// receive reads one message.
func receive(peer net.Conn) (Frame, error) {
	peer.SetReadDeadline(time.Now().Add(10 * time.Second))
	f := make(Frame, HeaderLen)
	if _, err := io.ReadFull(peer, f); err != nil {
		return nil, err
	}
	f = append(f, make([]byte, f.Length()-HeaderLen)...)
	_, err := io.ReadFull(peer, f[HeaderLen:])
	return f, err
}

// greet does a switch's part of the handshake.
func greet(peer net.Conn) error {
	for {
		f, err := receive(peer)
		if err != nil {
			return err
		}
		switch f.Type() {
		case TypeHello:
			_, err = peer.Write(message(Version, TypeHello, 1, 0, 1, 0, 8, 0, 0, 0, 1<<Version))
		case TypeFeaturesRequest:
			_, err = peer.Write(message(Version, TypeFeaturesReply, f.XID(), 0, 0, 0, 0, 0, 0, 0xab, 0xcd, 0, 0, 0, 0, 254, 0, 0, 0, 0, 0, 0, 0x4f, 0, 0, 0, 0))
			return err
		}
		if err != nil {
			return err
		}
	}
}

// accepted returns a connection and its peer, the handshake done.
func accepted(t testing.TB, o Options) (*Conn, net.Conn) {
	t.Helper()
	controller, peer := dialled(t)
	return acceptFrom(t, controller, peer, o), peer
}

func acceptFrom(t testing.TB, controller, peer net.Conn, o Options) *Conn {
	t.Helper()
	greeted := make(chan error, 1)
	go func() { greeted <- greet(peer) }()
	c, err := Accept(within(t, 10*time.Second), controller, o)
	if err := errors.Join(err, <-greeted); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		<-c.Done()
	})
	return c
}

// ended waits for the connection's end and returns its reason.
func ended(t testing.TB, c *Conn) string {
	t.Helper()
	select {
	case <-c.Done():
		return c.Err().Error()
	case <-time.After(10 * time.Second):
		t.Fatal("the connection goes on")
		return ""
	}
}

func wantIn(t testing.TB, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("got %q, want it to say %q", got, want)
	}
}

func TestAcceptRefuses(t *testing.T) {
	hello := message(Version, TypeHello, 1, 0, 1, 0, 8, 0, 0, 0, 1<<Version)
	after := func(b ...byte) []byte { return append(hello[:len(hello):len(hello)], b...) }
	for _, test := range []struct {
		name string
		sent []byte
		want string
	}{
		{"nothing", nil, "awaiting hello: handshake not completed in time"},
		{"half a header", hello[:5], "awaiting hello: stalled in the middle of a message, 5 of 8 bytes"},
		{"half a hello", hello[:12], "awaiting hello: stalled in the middle of a message, 12 of 16 bytes"},
		{"http", []byte("GET / HTTP/1.1\r\n\r\n"), "version 0x47"},
		{"tls", []byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc}, "it speaks TLS"},
		{"length 7", []byte{Version, 0, 0, 7, 0, 0, 0, 1}, "length 7"},
		{"openflow 1.0 and 1.3 by bitmap", message(4, TypeHello, 1, 0, 1, 0, 8, 0, 0, 0, 1<<1|1<<4), "it speaks OpenFlow 1.0, 1.3 but not OpenFlow 1.5"},
		{"openflow 1.0 only", message(1, TypeHello, 1), "it speaks OpenFlow 1.0 but not OpenFlow 1.5"},
		{"empty bitmap", message(6, TypeHello, 1, 0, 1, 0, 8, 0, 0, 0, 0), "it speaks no known version but"},
		{"not a hello", message(Version, TypeBarrierReply, 1), "awaiting hello: got BARRIER_REPLY"},
		{"an error", message(4, TypeError, 1, 0, 0, 0, 0), "hello: "},
		{"an error after hello", after(message(Version, TypeError, 1, 0, 1, 0, 5)...), "features: "},
		{"another version after hello", after(message(4, TypeEchoRequest, 1)...), "version 0x04"},
		{"short features", after(message(Version, TypeFeaturesReply, 2, 1, 2, 3)...), "FEATURES_REPLY"},
		{"auxiliary", after(message(Version, TypeFeaturesReply, 2, 0, 0, 0, 0, 0, 0, 0xab, 0xcd, 0, 0, 0, 0, 254, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)...), "auxiliary connection 3 of datapath 000000000000abcd"},
	} {
		t.Run(test.name, func(t *testing.T) {
			verifyNoLeak(t)
			controller, peer := dialled(t)
			peer.Write(test.sent)
			var o Options
			if strings.Contains(test.want, "in time") || strings.Contains(test.want, "stalled") {
				o.HandshakeTimeout = 300 * time.Millisecond
			}
			c, err := Accept(context.Background(), controller, o)
			if err == nil {
				c.Close()
				t.Fatal("accepted")
			}
			wantIn(t, err.Error(), test.want)
			wantIn(t, err.Error(), "switch "+peer.LocalAddr().String())
			// The peer is let go, with OFPHFC_INCOMPATIBLE where it was about the version.
			peer.SetReadDeadline(time.Now().Add(5 * time.Second))
			got, _ := io.ReadAll(peer)
			if refused := strings.Contains(string(got), "OpenFlow 1.5 is required"); refused != strings.Contains(test.want, "but") {
				t.Errorf("told of the version: %v (%q)", refused, got)
			}
		})
	}
	t.Run("gone", func(t *testing.T) {
		controller, peer := dialled(t)
		peer.Close()
		_, err := Accept(context.Background(), controller, Options{})
		if err == nil {
			t.Fatal("accepted")
		}
	})
	t.Run("context", func(t *testing.T) {
		verifyNoLeak(t)
		controller, _ := dialled(t)
		_, err := Accept(within(t, 50*time.Millisecond), controller, Options{})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
	})
}

func TestAcceptSendsHelloAndFeaturesRequestOnly(t *testing.T) {
	verifyNoLeak(t)
	c, peer := accepted(t, Options{EchoInterval: time.Minute})
	if c.DatapathID() != 0xabcd {
		t.Errorf("datapath id %x", c.DatapathID())
	}
	peer.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := peer.Read(make([]byte, 1)); n != 0 {
		t.Errorf("something followed: %d, %v", n, err)
	}
}

// What may follow a sound handshake, and must cut the peer off and nobody else.
func TestHostilePeer(t *testing.T) {
	for _, test := range []struct {
		name string
		sent []byte
		shut bool // the peer then closes its side
		want string
	}{
		{"other version", message(4, TypeEchoRequest, 7), false, "message with version 0x04"},
		{"garbage", []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00"), false, "message with version 0x00"},
		{"length 0", []byte{Version, 2, 0, 0, 0, 0, 0, 1}, false, "message with length 0"},
		{"length 7", []byte{Version, 2, 0, 7, 0, 0, 0, 1}, false, "message with length 7"},
		{"half a header", []byte{Version, 2, 0}, false, "stalled in the middle of a message, 3 of 8 bytes"},
		{"half a message", []byte{Version, 2, 0xff, 0xff, 0, 0, 0, 1, 1, 2, 3}, false, "stalled in the middle of a message, 11 of 65535 bytes"},
		{"half a message and the end", []byte{Version, 2, 0xff, 0xff, 0, 0, 0, 1, 1, 2, 3}, true, "ended in the middle of a message, 11 of 65535 bytes"},
		{"the end", nil, true, "closed by the switch"},
		{"silence", nil, false, "silent for 250ms, echo request unanswered"},
		{"short multipart", message(Version, TypeMultipartReply, 7, 0, 1), false, "MULTIPART_REPLY"},
	} {
		t.Run(test.name, func(t *testing.T) {
			verifyNoLeak(t)
			o := Options{EchoInterval: time.Minute, MessageTimeout: 200 * time.Millisecond}
			if test.name == "silence" {
				o.EchoInterval, o.EchoTimeout = 50*time.Millisecond, 200*time.Millisecond
			}
			c, peer := accepted(t, o)
			other, otherPeer := accepted(t, Options{EchoInterval: time.Minute})
			waiting := make(chan error)
			go func() { waiting <- c.Do(context.Background()) }()
			peer.Write(test.sent)
			if test.shut {
				peer.(*net.TCPConn).CloseWrite()
			}
			reason := ended(t, c)
			wantIn(t, reason, test.want)
			wantIn(t, reason, "switch "+peer.LocalAddr().String()+" (datapath 000000000000abcd)")
			if err := <-waiting; err == nil || err.Error() != reason {
				t.Errorf("who waited was told %v", err)
			}
			if err := c.Send(Barrier{}); err == nil || err.Error() != reason {
				t.Errorf("who sends afterwards is told %v", err)
			}
			go answerEcho(otherPeer)
			if _, err := other.Echo(within(t, 5*time.Second)); err != nil {
				t.Errorf("another connection: %v", err)
			}
		})
	}
}

// answerEcho answers the next message as an echo request.
func answerEcho(peer net.Conn) {
	if f, err := receive(peer); err == nil {
		peer.Write(message(Version, TypeEchoReply, f.XID()))
	}
}

// A message that drips in does not keep the connection alive for ever.
func TestDrippingPeer(t *testing.T) {
	verifyNoLeak(t)
	c, peer := accepted(t, Options{MessageTimeout: 300 * time.Millisecond})
	start := time.Now()
	for i := range 100 {
		if _, err := peer.Write([]byte{Version, 2, 1, 0}[min(i, 3) : min(i, 3)+1]); err != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	wantIn(t, ended(t, c), "stalled in the middle of a message")
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("after %v", d)
	}
}

// A silent peer that answers echo requests is kept; so is one that asks itself.
func TestEchoKeepsAlive(t *testing.T) {
	verifyNoLeak(t)
	c, peer := accepted(t, Options{EchoInterval: 30 * time.Millisecond, EchoTimeout: 20 * time.Second})
	for range 5 {
		f, err := receive(peer)
		if err != nil || f.Type() != TypeEchoRequest {
			t.Fatalf("got %v, %v", f, err)
		}
		peer.Write(message(Version, TypeEchoReply, f.XID(), f.Body()...))
	}
	peer.Write(message(Version, TypeEchoRequest, 77, 1, 2, 3))
	for {
		f, err := receive(peer)
		if err != nil {
			t.Fatal(err)
		}
		if f.Type() == TypeEchoReply {
			if f.XID() != 77 || string(f.Body()) != "\x01\x02\x03" {
				t.Errorf("echo reply % x", f)
			}
			break
		}
	}
	if err := c.Err(); err != nil {
		t.Error(err)
	}
}

// Messages cut and joined in any way by TCP are the same messages.
func TestFramesAcrossReads(t *testing.T) {
	verifyNoLeak(t)
	c, peer := accepted(t, Options{EchoInterval: time.Minute})
	big := make([]byte, MaxMessage-HeaderLen)
	for i := range big {
		big[i] = byte(i)
	}
	var stream []byte
	for i := range 20 {
		stream = append(stream, message(Version, TypeEchoRequest, uint32(100+i), big[:i*i*i*8]...)...)
	}
	stream = append(stream, message(Version, TypeEchoRequest, 120, big...)...)
	go func() {
		cuts := rand.New(rand.NewPCG(1, 2))
		for len(stream) > 0 {
			n := min(1+cuts.IntN(1<<cuts.IntN(16)), len(stream))
			peer.Write(stream[:n])
			stream = stream[n:]
			time.Sleep(time.Millisecond)
		}
	}()
	for i := range 21 {
		f, err := receive(peer)
		if err != nil {
			t.Fatal(err, c.Err())
		}
		want := big
		if i < 20 {
			want = big[:i*i*i*8]
		}
		if f.Type() != TypeEchoReply || f.XID() != uint32(100+i) || string(f.Body()) != string(want) {
			t.Fatalf("reply %d: %v, xid %d, %d bytes", i, f.Type(), f.XID(), len(f))
		}
	}
}

// A peer that reads nothing costs no more memory than Backlog and ends with the write timeout.
func TestPeerReadsNothing(t *testing.T) {
	verifyNoLeak(t)
	controller, peer := dialled(t)
	controller.(*net.TCPConn).SetWriteBuffer(16 << 10)
	c := acceptFrom(t, controller, peer, Options{Backlog: 256 << 10, WriteTimeout: time.Second, EchoInterval: time.Minute})
	m := Echo{Data: make([]byte, 10000)}
	// The socket's buffers are full when the queue stays full.
	for full := 0; full < 100; {
		err := c.Send(m)
		if err == nil {
			full = 0
			continue
		}
		var which *MessageError
		if !errors.Is(err, ErrBacklog) || !errors.As(err, &which) || which.Index != 0 {
			t.Fatalf("Send: %v", err)
		}
		full++
		time.Sleep(time.Millisecond)
	}
	c.out.mu.Lock()
	if n := len(c.out.buf.b); n < 256<<10 || n > 256<<10+10100 {
		t.Errorf("%d bytes wait", n)
	}
	c.out.mu.Unlock()
	if err := c.Do(within(t, 100*time.Millisecond), m); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Do: %v", err)
	}
	wantIn(t, ended(t, c), "write: ")
	wantIn(t, c.Err().Error(), "i/o timeout")
}

// An echo flood by a peer that does not read the replies is held to a bound too.
func TestEchoFlood(t *testing.T) {
	verifyNoLeak(t)
	controller, peer := dialled(t)
	controller.(*net.TCPConn).SetWriteBuffer(16 << 10)
	c := acceptFrom(t, controller, peer, Options{Backlog: 64 << 10, WriteTimeout: time.Minute})
	flood := message(Version, TypeEchoRequest, 9, make([]byte, 60000)...)
	for {
		peer.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if _, err := peer.Write(flood); err != nil {
			break
		}
	}
	wantIn(t, ended(t, c), "too much is waiting to be written")
}

// Giving a call up leaves the connection usable, and its late answer harmless.
func TestCallGivenUp(t *testing.T) {
	verifyNoLeak(t)
	c, peer := accepted(t, Options{EchoInterval: time.Minute, Trouble: func(err error) { t.Error(err) }})
	if err := c.Do(within(t, 50*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	late, _ := receive(peer)
	peer.Write(message(Version, TypeBarrierReply, late.XID()))
	go answerEcho(peer)
	if _, err := c.Echo(within(t, 5*time.Second)); err != nil {
		t.Error(err)
	}
	if len(c.pending) != 0 || len(c.slots) != 0 {
		t.Errorf("%d calls remain, %d slots", len(c.pending), len(c.slots))
	}
}

// No more calls than maxPending are under way; the others wait and are served.
func TestManyCalls(t *testing.T) {
	verifyNoLeak(t)
	c, peer := accepted(t, Options{EchoInterval: time.Minute})
	const calls = 3 * maxPending
	results := make(chan error, calls)
	for range calls {
		go func() { results <- c.Do(within(t, 10*time.Second)) }()
	}
	go func() {
		// Nothing is answered before as many as may be are there.
		var asked []Frame
		for range maxPending {
			f, err := receive(peer)
			if err != nil {
				return
			}
			asked = append(asked, f)
		}
		time.Sleep(50 * time.Millisecond)
		c.mu.Lock()
		if n := len(c.pending); n != maxPending {
			t.Errorf("%d calls are under way", n)
		}
		c.mu.Unlock()
		for i := range calls {
			peer.Write(message(Version, TypeBarrierReply, asked[i].XID()))
			if len(asked) < calls {
				f, err := receive(peer)
				if err != nil {
					return
				}
				asked = append(asked, f)
			}
		}
	}()
	for range calls {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
}

// Close ends everything at once, from a callback too.
func TestClose(t *testing.T) {
	verifyNoLeak(t)
	var c *Conn
	var ready atomic.Bool
	c, peer := accepted(t, Options{EchoInterval: time.Minute, Trouble: func(error) {
		if ready.Load() {
			c.Close()
		}
	}})
	ready.Store(true)
	waiting := make(chan error)
	go func() { waiting <- c.Do(context.Background()) }()
	receive(peer)
	peer.Write(message(Version, TypeError, 0xdead, 0, 4, 0, 9))
	if err := <-waiting; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	wantIn(t, ended(t, c), "connection closed")
	if _, err := c.Echo(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// A reply of another kind than was asked for is a broken peer.
func TestWrongReply(t *testing.T) {
	verifyNoLeak(t)
	c, peer := accepted(t, Options{EchoInterval: time.Minute})
	go answerEcho(peer)
	err := c.Do(within(t, 5*time.Second))
	if err == nil {
		t.Fatal("an echo reply was taken for a barrier's")
	}
	wantIn(t, err.Error(), "ECHO_REPLY to a request that is answered with BARRIER_REPLY")
}

func TestXIDsNeverZero(t *testing.T) {
	var c Conn
	c.xid.Store(1<<32 - 10)
	for range 10 {
		first := c.xids(3)
		if first == 0 || first+2 < first {
			t.Fatalf("range begins at %d", first)
		}
	}
	if err := c.Send(); err != nil {
		t.Error(err)
	}
}

// FuzzReceive feeds a connection with any bytes after a sound handshake: it
// ends with an error, without a panic, whatever is being waited for.
func FuzzReceive(f *testing.F) {
	f.Add(message(Version, TypeMultipartReply, 3, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2, 3))
	f.Add(message(Version, TypeBundleControl, 3, 0, 0, 0, 1, 0, 3, 0, 3))
	f.Add(message(Version, TypeError, 3, 0, 4, 0, 9, Version, 14, 0, 8, 0, 0, 0, 3))
	f.Add(message(Version, TypeExperimenter, 0, 0, 0, 0x23, 0x20, 0, 0, 0, 30, 0, 0, 0, 8, 1, 2, 3, 4))
	f.Add(message(Version, TypePortStatus, 0, 1, 2, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		controller, peer := net.Pipe()
		c := acceptFrom(t, controller, peer, Options{
			PacketIn: func(*PacketIn) {}, PortStatus: func(*PortStatus) {}, FlowRemoved: func(*FlowRemoved) {},
			RoleStatus: func(*RoleStatus) {}, FlowUpdate: func(*FlowUpdate) {}, Trouble: func(error) {},
		})
		go io.Copy(io.Discard, peer)
		waiting := make(chan error)
		go func() { waiting <- c.Bundle(context.Background()) }()
		peer.Write(b)
		peer.Close()
		<-c.Done()
		if <-waiting == nil && len(b) < 3*HeaderLen {
			t.Error("a bundle was committed by nobody")
		}
	})
}
