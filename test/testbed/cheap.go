package testbed

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// CheapHost is a real ovsdb-server and ovs-vswitchd without a network: every
// device of every type but patch is a dummy, also where the database says
// "system" or "vxlan". It needs no root and starts in 0.1 s.
//
// A frame that goes to a tunnel port appears there as it is, without
// encapsulation; ofproto/trace shows the tunnel's fields. A packet injected at a
// tunnel port has none: follow those with [CheapHost.Trace].
type CheapHost struct {
	Switch
	Encap netip.Addr // 172.31.x.N: announced, but nobody's
}

// AddCheapHost starts a host of dummies. Name is also its hostname.
func (b *Bed) AddCheapHost(name string) (*CheapHost, error) {
	h := &CheapHost{Encap: address(172, 31, b.nextNumber())}
	if err := h.init(b.Here(), name, "--enable-dummy=override", "--disable-system"); err != nil {
		return nil, err
	}
	if err := h.StartOVSDB(); err != nil {
		return nil, err
	}
	if _, err := h.Vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", "external_ids:system-id="+h.SystemID()); err != nil {
		return nil, err
	}
	return h, h.StartVswitchd()
}

// AddCheapHosts starts hosts side by side.
func (b *Bed) AddCheapHosts(names ...string) ([]*CheapHost, error) {
	hosts := make([]*CheapHost, len(names))
	var g errgroup.Group
	g.SetLimit(4)
	for i, name := range names {
		g.Go(func() (err error) {
			hosts[i], err = b.AddCheapHost(name)
			return err
		})
	}
	return hosts, g.Wait()
}

// Enroll runs the operator's one command on the host: its external_ids, and the
// controller's OVSDB address. hostname and tunbridge-encap-ip need not be given.
func (h *CheapHost) Enroll(target string, ids map[string]string) error {
	all := map[string]string{"hostname": h.Name, "tunbridge-encap-ip": h.Encap.String()}
	maps.Copy(all, ids)
	return h.enroll(target, all)
}

// PlugVIF adds a VIF's port as os-vif does. What the port sends is recorded.
func (h *CheapHost) PlugVIF(v VIF) error {
	if err := v.check(); err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	return h.plug(v, "options:tx_pcap="+h.pcap(v.Device()))
}

// UnplugVIF removes the VIF's port.
func (h *CheapHost) UnplugVIF(v VIF) error {
	return h.named(h.Client().VSwitch.DeletePort(v.bridge(), v.Device()))
}

// Record keeps what a port sends from now on, as it is for every VIF. Use it for
// a tunnel or a provider's port.
func (h *CheapHost) Record(port string) error {
	_, err := h.Vsctl("set", "Interface", port, "options:tx_pcap="+h.pcap(port))
	return err
}

// Inject lets a port receive an Ethernet frame.
func (h *CheapHost) Inject(port string, frame []byte) error {
	_, err := h.Appctl("netdev-dummy/receive", port, hex.EncodeToString(frame))
	return err
}

// Sent returns the frames that a recorded port has sent. A new recording of a
// port plugged again starts over.
func (h *CheapHost) Sent(port string) ([][]byte, error) {
	b, err := os.ReadFile(h.pcap(port))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", h.Name, err)
	}
	frames, err := parsePcap(b)
	if err != nil {
		return frames, fmt.Errorf("host %s: port %s: %w", h.Name, port, err)
	}
	return frames, nil
}

func (h *CheapHost) pcap(port string) string { return filepath.Join(h.Dir, port+".pcap") }

// parsePcap reads the classic capture file: a header of 24 bytes, and before
// every frame one of 16 with the captured length at 8, in the writer's byte
// order. A last record that is still being written is left out.
func parsePcap(b []byte) (frames [][]byte, err error) {
	if len(b) < 24 {
		return nil, nil
	}
	if magic := binary.NativeEndian.Uint32(b); magic != 0xa1b2c3d4 {
		return nil, fmt.Errorf("capture file: magic %#x", magic)
	}
	for b = b[24:]; len(b) >= 16; {
		n := int(binary.NativeEndian.Uint32(b[8:]))
		if len(b)-16 < n {
			break
		}
		frames, b = append(frames, b[16:16+n]), b[16+n:]
	}
	return frames, nil
}
