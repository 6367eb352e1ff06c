package dhcp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/tunbridge/tunbridge/api/model"
)

// nextServer is how the header's siaddr is named among options, here and in dnsmasq: by a number that no
// option has.
const nextServer = 255

// extraNames are the options of DHCPv4.
var extraNames = newVocabulary("DHCP", "ipxe", appendValue, []option[byte]{
	{1, "netmask", address}, {2, "time-offset", number32}, {3, "router", addresses}, {4, "time-server", addresses},
	{6, "dns-server", addresses}, {7, "log-server", addresses}, {9, "lpr-server", addresses}, {12, "hostname", text},
	{13, "boot-file-size", number16}, {15, "domain-name", text}, {16, "swap-server", addresses}, {17, "root-path", text},
	{18, "extension-path", text}, {19, "ip-forward-enable", number8}, {20, "non-local-source-routing", number8},
	{21, "policy-filter", addresses}, {22, "max-datagram-reassembly", number16}, {23, "default-ttl", number8},
	{26, "mtu", number16}, {27, "all-subnets-local", number8}, {28, "broadcast", address}, {31, "router-discovery", number8},
	{32, "router-solicitation", address}, {33, "static-route", addresses}, {34, "trailer-encapsulation", number8},
	{35, "arp-timeout", number32}, {36, "ethernet-encap", number8}, {37, "tcp-ttl", number8}, {38, "tcp-keepalive", number32},
	{40, "nis-domain", text}, {41, "nis-server", addresses}, {42, "ntp-server", addresses}, {43, "vendor-encap", free},
	{44, "netbios-ns", addresses}, {45, "netbios-dd", addresses}, {46, "netbios-nodetype", number8}, {47, "netbios-scope", free},
	{48, "x-windows-fs", addresses}, {49, "x-windows-dm", addresses}, {50, "requested-address", refused},
	{51, "lease-time", refused}, {52, "option-overload", refused}, {53, "message-type", refused}, {54, "server-identifier", refused},
	{55, "parameter-request", refused}, {56, "message", refused}, {57, "max-message-size", refused}, {58, "T1", number32},
	{59, "T2", number32}, {60, "vendor-class", text}, {61, "client-id", identity}, {64, "nis+-domain", text}, {65, "nis+-server", addresses},
	{66, "tftp-server", text}, {67, "bootfile-name", text}, {68, "mobile-ip-home", addresses}, {69, "smtp-server", addresses},
	{70, "pop3-server", addresses}, {71, "nntp-server", addresses}, {74, "irc-server", addresses}, {77, "user-class", text},
	{82, "agent-id", refused}, {93, "client-arch", free}, {94, "client-interface-id", free}, {97, "client-machine-id", free},
	{100, "posix-timezone", text}, {101, "tzdb-timezone", text}, {108, "ipv6-only", number32}, {114, "captive-portal", text},
	{119, "domain-search", domains}, {120, "sip-server", free}, {121, "classless-static-route", routes}, {125, "vendor-id-encap", free},
	{150, "tftp-server-address", addresses}, {210, "path-prefix", text}, {249, "classless-static-route-ms", routes},
	{nextServer, "server-ip-address", address},
})

// CheckExtraOption says why an entry of a port's extra_dhcp_opts cannot be sent. An empty value is well: it
// keeps the option from being sent.
func CheckExtraOption(o model.ExtraDHCPOpt) error {
	if o.IPVersion == 6 {
		return v6ExtraNames.check(o)
	}
	return extraNames.check(o)
}

// replacedBy is the set of options that extra_dhcp_opts give this client, or forbid with an empty value.
// Routes for one kind of client stand for both.
func replacedBy(extra []model.ExtraDHCPOpt, r *request) (c codes) {
	for _, e := range extra {
		if n, ok := extraNames.parse(e.Name); ok && e.IPVersion != 6 && n.isFor(r.ipxe) {
			c.add(n.code)
			if n.code == optRoutes {
				c.add(optRoutesMS)
			}
		}
	}
	return c
}

// extra writes what the port's extra_dhcp_opts give and the client wants. The options begin at start.
func (o *options) extra(extra []model.ExtraDHCPOpt, r *request, start int) {
	var given codes
	for _, conditional := range [...]bool{true, false} {
		for _, e := range extra {
			if e.IPVersion == 6 {
				continue
			}
			n, ok := extraNames.parse(e.Name)
			switch {
			case !ok && !conditional:
				o.omitted++
			case ok && n.conditional() == conditional && n.isFor(r.ipxe) && !given.has(n.code):
				given.add(n.code)
				if e.Value != "" {
					o.give(n.code, e.Value, start)
				}
			}
		}
	}
}

