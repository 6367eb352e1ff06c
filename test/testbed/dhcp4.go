package testbed

import (
	_ "embed"
	"os"
	"path/filepath"
	"syscall"
)

//go:embed dhcp4.sh
var dhcp4Script []byte

// dhclientConfig makes dhclient ask for what a cloud's image does; it knows option 121 by no name.
const dhclientConfig = `option rfc3442-classless-static-routes code 121 = array of unsigned integer 8;
request subnet-mask, routers, domain-name, domain-name-servers, host-name, interface-mtu, rfc3442-classless-static-routes;
`

// StartDhclient starts dhclient and waits for its first lease.
func (vm *VM) StartDhclient() (*DHCPClient, Lease, error) {
	script := filepath.Join(vm.bed.dir, "dhcp4.sh")
	if err := writeOnce(script, dhcp4Script); err != nil {
		return nil, Lease{}, err
	}
	file := func(suffix string) string { return filepath.Join(vm.bed.dir, vm.Name+"-dhclient."+suffix) }
	if err := os.WriteFile(file("conf"), []byte(dhclientConfig), 0o644); err != nil {
		return nil, Lease{}, err
	}
	argv := []string{"dhclient", "-4", "-v", "-cf", file("conf"), "-sf", script, "-lf", file("leases"), "-pf", file("pid")}
	c := &DHCPClient{vm: vm, program: "dhclient"}
	c.release = func() error { // another dhclient does, and ends the first
		_, err := vm.Exec(argv[0], append(argv[1:len(argv):len(argv)], "-r", "eth0")...)
		return err
	}
	lease, err := c.start(append(argv[:len(argv):len(argv)], "-d", "eth0")...)
	return c, lease, err
}

// StartDHCPCD starts dhcpcd and waits for its first lease. It makes sure by ARP that nobody has the
// address before it takes it (RFC 5227), and has the directories of its state to itself.
func (vm *VM) StartDHCPCD() (*DHCPClient, Lease, error) {
	script := filepath.Join(vm.bed.dir, "dhcp4.sh")
	if err := writeOnce(script, dhcp4Script); err != nil {
		return nil, Lease{}, err
	}
	c := &DHCPClient{vm: vm, program: "dhcpcd"}
	c.release = func() error { return c.signalRelease(syscall.SIGALRM) }
	alone := "mkdir -p /run/dhcpcd /var/lib/dhcpcd && mount -t tmpfs none /run/dhcpcd && mount -t tmpfs none /var/lib/dhcpcd && " +
		"exec dhcpcd -4 -B -d -L -f /dev/null -o domain_name_servers -o domain_name -o host_name -o interface_mtu -o classless_static_routes -c " + script + " eth0"
	lease, err := c.start("unshare", "--mount", "sh", "-c", alone)
	return c, lease, err
}
