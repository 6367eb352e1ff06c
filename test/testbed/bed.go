package testbed

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
)

// ManagementAddr is the underlay namespace's address on the management network:
// where a controller listens for hosts.
var ManagementAddr = netip.MustParseAddr("10.77.0.254")

// UnderlayMTU leaves room for every encapsulation around a 1500-byte packet: the
// userspace datapath does not fragment what it encapsulated.
const UnderlayMTU = 1700

// The Linux bridges in the underlay namespace.
const (
	underlayBridge   = "underlay"
	managementBridge = "management"
)

// Options of a bed; the zero value is what tests want.
type Options struct {
	// Prefix of namespaces' names, at most 8 characters of [a-z0-9]. Default: a random one.
	Prefix string
	// Dir holds the daemons' databases, sockets and logs, and is kept by Close.
	// It must be short: a unix socket's path has at most 107 bytes.
	// Default: a directory of the bed's own, removed by Close.
	Dir string
	// Log gets every command that is run, at level debug. Default: nothing.
	Log *slog.Logger
	// Keep lets daemons and namespaces outlive this process; [Reap] with the
	// prefix removes them.
	Keep bool
}

// Bed is a set of hosts. Its methods may be called from several goroutines.
type Bed struct {
	// Underlay is the namespace that carries the underlay and the management
	// network. It exists once the first [Host] does, or [Bed.Wire] was called.
	Underlay Namespace

	prefix string
	dir    string
	keep   bool
	log    *slog.Logger
	record *record

	mu     sync.Mutex
	wired  bool
	hosts  []*Host
	number int // of the last host, real or cheap
}

// New makes an empty bed, after removing what beds of dead processes left behind.
func New(o Options) (*Bed, error) {
	if err := Reap(); err != nil {
		return nil, err
	}
	b := &Bed{prefix: o.Prefix, dir: o.Dir, keep: o.Keep, log: o.Log}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if b.record, err = newRecord(o.Prefix, o.Keep); err != nil {
		return nil, err
	}
	b.prefix = b.record.Prefix
	if b.dir == "" {
		b.dir = filepath.Dir(b.record.path)
	}
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return nil, err
	}
	if len(b.dir) > 60 {
		return nil, errors.Join(fmt.Errorf("testbed directory %s: longer than 60 bytes, too long for unix sockets in it", b.dir), b.record.remove())
	}
	b.record.Dir = b.dir
	if err := errors.Join(os.MkdirAll(b.dir, 0o755), b.record.save()); err != nil {
		return nil, err
	}
	b.Underlay = Namespace{bed: b, name: b.prefix + "ul"}
	return b, nil
}

// randomPrefix is short enough for every name made from it, and different each time.
func randomPrefix() string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails
	return "tb" + strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))[:4]
}

// Prefix of the bed's namespaces: <prefix>ul, <prefix>-<name of a host, VM, network or machine>.
func (b *Bed) Prefix() string { return b.prefix }

// Dir holds one directory per host, with its database, sockets and logs.
func (b *Bed) Dir() string { return b.dir }

// Here is this process's own namespace, for processes that belong to the bed
// but need no network of its own, such as a controller of cheap hosts.
func (b *Bed) Here() Namespace { return Namespace{bed: b} }

// Wire makes the underlay namespace. AddHost does so itself; call it to start a
// controller before any host.
func (b *Bed) Wire() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wired {
		return nil
	}
	if err := b.Underlay.create(); err != nil {
		return err
	}
	nl, err := b.Underlay.netlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	snooping := false
	for _, br := range []struct {
		name string
		mtu  int
	}{{underlayBridge, UnderlayMTU}, {managementBridge, 1500}} {
		link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: br.name, MTU: br.mtu}, MulticastSnooping: &snooping}
		if err := nl.LinkAdd(link); err != nil {
			return fmt.Errorf("bridge %s: %w", br.name, err)
		}
		if err := nl.LinkSetUp(link); err != nil {
			return fmt.Errorf("bridge %s: %w", br.name, err)
		}
	}
	if err := b.Underlay.addAddress(managementBridge, netip.PrefixFrom(ManagementAddr, 16)); err != nil {
		return err
	}
	b.wired = true
	return nil
}

// wire joins a host to one of the underlay's bridges: a veth from port there to
// device in the host's namespace.
func (b *Bed) wire(bridge, port string, ns Namespace, device string, mtu int) error {
	nl, err := b.Underlay.netlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	if err := addVeth(nl, port, ns, device, mtu, nil); err != nil {
		return err
	}
	return b.bridge(port, bridge)
}

// bridge makes a port in the underlay namespace part of a bridge there, or of none: "".
func (b *Bed) bridge(port, bridge string) error {
	nl, err := b.Underlay.netlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	link, err := nl.LinkByName(port)
	if err != nil {
		return fmt.Errorf("link %s: %w", port, err)
	}
	if bridge == "" {
		return nl.LinkSetNoMaster(link)
	}
	br, err := nl.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("bridge %s: %w", bridge, err)
	}
	if err := nl.LinkSetMaster(link, br); err != nil {
		return fmt.Errorf("link %s: join %s: %w", port, bridge, err)
	}
	return nil
}

// Hosts of the bed with a namespace, in the order in which they were added.
func (b *Bed) Hosts() []*Host {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]*Host(nil), b.hosts...)
}

// nextNumber counts hosts from 1; addresses and port names are made from it.
func (b *Bed) nextNumber() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.number++
	return b.number
}

// address is the Nth host's in a /16 whose first two bytes are given.
func address(a, b byte, n int) netip.Addr {
	return netip.AddrFrom4([4]byte{a, b, byte(n / 250), byte(n%250 + 1)})
}

// WarmTunnels waits until every host has resolved every other's VTEP. The
// userspace datapath drops packets, for up to a second, while it resolves a cold
// tunnel neighbour.
func (b *Bed) WarmTunnels() error {
	hosts := b.Hosts()
	var g errgroup.Group
	g.SetLimit(8)
	for _, from := range hosts {
		for _, to := range hosts {
			if from == to {
				continue
			}
			g.Go(func() error { return from.resolve(to.VTEP) })
		}
	}
	return g.Wait()
}

// Close ends every process of the bed and removes its namespaces, and its
// directory unless Options.Dir named it. It may be called after any failure.
func (b *Bed) Close() error {
	if err := b.record.clear(); err != nil {
		return err // the record stays, for another try
	}
	return b.record.remove()
}
