package dhcp

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

const (
	headersLen = ethernetLen + ipv4Len + udpLen + bootpLen

	// minMessage is the least length of a BOOTP message: clients and relays of old drop shorter
	// ones (RFC 1542 section 2.1).
	minMessage = 300

	// minDatagram is the IP datagram that every client takes, whatever it says (RFC 2132 section 9.10).
	minDatagram = 576
)

var (
	frames = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}
	zeros  [headersLen]byte
)

// answer sends a reply of type m.
func (s *Server) answer(p *flows.Punt, r *request, l lease, m MessageType, reply func(frame []byte)) {
	b := frames.Get().(*[]byte)
	var omitted int
	*b, omitted = s.appendReply((*b)[:0], p, r, l, m)
	reply(*b)
	frames.Put(b)
	if omitted > 0 {
		s.counters.omitted.Add(uint64(omitted))
	}
	s.counters.answers[m].Add(1)
}

// appendReply appends the frame of a reply, and says how many options had no place in it. Its fields are
// those of RFC 2131 table 3.
func (s *Server) appendReply(frame []byte, p *flows.Punt, r *request, l lease, m MessageType) (_ []byte, omitted int) {
	start := len(frame)
	frame = append(frame, zeros[:]...)

	b := frame[start+headersLen-bootpLen:]
	b[0], b[1], b[2] = 2, 1, 6 // BOOTREPLY, Ethernet, six bytes of address
	binary.BigEndian.PutUint32(b[atXID:], r.xid)
	flags := r.flags
	if m == NAK {
		flags |= flagBroadcast // for the relay, if any: the client must not use the address it has
	}
	binary.BigEndian.PutUint16(b[atFlags:], flags)
	if m == ACK {
		put(b[atCiaddr:], r.ciaddr)
	}
	if m != NAK && r.message != Inform {
		put(b[atYiaddr:], l.address)
	}
	put(b[atGiaddr:], r.giaddr)
	copy(b[atChaddr:], r.chaddr[:])
	binary.BigEndian.PutUint32(b[atCookie:], cookie)

	frame, omitted = s.appendOptions(frame, p, r, l, m)
	if short := headersLen - bootpLen + minMessage - (len(frame) - start); short > 0 {
		frame = append(frame, zeros[:short]...)
	}
	mac, to, port := destination(r, l, m)
	seal(frame[start:], p.Network.DHCP.MACAddress, l.server, mac, to, port)
	return frame, omitted
}

// destination says where a reply goes (RFC 2131 section 4.1). A client without an address takes
// unicast frames unless it set the broadcast flag.
func destination(r *request, l lease, m MessageType) (model.MAC, netip.Addr, uint16) {
	switch {
	case !r.giaddr.IsUnspecified():
		return r.source, r.giaddr, serverPort
	case m == ACK && !r.ciaddr.IsUnspecified():
		return r.chaddr, r.ciaddr, clientPort
	case m == NAK || r.flags&flagBroadcast != 0:
		return model.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, broadcast, clientPort
	}
	return r.chaddr, l.address, clientPort
}

// seal writes the headers in front of the BOOTP message.
func seal(frame []byte, srcMAC model.MAC, src netip.Addr, dstMAC model.MAC, dst netip.Addr, dstPort uint16) {
	copy(frame, dstMAC[:])
	copy(frame[6:], srcMAC[:])
	binary.BigEndian.PutUint16(frame[12:], 0x0800)

	const version4, dontFragment, ttl, protocolUDP = 0x45, 0x4000, 64, 17
	ip := frame[ethernetLen:]
	ip[0], ip[8], ip[9] = version4, ttl, protocolUDP
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[6:], dontFragment)
	put(ip[12:], src)
	put(ip[16:], dst)
	binary.BigEndian.PutUint16(ip[10:], checksum(0, ip[:ipv4Len]))

	udp := ip[ipv4Len:]
	binary.BigEndian.PutUint16(udp, serverPort)
	binary.BigEndian.PutUint16(udp[2:], dstPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	// The pseudo header: both addresses, the protocol, and the length once more.
	sum := uint32(^checksum(0, ip[12:ipv4Len])) + protocolUDP + uint32(len(udp))
	check := checksum(sum, udp)
	if check == 0 {
		check = 0xffff // 0 is for "none" (RFC 768)
	}
	binary.BigEndian.PutUint16(udp[6:], check)
}

// put writes an IPv4 address.
func put(b []byte, a netip.Addr) {
	a4 := a.As4()
	copy(b, a4[:])
}
