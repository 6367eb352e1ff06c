package testbed

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// schema of the vswitchd database, where Debian's openvswitch-switch puts it.
const schema = "/usr/share/openvswitch/vswitch.ovsschema"

// startTimeout is for a daemon to open its socket, on a machine that is busy.
const startTimeout = 30 * time.Second

// Switch is an ovsdb-server and an ovs-vswitchd with a directory of their own:
// Open vSwitch's tools find them by OVS_RUNDIR alone and never touch the
// machine's own Open vSwitch.
type Switch struct {
	Namespace
	Name string // of the host, and its hostname in the database
	Dir  string // database, sockets, pid files and logs

	vswitchdArgs []string

	mu       sync.Mutex // guards the two, which stop and start
	ovsdb    *Process
	vswitchd *Process
}

func (s *Switch) init(ns Namespace, name string, vswitchdArgs ...string) error {
	dir := filepath.Join(ns.bed.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("host %s: %w", name, err)
	}
	ns.dir = dir
	ns.env = []string{"OVS_RUNDIR=" + dir, "OVS_DBDIR=" + dir, "OVS_LOGDIR=" + dir}
	s.Namespace, s.Name, s.Dir, s.vswitchdArgs = ns, name, dir, vswitchdArgs
	_, err := ns.bed.Here().Exec("ovsdb-tool", "create", filepath.Join(dir, "conf.db"), schema)
	return err
}

// SystemID is external_ids:system-id of the host's Open_vSwitch row.
func (s *Switch) SystemID() string { return s.bed.prefix + "-" + s.Name }

// StartOVSDB starts the ovsdb-server, which listens on Dir/db.sock and connects
// to the managers its own database names.
func (s *Switch) StartOVSDB() error {
	p, err := s.startDaemon("ovsdb-server", filepath.Join(s.Dir, "conf.db"),
		"--remote=punix:"+filepath.Join(s.Dir, "db.sock"), "--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
		"--private-key=db:Open_vSwitch,SSL,private_key", "--certificate=db:Open_vSwitch,SSL,certificate", "--bootstrap-ca-cert=db:Open_vSwitch,SSL,ca_cert")
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.ovsdb = p
	s.mu.Unlock()
	return s.await(p, "db.sock")
}

// StartVswitchd starts the ovs-vswitchd and waits until it runs every bridge. It
// has no flows yet, whatever it had before.
func (s *Switch) StartVswitchd() error {
	p, err := s.startDaemon("ovs-vswitchd", append([]string{"unix:" + filepath.Join(s.Dir, "db.sock")}, s.vswitchdArgs...)...)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.vswitchd = p
	s.mu.Unlock()
	if err := s.await(p, fmt.Sprintf("ovs-vswitchd.%d.ctl", p.PID())); err != nil {
		return err
	}
	bridges, err := s.Vsctl("list-br")
	for _, b := range strings.Fields(bridges) {
		err = errors.Join(err, s.await(p, b+".mgmt"))
	}
	return err
}

func (s *Switch) startDaemon(program string, arg ...string) (*Process, error) {
	argv := append([]string{program, "--pidfile", "--log-file", "--no-chdir", "-vconsole:err", "-vsyslog:off"}, arg...)
	return s.Start(program+"-console", argv...) // its log proper is <program>.log
}

// await waits for a daemon's socket to answer.
func (s *Switch) await(p *Process, socket string) error {
	return eventually(startTimeout, "host "+s.Name+": "+p.name, func() (bool, error) {
		select {
		case <-p.Done():
			return false, fmt.Errorf("ended: %s", p.lastWords())
		default:
		}
		c, err := net.Dial("unix", filepath.Join(s.Dir, socket))
		if err != nil {
			return false, nil
		}
		return true, c.Close()
	})
}

// Vswitchd is the ovs-vswitchd that runs, or ran last.
func (s *Switch) Vswitchd() *Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vswitchd
}

// OVSDB is the ovsdb-server that runs, or ran last.
func (s *Switch) OVSDB() *Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ovsdb
}

// StopVswitchd ends the ovs-vswitchd as a package upgrade does.
func (s *Switch) StopVswitchd() error { return s.Vswitchd().Stop(10 * time.Second) }

// KillVswitchd ends it without warning.
func (s *Switch) KillVswitchd() error { return s.Vswitchd().Kill() }

// KillOVSDB ends the ovsdb-server without warning.
func (s *Switch) KillOVSDB() error { return s.OVSDB().Kill() }

// PauseVswitchd stops the ovs-vswitchd's clock: it holds its connections and
// answers nothing, until ResumeVswitchd.
func (s *Switch) PauseVswitchd() error { return s.Vswitchd().Signal(syscall.SIGSTOP) }

