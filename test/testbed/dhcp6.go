package testbed

import (
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

//go:embed dhcp6.sh
var dhcp6Script []byte

// LeaseIPv6 is what a DHCPv6 server gave, as the client understood it.
type LeaseIPv6 struct {
	Event            string     // the client's word for what happened: BOUND6, RENEW6 …
	Address          netip.Addr // the zero Addr: none, only configuration
	Preferred, Valid time.Duration
	DNS              []netip.Addr
	Search           []string
	Server           string // its DUID
}

// DHCPv6Client is a real client that keeps its lease.
type DHCPv6Client struct {
	vm      *VM
	program string
	argv    []string // but for what it is to do
	process *Process
	events  <-chan map[string]string
}

// StartDhclient6 starts dhclient for IPv6 and waits for its address, or, where it is stateless, for the
// configuration beside one: then it ends.
func (vm *VM) StartDhclient6(stateless bool) (*DHCPv6Client, LeaseIPv6, error) {
	script, err := vm.dhcp6Files()
	if err != nil {
		return nil, LeaseIPv6{}, err
	}
	file := func(suffix string) string { return filepath.Join(vm.bed.dir, vm.Name+"-dhclient6."+suffix) }
	config := file("conf")
	if err := os.WriteFile(config, []byte("request dhcp6.name-servers, dhcp6.domain-search, dhcp6.fqdn;\n"), 0o644); err != nil {
		return nil, LeaseIPv6{}, err
	}
	c := &DHCPv6Client{vm: vm, program: "dhclient", argv: []string{"dhclient", "-6", "-v", "-cf", config, "-sf", script, "-lf", file("leases"), "-pf", file("pid")}}
	do, event := []string{"-d", "eth0"}, "BOUND6"
	if stateless {
		do, event = []string{"-d", "-S", "eth0"}, "RENEW6" // what dhclient calls it
	}
	lease, err := c.start(append(c.argv, do...), event)
	return c, lease, err
}

// StartDHCPCD6 starts dhcpcd, which does what router advertisements tell it to, and waits for its address.
// It has the directories of its state to itself.
func (vm *VM) StartDHCPCD6() (*DHCPv6Client, LeaseIPv6, error) {
	script, err := vm.dhcp6Files()
	if err != nil {
		return nil, LeaseIPv6{}, err
	}
	c := &DHCPv6Client{vm: vm, program: "dhcpcd"}
	alone := "mkdir -p /run/dhcpcd /var/lib/dhcpcd && mount -t tmpfs none /run/dhcpcd && mount -t tmpfs none /var/lib/dhcpcd && exec dhcpcd -6 -B -d -f /dev/null -o domain_name_servers -o domain_search -c " + script + " eth0"
	lease, err := c.start([]string{"unshare", "--mount", "sh", "-c", alone}, "BOUND6")
	return c, lease, err
}

// dhcp6Files writes the clients' script and waits until eth0 has its link-local address.
func (vm *VM) dhcp6Files() (script string, err error) {
	script = filepath.Join(vm.bed.dir, "dhcp6.sh")
	if err := writeOnce(script, dhcp6Script); err != nil {
		return "", err
	}
	for deadline := time.Now().Add(leaseTimeout); ; time.Sleep(50 * time.Millisecond) {
		out, err := vm.Exec("ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "link", "-tentative")
		switch {
		case err != nil:
			return "", err
		case strings.Contains(out, "inet6"):
			return script, nil
		case time.Now().After(deadline):
			return "", fmt.Errorf("vm %s: eth0 has no link-local address", vm.Name)
		}
	}
}

func (c *DHCPv6Client) start(argv []string, want string) (LeaseIPv6, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return LeaseIPv6{}, err
	}
	c.process, err = c.vm.start(c.vm.Name+"-"+c.program+"6", w, argv...)
	if err := errors.Join(err, w.Close()); err != nil {
		return LeaseIPv6{}, errors.Join(fmt.Errorf("vm %s: %w", c.vm.Name, err), r.Close())
	}
	c.events = readEvents(r)
	lease, err := c.Await(want)
	if err != nil {
		err = errors.Join(err, c.Stop())
	}
	return lease, err
}

// Await waits until the client tells of an event, RENEW6 for one.
func (c *DHCPv6Client) Await(want string) (LeaseIPv6, error) {
	deadline := time.After(leaseTimeout)
	for {
		select {
		case e, ok := <-c.events:
			switch {
			case !ok:
				return LeaseIPv6{}, fmt.Errorf("vm %s: %s ended without %q: %s", c.vm.Name, c.program, want, c.process.lastWords())
			case e["event"] == want:
				l, err := parseLeaseIPv6(e)
				if err != nil {
					err = fmt.Errorf("vm %s: lease: %w", c.vm.Name, err)
				}
				return l, err
			}
		case <-deadline:
			return LeaseIPv6{}, fmt.Errorf("vm %s: no %q from %s within %s: %s", c.vm.Name, want, c.program, leaseTimeout, c.process.lastWords())
		}
	}
}

// Release has dhclient give its lease back and take it from eth0; it ends with that.
func (c *DHCPv6Client) Release() error {
	_, err := c.vm.Exec(c.argv[0], append(c.argv[1:], "-r", "eth0")...)
	return err
}

// Stop ends the client. eth0 keeps what it has.
func (c *DHCPv6Client) Stop() error { return c.process.Kill() }

// parseLeaseIPv6 reads the variables of a script of dhclient or dhcpcd.
func parseLeaseIPv6(e map[string]string) (LeaseIPv6, error) {
	l := LeaseIPv6{Event: e["event"], Search: strings.Fields(e["dhcp6_domain_search"]), Server: e["dhcp6_server_id"]}
	var errs []error
	either := func(a, b string) string {
		if e[a] != "" {
			return e[a]
		}
		return e[b]
	}
	seconds := func(s string) time.Duration {
		if s == "" {
			return 0
		}
		n, err := strconv.ParseUint(s, 10, 32)
		errs = append(errs, err)
		return time.Duration(n) * time.Second
	}
	if a := either("ip6_address", "dhcp6_ia_na1_ia_addr1"); a != "" {
		var err error
		l.Address, err = netip.ParseAddr(a)
		errs = append(errs, err)
	}
	l.Valid, l.Preferred = seconds(either("max_life", "dhcp6_ia_na1_ia_addr1_vltime")), seconds(either("preferred_life", "dhcp6_ia_na1_ia_addr1_pltime"))
	for _, s := range strings.Fields(e["dhcp6_name_servers"]) {
		a, err := netip.ParseAddr(s)
		errs = append(errs, err)
		l.DNS = append(l.DNS, a)
	}
	return l, errors.Join(errs...)
}
