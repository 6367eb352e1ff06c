package testbed

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed udhcpc.sh
var udhcpcScript []byte

// Lease is what a DHCP server gave, as the client understood it.
type Lease struct {
	Event    string // bound or renew
	Prefix   netip.Prefix
	Router   netip.Addr // option 3
	DNS      []netip.Addr
	Domain   string
	Search   []string // option 119
	Hostname string
	MTU      int     // option 26; 0 if not given
	Routes   []Route // option 121
	Duration time.Duration
	Server   netip.Addr // option 54
}

// Route is one of a lease's classless static routes (RFC 3442); Via is 0.0.0.0 for on-link.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// DHCP gets a lease with a real client, udhcpc, and gives eth0 what the lease says.
func (vm *VM) DHCP() (Lease, error) {
	c, lease, err := vm.StartDHCP()
	if err != nil {
		return Lease{}, err
	}
	return lease, c.Stop()
}

// DHCPClient is a real client that keeps its lease.
type DHCPClient struct {
	vm      *VM
	program string
	process *Process
	renew   os.Signal                // makes it ask for the same again; nil: it does when it is time to
	release func() error             // has it give the lease back
	events  <-chan map[string]string // closed at its end
}

// leaseTimeout covers five requests of udhcpc, a second apart, and a busy machine.
const leaseTimeout = 20 * time.Second

// StartDHCP starts udhcpc and waits for its first lease. Without an answer to
// five requests it fails.
func (vm *VM) StartDHCP() (*DHCPClient, Lease, error) {
	script := filepath.Join(vm.bed.dir, "udhcpc.sh")
	if err := writeOnce(script, udhcpcScript); err != nil {
		return nil, Lease{}, err
	}
	c := &DHCPClient{vm: vm, program: "udhcpc", renew: syscall.SIGUSR1}
	c.release = func() error { return c.signalRelease(syscall.SIGUSR2) }
	lease, err := c.start("udhcpc", "-f", "-n", "-i", "eth0", "-s", script, "-t", "5", "-T", "1",
		"-O", "staticroutes", "-O", "mtu", "-O", "search", "-O", "domain", "-O", "hostname")
	return c, lease, err
}

// start starts the client and waits for its first lease.
func (c *DHCPClient) start(argv ...string) (Lease, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return Lease{}, err
	}
	c.process, err = c.vm.start(c.vm.Name+"-"+c.program, w, argv...)
	if err := errors.Join(err, w.Close()); err != nil {
		return Lease{}, errors.Join(fmt.Errorf("vm %s: %w", c.vm.Name, err), r.Close())
	}
	c.events = readEvents(r)
	lease, err := c.await("bound")
	if err != nil {
		err = errors.Join(err, c.Stop())
	}
	return lease, err
}

// Renew waits for an answer to the client's asking for the same again, unicast (RFC 2131 section 4.4.5).
// udhcpc asks at once, the others when their lease is half over.
func (c *DHCPClient) Renew() (Lease, error) {
	if c.renew != nil {
		if err := c.process.Signal(c.renew); err != nil {
			return Lease{}, err
		}
	}
	return c.await("renew")
}

// Release gives the lease back and takes it from eth0. Clients other than udhcpc end with that.
func (c *DHCPClient) Release() error { return c.release() }

// signalRelease says it again where nothing comes of it: dhcpcd does not hear of a signal while its script runs.
func (c *DHCPClient) signalRelease(s os.Signal) error {
	var err error
	for range 5 {
		gone := c.process.Signal(s)
		if _, err = c.awaitWithin("deconfig", leaseTimeout/5); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if gone != nil {
			return gone
		}
	}
	return err
}

// Stop ends the client. eth0 keeps what it has.
func (c *DHCPClient) Stop() error { return c.process.Kill() }

// readEvents collects what a client's script prints: an event's lines of name=value, the last being
// "end". The channel is closed at the end.
func readEvents(r io.ReadCloser) <-chan map[string]string {
	events := make(chan map[string]string, 64)
	go func() {
		defer r.Close()
		defer close(events)
		event := map[string]string{}
		for lines := bufio.NewScanner(r); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), "=")
			event[name] = value
			if name != "end" {
				continue
			}
			select {
			case events <- event:
			default: // nobody asked for so many
			}
			event = map[string]string{}
		}
	}()
	return events
}

func (c *DHCPClient) await(want string) (Lease, error) { return c.awaitWithin(want, leaseTimeout) }

// awaitWithin returns os.ErrDeadlineExceeded, wrapped, when the event does not come in time.
func (c *DHCPClient) awaitWithin(want string, within time.Duration) (Lease, error) {
	deadline := time.After(within)
	for {
		select {
		case e, ok := <-c.events:
			switch {
			case !ok:
				return Lease{}, fmt.Errorf("vm %s: %s ended without %q: %s", c.vm.Name, c.program, want, c.process.lastWords())
			case e["event"] == "nak":
				return Lease{}, fmt.Errorf("vm %s: DHCP server refused: %s", c.vm.Name, e["message"])
			case e["event"] != want:
				continue
			case want == "deconfig":
				return Lease{}, nil
			}
			l, err := parseLease(e)
			if err != nil {
				return l, fmt.Errorf("vm %s: lease: %w", c.vm.Name, err)
			}
			return l, nil
		case <-deadline:
			return Lease{}, fmt.Errorf("vm %s: no %q from %s within %s: %w: %s", c.vm.Name, want, c.program, within, os.ErrDeadlineExceeded, c.process.lastWords())
		}
	}
}

// parseLease reads the variables of a udhcpc script.
func parseLease(e map[string]string) (Lease, error) {
	l := Lease{Event: e["event"], Domain: e["domain"], Hostname: e["hostname"], Search: strings.Fields(e["search"])}
	var errs []error
	addrs := func(name string) (as []netip.Addr) {
		for _, s := range strings.Fields(e[name]) {
			a, err := netip.ParseAddr(s)
			errs = append(errs, err)
			as = append(as, a)
		}
		return as
	}
	first := func(name string) (a netip.Addr) {
		if as := addrs(name); len(as) > 0 {
			a = as[0]
		}
		return a
	}
	number := func(name string) (n int) {
		if e[name] != "" {
			var err error
			n, err = strconv.Atoi(e[name])
			errs = append(errs, err)
		}
		return n
	}
	bits := 32 // a lease without a mask is of a lone address
	if e["mask"] != "" {
		bits = number("mask")
	}
	if l.Prefix = netip.PrefixFrom(first("ip"), bits); !l.Prefix.IsValid() {
		errs = append(errs, fmt.Errorf("address %q with mask %q", e["ip"], e["mask"]))
	}
	l.Router, l.DNS, l.Server = first("router"), addrs("dns"), first("serverid")
	l.MTU, l.Duration = number("mtu"), time.Duration(number("lease"))*time.Second
	for f := strings.Fields(e["staticroutes"]); len(f) >= 2; f = f[2:] {
		to, err1 := netip.ParsePrefix(f[0])
		via, err2 := netip.ParseAddr(f[1])
		errs = append(errs, err1, err2)
		l.Routes = append(l.Routes, Route{to, via})
	}
	return l, errors.Join(errs...)
}

// writeOnce makes an executable file that several may want at the same time.
func writeOnce(path string, b []byte) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path))
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Chmod(0o755), f.Close(), os.Rename(f.Name(), path))
}