// give writes one of the port's options, in the header too where it has a place there.
func (o *options) give(code byte, value string, start int) {
	message := o.b[start-bootpLen:]
	switch code {
	case optClientID:
	case nextServer:
		if _, err := appendAddress(message[atSiaddr:atSiaddr], value); err != nil {
			o.omitted++
		}
	case optRoutes:
		o.value(optRoutes, routes, value)
		o.value(optRoutesMS, routes, value)
	default:
		if code == optBootfile && len(value) < atCookie-atFile {
			copy(message[atFile:], value) // where firmware looks for it
		}
		o.value(code, extraNames.forms[code], value)
	}
}

// value writes one option if the client wants it, and only once.
func (o *options) value(code byte, f form, value string) {
	if !o.send.has(code) {
		return
	}
	o.send.remove(code)
	o.open(code)
	b, err := appendValue(o.b, f, value)
	if err != nil {
		o.b = o.b[:o.start]
		o.omitted++
		return
	}
	o.b = b
	o.end()
}

// appendValue encodes the text of a value.
func appendValue(b []byte, f form, value string) ([]byte, error) {
	switch f {
	case address:
		return appendAddress(b, value)
	case addresses:
		return appendAddresses(b, value)
	case text:
		return appendText(b, value)
	case number8:
		return appendNumber(b, value, 1)
	case number16:
		return appendNumber(b, value, 2)
	case number32:
		return appendNumber(b, value, 4)
	case routes:
		return appendRouteList(b, value)
	case domains:
		return appendDomains(b, value)
	}
	if v, ok := pairsOfDigits(value); ok {
		return append(b, v...), nil
	}
	if v, err := appendAddresses(b, value); err == nil {
		return v, nil
	}
	return appendText(b, value)
}

func appendAddress(b []byte, value string) ([]byte, error) {
	a, err := netip.ParseAddr(strings.TrimSpace(value))
	if err != nil || !a.Is4() {
		return b, fmt.Errorf("%q is not an IPv4 address", value)
	}
	return appendAddr(b, a), nil
}

func appendAddresses(b []byte, value string) ([]byte, error) {
	var err error
	for s := range strings.SplitSeq(value, ",") {
		if b, err = appendAddress(b, s); err != nil {
			return b, err
		}
	}
	return b, nil
}

func appendText(b []byte, value string) ([]byte, error) {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return b, fmt.Errorf("%q has control characters", value)
	}
	return append(b, value...), nil
}

// appendNumber appends a number of n bytes; a negative one as two's complement.
func appendNumber(b []byte, value string, n int) ([]byte, error) {
	v, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
	if err != nil || v >= 1<<(8*n) || v < -1<<(8*n-1) {
		return b, fmt.Errorf("%q is not a number of %d bytes", value, n)
	}
	word := binary.BigEndian.AppendUint32(nil, uint32(v))
	return append(b, word[4-n:]...), nil
}

func appendRouteList(b []byte, value string) ([]byte, error) {
	for rest, more := value, true; more; {
		var to, via string
		to, rest, more = strings.Cut(rest, ",")
		if !more {
			return b, fmt.Errorf("%q is not a list of destination,next hop", value)
		}
		via, rest, more = strings.Cut(rest, ",")
		p, err := netip.ParsePrefix(strings.TrimSpace(to))
		if err != nil || !p.Addr().Is4() {
			return b, fmt.Errorf("%q is not an IPv4 prefix", to)
		}
		b = appendDestination(b, p)
		if b, err = appendAddress(b, via); err != nil {
			return b, err
		}
	}
	return b, nil
}

// appendDomains appends names as in DNS (RFC 1035 section 3.1), without compression.
func appendDomains(b []byte, value string) ([]byte, error) {
	for name := range strings.SplitSeq(value, ",") {
		start := len(b)
		for label := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSpace(name), "."), ".") {
			if len(label) == 0 || len(label) > 63 {
				return b, fmt.Errorf("%q is not a domain name", name)
			}
			b = append(append(b, byte(len(label))), label...)
		}
		if b = append(b, 0); len(b)-start > 255 {
			return b, fmt.Errorf("%q is longer than a domain name may be", name)
		}
	}
	return b, nil
}
