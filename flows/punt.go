package flows

import (
	"encoding/binary"
	"fmt"
)

// Op is what the controller is asked to do with a punted packet (REG_OP). It is set in the punt table
// by the feature that answers, and comes back among the packet-in's fields.
type Op uint32

const (
	OpDHCPv4             Op = 1 // answer a DHCPv4 request
	OpDHCPv6             Op = 2 // answer a DHCPv6 message
	OpRouterSolicitation Op = 3 // answer with a router advertisement
	OpMetadata           Op = 4 // terminate TCP to the metadata address
	OpAnnounced          Op = 5 // nothing: the guest of a port that migrates runs here now
)

// operations is every operation with who answers it, for the documentation.
var operations = []struct {
	Op      Op
	Owner   Owner
	Purpose string
}{
	{OpDHCPv4, OwnerDHCP, "a DHCPv4 request to 255.255.255.255 or to the network's DHCP address"},
	{OpDHCPv6, OwnerDHCP, "a DHCPv6 message to ff02::1:2, all relay agents and servers"},
	{OpRouterSolicitation, OwnerDHCP, "a router solicitation"},
	{OpMetadata, OwnerMetadata, "TCP to port 80 of 169.254.169.254 or of fe80::a9fe:a9fe, by way of any MAC address"},
	{OpAnnounced, OwnerL2Pop, "a word (RARP, ARP, neighbour discovery) of a guest that migrates to here; it goes its way too"},
}

// String is the operation's name in logs and counters.
func (o Op) String() string {
	switch o {
	case OpDHCPv4:
		return "dhcpv4"
	case OpDHCPv6:
		return "dhcpv6"
	case OpRouterSolicitation:
		return "router_solicitation"
	case OpMetadata:
		return "metadata"
	case OpAnnounced:
		return "announced"
	}
	return fmt.Sprintf("op(%d)", uint32(o))
}

// Each port may have PuntRate packets per second punted, and PuntBurst at once, all operations together.
// A request for metadata on a connection of its own is 6 packets, one that keeps its connection 2, and
// 64 KiB of user data are 25 acknowledgements: the burst is three starts of cloud-init (40 requests and
// the user data), and the rate 80 new connections a second. A port that sends without end costs its
// switch about 3 % of a processor.
const (
	PuntRate  = 500
	PuntBurst = 1000
)

// A punting flow's userdata says who asks: bytes 0 to 3 are LocalPort.Key, 4 to 7 LocalPort.Generation,
// most significant first. in_port would not do: it may be another VIF's when the packet is read.
const userdataLen = 8

// AppendUserdata appends the userdata of the VIF with this key and generation.
func AppendUserdata(b []byte, key, generation uint32) []byte {
	b = binary.BigEndian.AppendUint32(b, key)
	return binary.BigEndian.AppendUint32(b, generation)
}

// ParseUserdata reads what AppendUserdata wrote. Anything of another length is an error.
func ParseUserdata(b []byte) (key, generation uint32, err error) {
	if len(b) != userdataLen {
		return 0, 0, fmt.Errorf("userdata of a punt: length %d, need %d", len(b), userdataLen)
	}
	return binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), nil
}
