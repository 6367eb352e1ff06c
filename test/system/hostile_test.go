package system

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// The signals that stop a process's clock and start it again.
const (
	stop   = syscall.SIGSTOP
	resume = syscall.SIGCONT
)

// quick is how soon a VIF is ACTIVE while somebody else misbehaves, on a busy machine.
const quick = 3 * time.Second

func (d *deployment) dial(address string) net.Conn {
	d.t.Helper()
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// A stranger that sends garbage, or stalls in the middle of a message, is cut off and named in the
// log. Others notice nothing.
func TestStrangers(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	h := d.addHosts("compute01")[0]
	n := d.addNetwork("blue", "10.0.0.0/24")
	before, err := d.host(h.Name)
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 100_000)
	rand.Read(noise)
	hello := []byte{6, 0, 0, 8, 0, 0, 0, 1}
	var conns []net.Conn
	for _, c := range []struct {
		address string
		sends   []byte
	}{
		{d.ovsdb, noise},
		{d.ovsdb, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
		{d.ovsdb, bytes.Repeat([]byte(`{"a":[`), 50_000)},
		{d.ovsdb, []byte(`{"id":0,"result":`)},
		{d.ovsdb, []byte(`{"id":"x","method":"update3","params":[]}`)},
		{d.ovsdb, []byte{}},
		{d.openflow, noise},
		{d.openflow, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
		{d.openflow, []byte{6, 0, 0, 0, 0, 0, 0, 1}},                                    // shorter than its header
		{d.openflow, []byte{1, 0, 0, 8, 0, 0, 0, 1}},                                    // OpenFlow 1.0 alone
		{d.openflow, append(bytes.Clone(hello), 6, 6, 0, 32, 0, 0, 0, 2)},               // half a features reply
		{d.openflow, append(bytes.Clone(hello), bytes.Repeat([]byte{0xff}, 70_000)...)}, // a hello, then garbage
		{d.openflow, []byte{}},
	} {
		conn := d.dial(c.address)
		defer conn.Close()
		conns = append(conns, conn)
		if _, err := conn.Write(c.sends); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(err)
		}
	}

	p := d.addPort(n, h.Name)
	start := time.Now()
	d.plug(h, p)
	d.become("ACTIVE", p)
	if took := time.Since(start); took > quick {
		t.Errorf("among strangers a VIF took %s", took)
	}
	for _, conn := range conns {
		conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s is still connected to %s", conn.LocalAddr(), conn.RemoteAddr())
			continue
		}
		d.logged("refused", conn.LocalAddr().String())
	}
	after, err := d.host(h.Name)
	if err != nil || !after.OVSDB.Since.Equal(before.OVSDB.Since) {
		t.Errorf("the host's session began at %v, and before at %v; error %v", after.OVSDB, before.OVSDB, err)
	}
}

// Thousands of connections that say nothing hold up neither the hosts that are there nor one that comes.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	h := d.addHosts("compute01")[0]
	n := d.addNetwork("blue", "10.0.0.0/24")
	late, err := d.bed.AddCheapHost("compute02")
	if err != nil {
		t.Fatal(err)
	}
	for range 1500 {
		for _, address := range []string{d.ovsdb, d.openflow} {
			conn := d.dial(address)
			defer conn.Close()
		}
	}
	p, q := d.addPort(n, h.Name), d.addPort(n, late.Name)
	start := time.Now()
	d.plug(h, p)
	d.become("ACTIVE", p)
	if took := time.Since(start); took > quick {
		t.Errorf("a VIF took %s", took)
	}
	start = time.Now()
	d.enrol(late, nil)
	d.settled(late)
	d.plug(late, q)
	d.become("ACTIVE", q)
	if took := time.Since(start); took > quick {
		t.Errorf("a host that comes waited %s", took)
	}
}

// A switch that hangs holds up its own host only, and gets the newest state when it goes on.
func TestSwitchHangs(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	hosts := d.addHosts("compute01", "compute02")
	h1, h2 := hosts[0], hosts[1]
	n := d.addNetwork("blue", "10.0.0.0/24")
	a, b := d.addPort(n, h1.Name), d.addPort(n, h2.Name)
	d.plug(h1, a)
	d.plug(h2, b)
	d.become("ACTIVE", a, b)
	d.settled(hosts...)

	if err := h1.PauseVswitchd(); err != nil {
		t.Fatal(err)
	}
	var ports []*port
	for range 5 {
		p := d.addPort(n, h2.Name)
		start := time.Now()
		d.plug(h2, p)
		d.become("ACTIVE", p)
		if took := time.Since(start); took > quick {
			t.Errorf("while the other host hangs a VIF took %s", took)
		}
		ports = append(ports, p)
	}
	d.unplug(h2, ports[0])
	d.become("DOWN", ports[0])
	if err := h1.ResumeVswitchd(); err != nil {
		t.Fatal(err)
	}
	d.settled(hosts...)
	for _, p := range ports {
		if got := d.sends(h1, a, p.MAC); got != through(h2, n) {
			t.Errorf("after it went on, %s sends to %s by %q", h1.Name, p.address(), got)
		}
	}
}
