package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// commandTimeout ends a command that should have ended long ago.
const commandTimeout = 60 * time.Second

// Namespace is a network namespace of the bed, or, without a name, this
// process's own.
type Namespace struct {
	bed  *Bed
	name string
	env  []string // of its commands, after the process's own
	dir  string   // of its logs; default the bed's
}

// NetworkName is the namespace's name, as `ip netns exec` takes it; "" is this process's own.
func (n Namespace) NetworkName() string { return n.name }

func (n Namespace) create() error {
	if err := n.bed.record.addNamespace(n.name); err != nil {
		return err
	}
	// Made by ip rather than by hand: it also makes /run/netns shared, without
	// which a namespace cannot be deleted while a command runs in another.
	if out, err := exec.Command("ip", "netns", "add", n.name).CombinedOutput(); err != nil {
		return fmt.Errorf("add namespace %s: %w: %s", n.name, err, strings.TrimSpace(string(out)))
	}
	nl, err := n.netlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	lo, err := nl.LinkByName("lo")
	if err != nil {
		return err
	}
	return nl.LinkSetUp(lo)
}

func (n Namespace) delete() error {
	if out, err := exec.Command("ip", "netns", "del", n.name).CombinedOutput(); err != nil {
		return fmt.Errorf("delete namespace %s: %w: %s", n.name, err, strings.TrimSpace(string(out)))
	}
	return n.bed.record.dropNamespace(n.name)
}

// Command is a command to run in the namespace. The caller starts it; see
// [Namespace.Start] for one that belongs to the bed.
func (n Namespace) Command(ctx context.Context, name string, arg ...string) *exec.Cmd {
	if n.name != "" {
		// Not "ip netns exec": that remounts /sys, which fails where / is no mount point (a chroot).
		arg = append([]string{"--net=" + filepath.Join("/run/netns", n.name), "--", name}, arg...)
		name = "nsenter"
	}
	c := exec.CommandContext(ctx, name, arg...)
	c.Env = append(os.Environ(), n.env...)
	c.WaitDelay = time.Second
	return c
}

// Exec runs a command in the namespace, for a minute at most. It returns what
// the command wrote to its standard output; the error has what it wrote to the other.
func (n Namespace) Exec(name string, arg ...string) (string, error) {
	return n.exec(nil, name, arg...)
}

func (n Namespace) exec(stdin io.Reader, name string, arg ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	c := n.Command(ctx, name, arg...)
	var out, errOut strings.Builder
	c.Stdin, c.Stdout, c.Stderr = stdin, &out, &errOut
	c.WaitDelay = 10 * time.Second // on a busy machine another child may hold the pipes for long between its fork and its exec
	start := time.Now()
	err := c.Run()
	n.bed.log.Debug("command", "namespace", n.name, "argv", c.Args, "took", time.Since(start), "error", err)
	if err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", name, strings.Join(arg, " "), err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

// Do calls f on a thread that is in the namespace. A socket f opens stays in it.
func (n Namespace) Do(f func() error) error {
	if n.name == "" {
		return f()
	}
	done := make(chan error, 1)
	go func() { // a goroutine of its own: if the thread cannot return home, it ends with it
		runtime.LockOSThread()
		done <- func() error {
			home, err := netns.Get()
			if err != nil {
				return err
			}
			defer home.Close()
			there, err := netns.GetFromName(n.name)
			if err != nil {
				return fmt.Errorf("namespace %s: %w", n.name, err)
			}
			defer there.Close()
			if err := netns.Set(there); err != nil {
				return fmt.Errorf("namespace %s: %w", n.name, err)
			}
			err = f()
			if back := netns.Set(home); back != nil {
				return errors.Join(err, back)
			}
			runtime.UnlockOSThread()
			return err
		}()
	}()
	return <-done
}

// DialContext connects from inside the namespace; it fits http.Transport. The
// address is numeric: names are resolved elsewhere.
func (n Namespace) DialContext(ctx context.Context, network, addr string) (c net.Conn, err error) {
	err = n.Do(func() error {
		c, err = new(net.Dialer).DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// Listen listens inside the namespace.
func (n Namespace) Listen(network, addr string) (l net.Listener, err error) {
	err = n.Do(func() error {
		l, err = net.Listen(network, addr)
		return err
	})
	return l, err
}

// logPath is the file of a process's output.
func (n Namespace) logPath(name string) string {
	dir := n.dir
	if dir == "" {
		dir = n.bed.dir
	}
	return filepath.Join(dir, name+".log")
}

// netlink talks to the kernel about the namespace's links.
func (n Namespace) netlink() (*netlink.Handle, error) {
	ns, err := netns.GetFromName(n.name)
	if err != nil {
		return nil, fmt.Errorf("namespace %s: %w", n.name, err)
	}
	defer ns.Close()
	return netlink.NewHandleAt(ns)
}

// addVeth makes a veth pair: port in the namespace of nl, device in ns, both up.
// The port gets no IPv6 address of its own; the device's is up to peerMAC: a VM
// has one, a host's NIC has not. A VM starts with an MTU of 1500, and may set as
// much as its port has.
func addVeth(nl *netlink.Handle, port string, ns Namespace, device string, mtu int, peerMAC net.HardwareAddr) error {
	deviceMTU := mtu
	if peerMAC != nil {
		deviceMTU = 1500
	}
	fd, err := netns.GetFromName(ns.name)
	if err != nil {
		return fmt.Errorf("namespace %s: %w", ns.name, err)
	}
	defer fd.Close()
	veth := &netlink.Veth{
		LinkAttrs:        netlink.LinkAttrs{Name: port, MTU: mtu, TxQLen: -1},
		PeerName:         device,
		PeerNamespace:    netlink.NsFd(fd),
		PeerHardwareAddr: peerMAC,
		PeerMTU:          uint32(deviceMTU),
	}
	if err := nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("link %s: %w", port, err)
	}
	peer, err := ns.netlink()
	if err != nil {
		return err
	}
	defer peer.Close()
	return errors.Join(up(nl, port, false), up(peer, device, peerMAC != nil))
}

func up(nl *netlink.Handle, name string, linkLocal bool) error {
	link, err := nl.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	if !linkLocal {
		const none = 1 // IN6_ADDR_GEN_MODE_NONE
		if err := nl.LinkSetIP6AddrGenMode(link, none); err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
	}
	if err := nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("link %s: up: %w", name, err)
	}
	return nil
}

// addAddress gives a link an address, which it may have already. An IPv6 address
// may be used at once (no duplicate address detection).
func (n Namespace) addAddress(device string, p netip.Prefix) error {
	return n.address(device, p, (*netlink.Handle).AddrReplace)
}

// dropAddress takes an address off a link.
func (n Namespace) dropAddress(device string, p netip.Prefix) error {
	return n.address(device, p, (*netlink.Handle).AddrDel)
}

func (n Namespace) address(device string, p netip.Prefix, set func(*netlink.Handle, netlink.Link, *netlink.Addr) error) error {
	nl, err := n.netlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	link, err := nl.LinkByName(device)
	if err != nil {
		return fmt.Errorf("link %s: %w", device, err)
	}
	a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	if err := set(nl, link, a); err != nil {
		return fmt.Errorf("link %s: address %s: %w", device, p, err)
	}
	return nil
}

// finishChecksums makes one end of a veth send what it sends with its checksums. A
// veth leaves that to the other end, and Open vSwitch, which reads the frames from
// a packet socket, would pass them on as they are.
func (n Namespace) finishChecksums(device string) error {
	_, err := n.Exec("ethtool", "-K", device, "tx", "off")
	return err
}
