package testbed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// lastWord is how long a ping waits for answers after its last request.
const lastWord = time.Second

// pingNumber tells the pings of this process apart, like ping(8)'s identifier.
var pingNumber atomic.Uint32

// PingResult counts what a ping sent and got back.
type PingResult struct {
	Sent       int
	Received   int           // requests answered, each once
	Duplicates int           // further answers to a request
	LongestGap time.Duration // between two answers, or from the start, or to the last request
	Max        time.Duration // round trip
}

// Lost is how many requests had no answer within a second of the last.
func (r PingResult) Lost() int { return r.Sent - r.Received }

func (r PingResult) String() string {
	return fmt.Sprintf("%d sent, %d received, %d duplicates, longest gap %s, slowest %s",
		r.Sent, r.Received, r.Duplicates, r.LongestGap.Round(time.Millisecond), r.Max.Round(time.Microsecond))
}

// Ping sends count ICMP echo requests, one every interval, and waits for the
// answers, up to a second after the last request. No answer is not an error.
func (n Namespace) Ping(to netip.Addr, count int, interval time.Duration) (PingResult, error) {
	p, err := n.startPing(to, interval, count)
	if err != nil {
		return PingResult{}, err
	}
	return p.wait()
}

// Pinger is a ping that goes on until Stop.
type Pinger struct {
	to       netip.Addr
	fd       int
	id       uint16
	count    int // 0: until stop
	interval time.Duration
	stop     chan struct{}
	done     chan struct{}
	result   PingResult
	err      error
}

// StartPing sends a request every interval until Stop.
func (n Namespace) StartPing(to netip.Addr, interval time.Duration) (*Pinger, error) {
	return n.startPing(to, interval, 0)
}

func (n Namespace) startPing(to netip.Addr, interval time.Duration, count int) (*Pinger, error) {
	p := &Pinger{to: to, id: uint16(pingNumber.Add(1)), interval: interval, count: count, stop: make(chan struct{}), done: make(chan struct{})}
	err := n.Do(func() (err error) {
		family, proto := unix.AF_INET, unix.IPPROTO_ICMP
		if to.Is6() {
			family, proto = unix.AF_INET6, unix.IPPROTO_ICMPV6
		}
		p.fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ping %s: %w", to, err)
	}
	poll := unix.Timeval{Usec: 20_000} // so that the receiver sees the end
	if err := unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &poll); err != nil {
		return nil, errors.Join(fmt.Errorf("ping %s: %w", to, err), unix.Close(p.fd))
	}
	go p.run()
	return p, nil
}

// Stop sends no more, waits for the last answers, and reports.
func (p *Pinger) Stop() (PingResult, error) {
	close(p.stop)
	return p.wait()
}

func (p *Pinger) wait() (PingResult, error) {
	<-p.done
	if p.err != nil {
		return p.result, fmt.Errorf("ping %s: %w", p.to, p.err)
	}
	return p.result, nil
}

func (p *Pinger) run() {
	defer close(p.done)
	defer unix.Close(p.fd)
	var sent atomic.Int64
	var end time.Time // of the last request; read after stopped
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for seq := 0; p.count == 0 || seq < p.count; seq++ {
			if seq > 0 {
				select {
				case <-p.stop:
					return
				case <-time.After(p.interval):
				}
			}
			sent.Add(1)
			end = time.Now()
			p.send(seq) // a request the kernel refuses (no route, no neighbour) is a lost one
		}
	}()
	p.receive(&sent, &end, stopped)
}

// send writes an echo request: type, code, checksum, identifier, sequence
// (RFC 792, RFC 4443 section 4.1), then the whole sequence number and the time.
func (p *Pinger) send(seq int) {
	b := make([]byte, 56)
	b[0] = 8
	if p.to.Is6() {
		b[0] = 128 // the kernel writes ICMPv6's checksum
	}
	binary.BigEndian.PutUint16(b[4:], p.id)
	binary.BigEndian.PutUint16(b[6:], uint16(seq))
	binary.BigEndian.PutUint64(b[8:], uint64(seq))
	binary.BigEndian.PutUint64(b[16:], uint64(time.Now().UnixNano()))
	if p.to.Is6() {
		_ = unix.Sendto(p.fd, b, 0, &unix.SockaddrInet6{Addr: p.to.As16()})
		return
	}
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	_ = unix.Sendto(p.fd, b, 0, &unix.SockaddrInet4{Addr: p.to.As4()})
}

func (p *Pinger) receive(sent *atomic.Int64, end *time.Time, stopped <-chan struct{}) {
	answered := map[uint64]bool{}
	last := time.Now()
	var deadline time.Time
	buf := make([]byte, 2048)
	for {
		select {
		case <-stopped:
			if deadline.IsZero() {
				deadline = time.Now().Add(lastWord)
			}
		default:
		}
		if !deadline.IsZero() && (int64(len(answered)) == sent.Load() || time.Now().After(deadline)) {
			p.result.Sent, p.result.Received = int(sent.Load()), len(answered)
			if p.result.Lost() > 0 {
				p.result.LongestGap = max(p.result.LongestGap, end.Sub(last))
			}
			return
		}
		n, from, err := unix.Recvfrom(p.fd, buf, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			p.err = err
			return
		}
		seq, at, ok := p.answer(buf[:n], from)
		if !ok {
			continue
		}
		now := time.Now()
		if answered[seq] {
			p.result.Duplicates++
			continue
		}
		answered[seq] = true
		p.result.LongestGap, last = max(p.result.LongestGap, now.Sub(last)), now
		p.result.Max = max(p.result.Max, now.Sub(at))
	}
}

// answer reads an echo reply of this ping from the address pinged.
func (p *Pinger) answer(b []byte, from unix.Sockaddr) (seq uint64, at time.Time, ok bool) {
	reply := byte(0)
	switch from := from.(type) {
	case *unix.SockaddrInet4: // a raw IPv4 socket gets the IP header too
		if len(b) < 20 || netip.AddrFrom4(from.Addr) != p.to {
			return 0, at, false
		}
		b = b[min(len(b), int(b[0]&15)*4):]
	case *unix.SockaddrInet6:
		if netip.AddrFrom16(from.Addr) != p.to {
			return 0, at, false
		}
		reply = 129
	}
	if len(b) < 24 || b[0] != reply || binary.BigEndian.Uint16(b[4:]) != p.id {
		return 0, at, false
	}
	return binary.BigEndian.Uint64(b[8:]), time.Unix(0, int64(binary.BigEndian.Uint64(b[16:]))), true
}

// checksum of RFC 1071, for an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
