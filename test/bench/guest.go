package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"
)

// guest is the machine behind a VIF, which speaks to it in whole frames. It is no client of ours and no more
// than it must be: DHCP messages are made once and differ in their transaction alone.
type guest struct {
	link             io.ReadWriteCloser // Read gives one frame, Write takes one
	discover, choose []byte             // frames

	mu      sync.Mutex // over writing, and what follows
	waiting map[uint32]chan<- reply
}

type reply struct {
	message byte      // option 53
	address [4]byte   // yiaddr
	at      time.Time // when it was read
}

// Where things are in a frame without IP options.
const (
	atMessage = 14 + 20 + 8
	atXID     = atMessage + 4
	atYiaddr  = atMessage + 16
	atOptions = atMessage + 240
	// atRequested is the value of option 50 in what choose makes: behind option 53.
	atRequested = atOptions + 3 + 2
)

// newGuest is the guest of a port.
func newGuest(p port, link io.ReadWriteCloser) (*guest, error) {
	g := &guest{link: link, waiting: map[uint32]chan<- reply{}}
	mac, err := net.ParseMAC(p.MAC)
	if err != nil {
		return nil, err
	}
	if g.discover, err = dhcpFrame(mac, dhcpv4.MessageTypeDiscover); err != nil {
		return nil, err
	}
	if g.choose, err = dhcpFrame(mac, dhcpv4.MessageTypeRequest); err != nil {
		return nil, err
	}
	go g.read()
	return g, nil
}

// addDummyGuest gives the dummy device of the i-th port a guest.
func (d *deployment) addDummyGuest(ctx context.Context, i int, p port) (*guest, error) {
	host, _ := d.place(i)
	device := deviceOf(i)
	socket := filepath.Join(d.hosts[host].Dir, device)
	stream := op{"op": "update", "table": "Interface", "where": [][]any{{"name", "==", device}}, "row": op{"options": mapOf(map[string]string{"pstream": "punix:" + socket})}}
	if err := d.databases[host].transact(stream); err != nil {
		return nil, err
	}
	var conn net.Conn
	err := d.await(ctx, 10*time.Second, "the socket of "+device, time.Millisecond, func() (bool, error) {
		var err error
		conn, err = net.Dial("unix", socket)
		return err == nil, nil
	})
	if err != nil {
		return nil, err
	}
	return newGuest(p, &dummyLink{Conn: conn, in: bufio.NewReaderSize(conn, 64<<10)})
}

// dummyLink is a dummy device's end: a unix socket (options:pstream of Open vSwitch's dummy devices) with frames,
// each after its length in two bytes.
type dummyLink struct {
	net.Conn
	in  *bufio.Reader
	out []byte
}

func (l *dummyLink) Read(frame []byte) (int, error) {
	var length [2]byte
	if _, err := io.ReadFull(l.in, length[:]); err != nil {
		return 0, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > len(frame) {
		return 0, io.ErrShortBuffer
	}
	return io.ReadFull(l.in, frame[:n])
}

func (l *dummyLink) Write(frame []byte) (int, error) {
	l.out = append(binary.BigEndian.AppendUint16(l.out[:0], uint16(len(frame))), frame...)
	n, err := l.Conn.Write(l.out)
	return max(0, n-2), err
}

// dhcpFrame is what a client without an address broadcasts. The options begin with 53 and, in a DHCPREQUEST, 50.
func dhcpFrame(mac net.HardwareAddr, kind dhcpv4.MessageType) ([]byte, error) {
	m, err := dhcpv4.New(dhcpv4.WithHwAddr(mac))
	if err != nil {
		return nil, err
	}
	message := append(m.ToBytes()[:240], 53, 1, byte(kind))
	if kind == dhcpv4.MessageTypeRequest {
		message = append(message, 50, 4, 0, 0, 0, 0)
	}
	message = append(message, 55, 9, 1, 28, 3, 15, 6, 12, 26, 121, 42, 255) // what images of clouds ask for
	message = append(message, make([]byte, max(0, 300-len(message)))...)
	// Without a checksum, as from a machine that leaves it to its NIC, the transaction can change.
	udp := &layers.UDP{SrcPort: 68, DstPort: 67}
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true}, udp, gopacket.Payload(message)); err != nil {
		return nil, err
	}
	datagram := append([]byte(nil), buffer.Bytes()...)
	err = gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: mac, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeIPv4},
		&layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IPv4zero, DstIP: net.IPv4bcast}, gopacket.Payload(datagram))
	return buffer.Bytes(), err
}

