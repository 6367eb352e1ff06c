package dhcp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/tunbridge/tunbridge/api/model"
)

// Forms that only options of DHCPv6 have.
const (
	timeServers    form = refused + 1 + iota // addresses or names, as in RFC 5908
	bootParameters                           // texts, as in RFC 5970 section 3.2
)

// v6ExtraNames are the options of DHCPv6.
var v6ExtraNames = newVocabulary("DHCPv6", "ipxe6", appendV6Value, []option[uint16]{
	{v6OptClientID, "client-id", refused}, {v6OptServerID, "server-id", refused}, {v6OptIANA, "ia-na", refused}, {v6OptIATA, "ia-ta", refused},
	{v6OptAddress, "iaaddr", refused}, {v6OptWanted, "oro", refused}, {v6OptPreference, "preference", refused}, {8, "elapsed-time", refused},
	{9, "relay-message", refused}, {11, "authentication", refused}, {12, "unicast", refused}, {v6OptStatus, "status", refused},
	{v6OptRapidCommit, "rapid-commit", refused}, {v6OptUserClass, "user-class", refused}, {16, "vendor-class", refused}, {17, "vendor-opts", free},
	{18, "interface-id", refused}, {19, "reconfigure", refused}, {20, "reconfigure-accept", refused}, {21, "sip-server-domain", domains},
	{22, "sip-server", addresses}, {v6OptDNS, "dns-server", addresses}, {v6OptDomains, "domain-search", domains}, {v6OptIAPD, "ia-pd", refused},
	{26, "iaprefix", refused}, {27, "nis-server", addresses}, {28, "nis+-server", addresses}, {29, "nis-domain", domains}, {30, "nis+-domain", domains},
	{31, "sntp-server", addresses}, {v6OptRefreshTime, "information-refresh-time", refused}, {v6OptFQDN, "FQDN", refused}, {41, "posix-timezone", text},
	{42, "tzdb-timezone", text}, {56, "ntp-server", timeServers}, {59, "bootfile-url", text}, {60, "bootfile-param", bootParameters},
	{82, "sol-max-rt", number32}, {83, "inf-max-rt", number32}, {103, "captive-portal", text},
})

// v6Chosen is which entry of extra_dhcp_opts is the client's for an option; -1: none.
func v6Chosen(extra []model.ExtraDHCPOpt, code uint16, r *v6Request) int {
	chosen := -1
	for i, e := range extra {
		if e.IPVersion != 6 {
			continue
		}
		switch n, ok := v6ExtraNames.parse(e.Name); {
		case !ok || n.code != code || !n.isFor(r.ipxe):
		case n.conditional():
			return i
		case chosen < 0:
			chosen = i
		}
	}
	return chosen
}

// appendV6Value encodes the text of a value.
func appendV6Value(b []byte, f form, value string) ([]byte, error) {
	switch f {
	case addresses:
		return appendV6Addresses(b, value)
	case text:
		return appendText(b, value)
	case number32:
		return appendNumber(b, value, 4)
	case domains:
		return appendDomains(b, value)
	case timeServers:
		return appendTimeServers(b, value)
	case bootParameters:
		return appendParameters(b, value)
	}
	if v, ok := pairsOfDigits(value); ok {
		return append(b, v...), nil
	}
	if v, err := appendV6Addresses(b, value); err == nil {
		return v, nil
	}
	return appendText(b, value)
}

// parseV6Address reads an address, which may be in brackets as dnsmasq has them.
func parseV6Address(value string) (netip.Addr, error) {
	value = strings.TrimSpace(value)
	if inner, ok := strings.CutPrefix(value, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			value = inner
		}
	}
	a, err := netip.ParseAddr(value)
	if err != nil || !a.Is6() || a.Zone() != "" {
		return a, fmt.Errorf("%q is not an IPv6 address", value)
	}
	return a, nil
}

func appendV6Addresses(b []byte, value string) ([]byte, error) {
	for s := range strings.SplitSeq(value, ",") {
		a, err := parseV6Address(s)
		if err != nil {
			return b, err
		}
		b = appendIPv6(b, a)
	}
	return b, nil
}

// appendTimeServers appends NTP servers: suboption 1 is a server's address, 2 a multicast address, 3 a name.
func appendTimeServers(b []byte, value string) ([]byte, error) {
	for s := range strings.SplitSeq(value, ",") {
		start := len(b)
		b = append(b, 0, 1, 0, 0)
		if a, err := parseV6Address(s); err == nil {
			if a.IsMulticast() {
				b[start+1] = 2
			}
			b = appendIPv6(b, a)
		} else {
			b[start+1] = 3
			if b, err = appendDomains(b, s); err != nil {
				return b, fmt.Errorf("%q is neither an IPv6 address nor a domain name", s)
			}
		}
		binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start-4))
	}
	return b, nil
}

// appendParameters appends texts, each after its length in two bytes.
func appendParameters(b []byte, value string) (_ []byte, err error) {
	for s := range strings.SplitSeq(value, ",") {
		if b, err = appendText(binary.BigEndian.AppendUint16(b, uint16(len(s))), s); err != nil {
			return b, err
		}
	}
	return b, nil
}
