package metadata

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/tunbridge/tunbridge/api/model"
)

// Lengths of headers without options (Ethernet II, RFC 791, RFC 8200, RFC 9293).
const (
	ethernetLen = 14
	ipv4Len     = 20
	ipv6Len     = 40
	tcpLen      = 20
)

const (
	etherTypeIPv4 = 0x0800
	etherTypeIPv6 = 0x86dd
	ipProtoTCP    = 6
)

// Offsets in a TCP header, and what is looked at there.
const (
	atTCPDst             = 2
	atTCPSequence        = 4
	atTCPAcknowledgement = 8
	atTCPOffset          = 12
	atTCPFlags           = 13
	atTCPChecksum        = 16
	flagSYN              = 0x02
	flagPSH              = 0x08
	flagACK              = 0x10
	optionEnd            = 0
	optionNop            = 1
	optionMSS            = 2
)

// segment is a TCP segment to a metadata address as a VIF sent it. Its slices are parts of the frame.
type segment struct {
	guest, nextHop model.MAC  // the frame's source and destination
	source         netip.Addr // what the machine calls itself
	packet         []byte     // from the IP header to the datagram's end, without Ethernet's padding
	tcp            int        // where the TCP header begins in packet
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", Malformed, fmt.Sprintf(format, args...))
}

// parse reads an untagged Ethernet frame. Checksums are not looked at: a guest with checksum offload
// leaves them unfinished. IP options, extension headers and fragments are not what a TCP client sends.
func (s *segment) parse(frame []byte) error {
	if len(frame) < ethernetLen {
		return malformed("frame of %d bytes", len(frame))
	}
	s.nextHop, s.guest = model.MAC(frame[0:]), model.MAC(frame[6:])
	b := frame[ethernetLen:]
	var protocol byte
	var total int
	var to netip.Addr
	switch t := binary.BigEndian.Uint16(frame[12:]); t {
	case etherTypeIPv4:
		if len(b) < ipv4Len || b[0] != 0x45 {
			return malformed("no IPv4 header without options in %d bytes", len(b))
		}
		if binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
			return malformed("fragment")
		}
		s.tcp, total, protocol = ipv4Len, int(binary.BigEndian.Uint16(b[2:])), b[9]
		s.source, to = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	case etherTypeIPv6:
		if len(b) < ipv6Len || b[0]>>4 != 6 {
			return malformed("no IPv6 header in %d bytes", len(b))
		}
		s.tcp, total, protocol = ipv6Len, ipv6Len+int(binary.BigEndian.Uint16(b[4:])), b[6]
		s.source, to = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	default:
		return malformed("ethertype 0x%04x", t)
	}
	switch {
	case protocol != ipProtoTCP:
		return malformed("IP protocol %d", protocol)
	case to != AddressIPv4 && to != AddressIPv6:
		return malformed("to %s", to)
	case s.source.IsUnspecified() || s.source.IsMulticast() || s.source.IsLoopback() || s.source == to || s.source.Is4In6():
		return malformed("from %s", s.source)
	case total < s.tcp+tcpLen || total > len(b):
		return malformed("IP datagram of %d bytes in %d", total, len(b))
	}
	s.packet = b[:total]
	tcp := s.packet[s.tcp:]
	if n := int(tcp[atTCPOffset]>>4) * 4; n < tcpLen || n > len(tcp) {
		return malformed("TCP header of %d bytes in %d", n, len(tcp))
	}
	if port := binary.BigEndian.Uint16(tcp[atTCPDst:]); port != httpPort {
		return malformed("TCP port %d", port)
	}
	return nil
}

// begins says whether the segment asks for a connection.
func (s *segment) begins() bool { return s.packet[s.tcp+atTCPFlags]&flagSYN != 0 }

// translate writes the segment as the stack is to see it, to b, which is as long as s.packet: from a
// synthetic address of the same version. A SYN's maximum segment size is lowered to what fits into the
// network's MTU: a machine that was not told of it, or did not listen, may have another on its interface.
func (s *segment) translate(b []byte, synthetic netip.Addr, mtu int) {
	copy(b, s.packet)
	if synthetic.Is4() {
		a := synthetic.As4()
		copy(b[12:], a[:])
	} else {
		a := synthetic.As16()
		copy(b[8:], a[:])
	}
	if s.begins() {
		lowerMSS(b[s.tcp:], max(mtu-s.tcp-tcpLen, 1))
	}
}

// lowerMSS lowers the maximum segment size option of a TCP header (RFC 9293 section 3.2) to most.
func lowerMSS(tcp []byte, most int) {
	options := tcp[tcpLen : int(tcp[atTCPOffset]>>4)*4]
	for len(options) > 0 && options[0] != optionEnd {
		if options[0] == optionNop {
			options = options[1:]
			continue
		}
		if len(options) < 2 || int(options[1]) < 2 || int(options[1]) > len(options) {
			return
		}
		if options[0] == optionMSS && options[1] == 4 && int(binary.BigEndian.Uint16(options[2:])) > most {
			binary.BigEndian.PutUint16(options[2:], uint16(most))
		}
		options = options[options[1]:]
	}
}

// headerLen is the length of the IP header in front of what the stack sends to an address.
func headerLen(to netip.Addr) int {
	if to.Is4() {
		return ipv4Len
	}
	return ipv6Len
}

// appendFrame appends the Ethernet frame for a packet of the stack's, given in pieces, to the machine at
// an address. All checksums are made here: the stack leaves them out.
func appendFrame(b []byte, pieces [][]byte, from, guest model.MAC, to netip.Addr) []byte {
	start := len(b)
	b = append(append(b, guest[:]...), from[:]...)
	if to.Is4() {
		b = binary.BigEndian.AppendUint16(b, etherTypeIPv4)
	} else {
		b = binary.BigEndian.AppendUint16(b, etherTypeIPv6)
	}
	for _, piece := range pieces {
		b = append(b, piece...)
	}
	packet := b[start+ethernetLen:]
	header, addresses := headerLen(to), packet[8:40]
	if to.Is4() {
		a := to.As4()
		copy(packet[16:], a[:])
		addresses = packet[12:20]
		packet[10], packet[11] = 0, 0
		checksum.Put(packet[10:], ^checksum.Checksum(packet[:ipv4Len], 0))
	} else {
		a := to.As16()
		copy(packet[24:], a[:])
	}
	tcp := packet[header:]
	tcp[atTCPChecksum], tcp[atTCPChecksum+1] = 0, 0
	sum := checksum.Checksum(addresses, checksum.Combine(ipProtoTCP, uint16(len(tcp)))) // the pseudo header
	checksum.Put(tcp[atTCPChecksum:], ^checksum.Checksum(tcp, sum))
	return b
}
