package metadata

import (
	"net/netip"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// Where machines ask.
var (
	AddressIPv4 = netip.AddrFrom4([4]byte{169, 254, 169, 254})
	AddressIPv6 = netip.MustParseAddr("fe80::a9fe:a9fe")
)

// MAC is where the two addresses are, as far as a machine can tell: locally administered, and of no
// machine. One for all networks, so that the flows are the host's alone.
var MAC = model.MAC{0x02, 0x00, 0xa9, 0xfe, 0xa9, 0xfe}

const httpPort = 80

// neighborSolicitation is the ICMPv6 type of RFC 4861 section 4.3.
const neighborSolicitation = 135

// Feature emits the flows of this package: the same few on every host, none per network or port.
type Feature struct{}

var _ flows.Feature = Feature{}

// Owner is flows.OwnerMetadata.
func (Feature) Owner() flows.Owner { return flows.OwnerMetadata }

// Compile has requests punted, whatever MAC address they are sent to: a route may lead by a gateway, by
// the DHCP port, or on the link. For the last it answers ARP requests and solicitations, unicast ones
// too, since no machine would; where a port has one of the addresses, that port is known by table arp_nd
// with a higher priority.
func (Feature) Compile(v *flows.View, e *flows.Emitter) {
	e.Scope(flows.Object{Kind: flows.KindHost, ID: flows.HostID(v.Host.ID)}, struct{}{}, func(e *flows.Emitter) {
		const punted, answered = "TCP to the metadata address, by way of any MAC address", "the metadata address, which has no machine"
		punt := of.ApplyGoto(flows.PuntMeter.Number, flows.RegOp.Set(uint64(flows.OpMetadata)))
		e.Flow(flows.PuntSelect, 100, of.MustMatch(of.EthType.Is(of.EthTypeIPv4), of.IPProto.Is(ipProtoTCP), of.IPv4Dst.Addr(AddressIPv4), of.TCPDst.Is(httpPort)), punt, punted)
		e.Flow(flows.PuntSelect, 100, of.MustMatch(of.EthType.Is(of.EthTypeIPv6), of.IPProto.Is(ipProtoTCP), of.IPv6Dst.Addr(AddressIPv6), of.TCPDst.Is(httpPort)), punt, punted)

		answer := of.ApplyGoto(flows.ARPNDAnswer.Number, of.SetField{FieldValue: flows.RegMAC.Field.MAC(of.MAC(MAC))})
		e.Flow(flows.ARPND, 95, of.MustMatch(of.EthType.Is(of.EthTypeARP), of.ARPOp.Is(1), of.ARPTpa.Addr(AddressIPv4)), answer, answered)
		e.Flow(flows.ARPND, 95, of.MustMatch(of.EthType.Is(of.EthTypeIPv6), of.IPProto.Is(of.IPProtoICMPv6), of.ICMPv6Type.Is(neighborSolicitation), of.NDTarget.Addr(AddressIPv6)), answer, answered)
	})
}
