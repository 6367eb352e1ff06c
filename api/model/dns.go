package model

import (
	"net/netip"
	"strings"
)

// DNSAssignment is what a port is called at one of its addresses.
type DNSAssignment struct {
	IPAddress netip.Addr `json:"ip_address"`
	Hostname  string     `json:"hostname"`
	FQDN      string     `json:"fqdn"`
}

// AppendHostName appends a port's dns_name, or without one a name made of its address: host-10-0-0-5,
// host-fd00--5.
func AppendHostName(b []byte, name string, address netip.Addr) []byte {
	if name != "" {
		return append(b, name...)
	}
	b = append(b, "host-"...)
	start := len(b)
	b = address.AppendTo(b)
	for i := start; i < len(b); i++ {
		if b[i] == '.' || b[i] == ':' {
			b[i] = '-'
		}
	}
	return b
}

// Assignments are what a port is called in a domain, which may be "". A dns_name with its final dot is
// whole as it is.
func (p *Port) Assignments(domain string) []DNSAssignment {
	domain = strings.TrimSuffix(domain, ".")
	var all []DNSAssignment
	for _, f := range p.FixedIPs {
		name := string(AppendHostName(nil, p.DNSName, f.IPAddress))
		fqdn := name
		if !strings.HasSuffix(name, ".") && domain != "" {
			fqdn = name + "." + domain + "."
		}
		host, _, _ := strings.Cut(name, ".")
		all = append(all, DNSAssignment{f.IPAddress, host, fqdn})
	}
	return all
}