// ResumeVswitchd ends what PauseVswitchd began.
func (s *Switch) ResumeVswitchd() error { return s.Vswitchd().Signal(syscall.SIGCONT) }

// Vsctl runs ovs-vsctl on the host.
func (s *Switch) Vsctl(arg ...string) (string, error) {
	out, err := s.Exec("ovs-vsctl", append([]string{"--timeout=30"}, arg...)...)
	return strings.TrimSuffix(out, "\n"), s.named(err)
}

// AwaitBridge waits, up to half a minute, until a controller has made a bridge
// and the switch runs it.
func (s *Switch) AwaitBridge(name string) error {
	_, err := s.Vsctl("wait-until", "Bridge", name, "datapath_id!=[]")
	return err
}

// Ofctl runs ovs-ofctl on the host, in OpenFlow 1.5.
func (s *Switch) Ofctl(arg ...string) (string, error) {
	out, err := s.Exec("ovs-ofctl", append([]string{"--timeout=30", "-O", "OpenFlow15"}, arg...)...)
	return out, s.named(err)
}

// Appctl runs ovs-appctl on the host's ovs-vswitchd.
func (s *Switch) Appctl(arg ...string) (string, error) {
	out, err := s.Exec("ovs-appctl", append([]string{"--timeout=30"}, arg...)...)
	return out, s.named(err)
}

// DumpFlows is `ovs-ofctl dump-flows` with names of tables and ports.
func (s *Switch) DumpFlows(bridge string) (string, error) {
	return s.Ofctl("--names", "dump-flows", bridge)
}

// Trace follows a packet, given as a flow, through a bridge: ofproto/trace.
func (s *Switch) Trace(bridge, flow string) (string, error) {
	return s.Appctl("ofproto/trace", "--names", bridge, flow)
}

// Client drives the host's ovs-vsctl and ovs-ofctl. It writes; it does not parse
// the dumps of a modern Open vSwitch.
func (s *Switch) Client() *ovs.Client {
	return ovs.New(
		ovs.Exec(func(cmd string, arg ...string) ([]byte, error) {
			out, err := s.Exec(cmd, arg...)
			return []byte(out), s.named(err)
		}),
		ovs.Pipe(func(stdin io.Reader, cmd string, arg ...string) ([]byte, error) {
			out, err := s.exec(stdin, cmd, arg...)
			return []byte(out), s.named(err)
		}),
		ovs.Protocols([]string{ovs.ProtocolOpenFlow15}),
	)
}

// enroll is the one command an operator runs on a host. ids are external_ids.
func (s *Switch) enroll(target string, ids map[string]string) error {
	arg := []string{"set", "Open_vSwitch", "."}
	for _, k := range slices.Sorted(maps.Keys(ids)) {
		arg = append(arg, fmt.Sprintf("external_ids:%s=%q", k, ids[k]))
	}
	_, err := s.Vsctl(append(arg, "--", "set-manager", target)...)
	return err
}

// plug adds a port for a VIF as os-vif does: one transaction, whatever was there before.
func (s *Switch) plug(v VIF, settings ...string) error {
	device := v.Device()
	arg := []string{"--", "--if-exists", "del-port", device, "--", "add-port", v.bridge(), device,
		"--", "set", "Interface", device, "external_ids:iface-id=" + v.PortID, "external_ids:iface-status=active",
		fmt.Sprintf("external_ids:attached-mac=%q", v.MAC.String())}
	if v.ServerID != "" {
		arg = append(arg, "external_ids:vm-uuid="+v.ServerID)
	}
	_, err := s.Vsctl(append(arg, settings...)...)
	return err
}

// VIF is a virtual interface, as Nova would describe it to os-vif.
type VIF struct {
	PortID   string // the Neutron port
	MAC      net.HardwareAddr
	ServerID string // the instance; may be empty
	Bridge   string // default br-int
	// Delegated is a VIF whose port on the bridge somebody else adds and removes, such as os-vif: a [VM]'s
	// Plug and Unplug make and remove the device alone, as the hypervisor does.
	Delegated bool
}

// Device is the name Nova gives the interface: "tap" and 11 characters of the port's id.
func (v VIF) Device() string { return "tap" + v.PortID[:min(11, len(v.PortID))] }

func (v VIF) bridge() string {
	if v.Bridge == "" {
		return "br-int"
	}
	return v.Bridge
}

func (v VIF) check() error {
	if v.PortID == "" || len(v.MAC) != 6 {
		return errors.New("a VIF has a port id and a MAC of 6 bytes")
	}
	return nil
}

func (s *Switch) named(err error) error {
	if err != nil {
		return fmt.Errorf("host %s: %w", s.Name, err)
	}
	return nil
}
