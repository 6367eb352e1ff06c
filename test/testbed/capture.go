package testbed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Frame is a captured Ethernet frame, its VLAN tags in place, without FCS.
type Frame struct {
	At  time.Time
	Out bool // sent by the captured device; for a host's underlay port: towards the host
	Raw []byte
}

// Capture collects the frames of one device.
type Capture struct {
	fd     int
	keep   func(Frame) bool
	stop   atomic.Bool
	done   chan struct{}
	device string

	mu     sync.Mutex
	frames []Frame
	err    error
}

// Capture collects the frames a device of the namespace sends and receives, from
// now on; keep chooses which (nil: all) and runs for every frame.
func (n Namespace) Capture(device string, keep func(Frame) bool) (*Capture, error) {
	c := &Capture{keep: keep, done: make(chan struct{}), device: device}
	if err := n.Do(func() (err error) { c.fd, err = packetSocket(device, unix.ETH_P_ALL, 0); return err }); err != nil {
		return nil, fmt.Errorf("capture on %s: %w", device, err)
	}
	poll := unix.Timeval{Usec: 20_000} // so that the reader sees the end
	if err := errors.Join(
		unix.SetsockoptInt(c.fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1),
		unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &poll),
	); err != nil {
		return nil, errors.Join(fmt.Errorf("capture on %s: %w", device, err), unix.Close(c.fd))
	}
	go c.run()
	return c, nil
}

func (c *Capture) run() {
	defer close(c.done)
	buf, oob := make([]byte, 65536), make([]byte, 256)
	for {
		flags := 0
		if c.stop.Load() {
			flags = unix.MSG_DONTWAIT // only what had come before
		}
		n, oobn, _, from, err := unix.Recvmsg(c.fd, buf, oob, flags)
		if errors.Is(err, unix.EAGAIN) {
			if flags != 0 {
				return
			}
			continue
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
			return
		}
		ll, _ := from.(*unix.SockaddrLinklayer)
		f := Frame{At: time.Now(), Out: ll != nil && ll.Pkttype == unix.PACKET_OUTGOING, Raw: withTag(buf[:n], oob[:oobn])}
		if c.keep != nil && !c.keep(f) {
			continue
		}
		c.mu.Lock()
		c.frames = append(c.frames, f)
		c.mu.Unlock()
	}
}

// withTag copies a frame and puts its outer VLAN tag back, which the kernel hands
// over beside it: struct tpacket_auxdata of linux/if_packet.h, where the status is
// a uint32 at 0, the TCI a uint16 at 16, the TPID one at 18.
func withTag(b, oob []byte) []byte {
	msgs, err := unix.ParseSocketControlMessage(oob)
	for _, m := range msgs {
		if err != nil || m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < 20 || len(b) < 12 {
			continue
		}
		if binary.NativeEndian.Uint32(m.Data)&unix.TP_STATUS_VLAN_VALID == 0 {
			continue
		}
		tagged := make([]byte, 0, len(b)+4)
		tagged = append(tagged, b[:12]...)
		tagged = binary.BigEndian.AppendUint16(tagged, binary.NativeEndian.Uint16(m.Data[18:]))
		tagged = binary.BigEndian.AppendUint16(tagged, binary.NativeEndian.Uint16(m.Data[16:]))
		return append(tagged, b[12:]...)
	}
	return append([]byte(nil), b...)
}

// Frames kept so far.
func (c *Capture) Frames() []Frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Frame(nil), c.frames...)
}

// Stop ends the capture and returns every frame kept. A frame the kernel had to
// drop is an error: what was not captured proves nothing.
func (c *Capture) Stop() ([]Frame, error) {
	c.stop.Store(true)
	<-c.done
	stats, err := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	err = errors.Join(c.err, err, unix.Close(c.fd))
	if err == nil && stats.Drops > 0 {
		err = fmt.Errorf("%d of %d frames dropped", stats.Drops, stats.Packets)
	}
	if err != nil {
		return c.Frames(), fmt.Errorf("capture on %s: %w", c.device, err)
	}
	return c.Frames(), nil
}