// read hands answers to who waits for them, until the device is gone.
func (g *guest) read() {
	buffer := make([]byte, 64<<10)
	for {
		n, err := g.link.Read(buffer)
		if err != nil {
			return
		}
		frame := buffer[:n]
		// A DHCP answer, whose first option is its type.
		if len(frame) < atOptions+3 || binary.BigEndian.Uint16(frame[12:]) != 0x0800 || frame[23] != 17 || binary.BigEndian.Uint16(frame[36:]) != 68 || frame[atOptions] != 53 {
			continue
		}
		xid := binary.BigEndian.Uint32(frame[atXID:])
		g.mu.Lock()
		to := g.waiting[xid]
		delete(g.waiting, xid)
		g.mu.Unlock()
		if to != nil {
			to <- reply{frame[atOptions+2], [4]byte(frame[atYiaddr:]), time.Now()}
		}
	}
}

// send sends a message; the answer goes to to, which has room, or is not waited for if that is nil.
func (g *guest) send(frame []byte, xid uint32, requested [4]byte, to chan<- reply) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if to != nil {
		g.waiting[xid] = to
	}
	binary.BigEndian.PutUint32(frame[atXID:], xid)
	if &frame[0] == &g.choose[0] {
		copy(frame[atRequested:], requested[:])
	}
	_, err := g.link.Write(frame)
	return err
}

// errLost is a request without an answer.
var errLost = errors.New("no answer")

// patience is when a request counts as lost: clients wait longer before they ask again.
const patience = time.Second

// ask sends a message and waits for the answer of a type.
func (g *guest) ask(frame []byte, xid uint32, requested [4]byte, want dhcpv4.MessageType) (reply, time.Duration, error) {
	answer := make(chan reply, 1)
	start := time.Now()
	if err := g.send(frame, xid, requested, answer); err != nil {
		return reply{}, 0, err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-answer:
		if r.message != byte(want) {
			return r, 0, fmt.Errorf("an answer of type %d, want %v", r.message, want)
		}
		return r, r.at.Sub(start), nil
	case <-timer.C:
		g.mu.Lock()
		delete(g.waiting, xid)
		g.mu.Unlock()
		return reply{}, 0, errLost
	}
}

// boot gets a lease: all four packets.
func (g *guest) boot(xid uint32) (time.Duration, error) {
	offer, first, err := g.ask(g.discover, xid, [4]byte{}, dhcpv4.MessageTypeOffer)
	if err != nil {
		return 0, err
	}
	ack, second, err := g.ask(g.choose, xid+1, offer.address, dhcpv4.MessageTypeAck)
	if err == nil && ack.address != offer.address {
		err = fmt.Errorf("%v was offered, %v given", offer.address, ack.address)
	}
	return first + second, err
}

// oneByOne asks n times, once the one before was answered, with a rest between.
func (g *guest) oneByOne(n int, rest time.Duration) (latencies []time.Duration, lost int, err error) {
	for i := range n {
		_, took, err := g.ask(g.discover, uint32(i), [4]byte{}, dhcpv4.MessageTypeOffer)
		switch {
		case errors.Is(err, errLost):
			lost++
		case err != nil:
			return nil, 0, err
		default:
			latencies = append(latencies, took)
		}
		time.Sleep(rest)
	}
	return latencies, lost, nil
}

// atOnce keeps as many requests under way as window, for a time, and counts those
// that were answered and those that were not.
func (g *guest) atOnce(window int, lasting time.Duration) (answered, lost int, err error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	end := time.Now().Add(lasting)
	for w := range window {
		all.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				_, _, e := g.ask(g.discover, uint32(w<<24|i), [4]byte{}, dhcpv4.MessageTypeOffer)
				mu.Lock()
				switch {
				case e == nil:
					answered++
				case errors.Is(e, errLost):
					lost++
				default:
					err = e
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return answered, lost, err
}

// flood sends requests at a rate, whatever becomes of them, until stop is closed,
// and says how many a second went in.
func (g *guest) flood(rate int, stop <-chan struct{}) (perSecond float64, err error) {
	const step = 2 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	start, sent := time.Now(), 0
	for {
		select {
		case <-stop:
			return float64(sent) / time.Since(start).Seconds(), nil
		case <-tick.C:
		}
		for due := int(time.Since(start).Seconds() * float64(rate)); sent < due; sent++ {
			if err := g.send(g.discover, 1<<31|uint32(sent), [4]byte{}, nil); err != nil {
				return 0, err
			}
		}
	}
}
