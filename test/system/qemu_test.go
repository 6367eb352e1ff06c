//go:build guest

package system

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// guestFiles is where `scripts/deps guest` puts a kernel, its modules for a network device, and busybox.
const guestFiles = "../../bin/guest"

//go:embed qemu_init.sh
var guestInit []byte

// guestPatience is how long a guest may take, whose processor is a program on a busy machine.
const guestPatience = 5 * time.Minute

// A machine with a kernel of its own boots behind a tap device: its DHCP client gets the address that the
// API shows, its kernel the one of the SLAAC subnet, and it reads its metadata over IPv4 and IPv6.
func TestQEMU(t *testing.T) {
	testbed.RequireRoot(t)
	t.Parallel()
	d, host := deployReal(t)
	n := d.addNetwork("blue", "10.0.0.0/24")
	d.must(http.MethodPost, "/v2.0/subnets", object{"subnet": object{"network_id": n.ID, "ip_version": 6, "cidr": "2001:db8::/64", "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}}, nil)
	const instance = "b0000000-0000-4000-8000-000000000001"
	userData := []byte("#!/bin/sh\n" + strings.Repeat(": of many lines\n", 3000))
	var made struct{ Port port }
	d.must(http.MethodPost, "/v2.0/ports", object{"port": object{"network_id": n.ID, "binding:host_id": host.Name, "device_id": instance,
		"tunbridge:metadata": object{"hostname": "web1", "user_data": base64.StdEncoding.EncodeToString(userData)}}}, &made)
	p := &made.Port

	tap := p.device()
	if _, err := host.Exec("ip", "tuntap", "add", tap, "mode", "tap"); err != nil {
		t.Fatal(err)
	}
	// The tap's own end is the host's, which has no address there.
	if _, err := host.Exec("ip", "link", "set", tap, "addrgenmode", "none", "up"); err != nil {
		t.Fatal(err)
	}
	if _, err := host.Vsctl("--", "add-port", "br-int", tap, "--", "set", "Interface", tap, "external_ids:iface-id="+p.ID, "external_ids:iface-status=active",
		fmt.Sprintf("external_ids:attached-mac=%q", p.MAC), "external_ids:vm-uuid="+instance); err != nil {
		t.Fatal(err)
	}
	d.become("ACTIVE", p)
	guest, err := host.Start("qemu", "qemu-system-x86_64", "-accel", "tcg", "-cpu", "qemu64", "-machine", "q35", "-m", "256", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-kernel", filepath.Join(guestFiles, "vmlinuz"), "-initrd", guestFileSystem(t), "-append", "console=ttyS0 quiet panic=-1 net.ifnames=0",
		"-netdev", "tap,id=n0,ifname="+tap+",script=no,downscript=no,vhost=off,vnet_hdr=off", "-device", "virtio-net-pci,netdev=n0,mac="+p.MAC)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-guest.Done():
	case <-time.After(guestPatience):
		t.Error("the guest does not end")
		if err := guest.Kill(); err != nil {
			t.Error(err)
		}
	}
	console, err := os.ReadFile(guest.Log)
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for line := range strings.Lines(string(console)) {
		if _, words, ok := strings.Cut(line, "guest: "); ok {
			said[strings.TrimSpace(words)] = true
		}
	}
	want := []string{"mac " + p.MAC, "mtu 1450", "route 169.254.169.254 via 10.0.0.2 dev eth0 src " + p.address(), "end"}
	for _, f := range p.FixedIPs {
		if strings.Contains(f.Address, ":") {
			want = append(want, "ipv6 "+f.Address+"/64")
		} else {
			want = append(want, "ipv4 "+f.Address+"/24")
		}
	}
	for _, server := range []string{"169.254.169.254", "fe80::a9fe:a9fe%eth0"} {
		want = append(want, "hostname "+server+" web1", "uuid "+server+" "+instance, fmt.Sprintf("user_data %s %x -", server, sha256.Sum256(userData)))
	}
	for _, line := range want {
		if !said[line] {
			t.Errorf("the guest did not say %q", line)
		}
	}
	if t.Failed() {
		t.Logf("the guest's console ends with\n%s", tail(string(console), 60))
	}
}

// guestFileSystem is the guest's, as the kernel takes it at its start: an archive of the form that cpio
// calls newc (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst).
func guestFileSystem(t *testing.T) string {
	t.Helper()
	type entry struct {
		name string
		mode uint32
		data []byte
	}
	const directory, file, program, device = 0o040755, 0o100644, 0o100755, 0o020600
	var entries []entry
	for _, name := range []string{"bin", "dev", "etc", "modules", "proc", "sys", "tmp"} {
		entries = append(entries, entry{name, directory, nil})
	}
	read := func(as string, mode uint32, path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v: `scripts/deps guest` fetches what a guest needs", err)
		}
		entries = append(entries, entry{as, mode, b})
	}
	read("bin/busybox", program, filepath.Join(guestFiles, "busybox"))
	read("udhcpc.sh", program, "../testbed/udhcpc.sh")
	modules, err := filepath.Glob(filepath.Join(guestFiles, "modules", "*.ko"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range modules {
		read("modules/"+filepath.Base(path), file, path)
	}
	entries = append(entries, entry{"init", program, guestInit}, entry{"dev/console", device, nil}, entry{"TRAILER!!!", 0, nil})

	var b bytes.Buffer
	pad := func() { b.Write(make([]byte, (4-b.Len()%4)%4)) }
	for i, e := range entries {
		major, minor := 0, 0
		if e.mode == device {
			major, minor = 5, 1
		}
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", i+1, e.mode, 0, 0, 1, 0, len(e.data), 0, 0, major, minor, len(e.name)+1, 0)
		b.WriteString(e.name + "\x00")
		pad()
		b.Write(e.data)
		pad()
	}
	path := filepath.Join(t.TempDir(), "initrd")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
