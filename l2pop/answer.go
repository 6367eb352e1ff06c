package l2pop

import (
	"net/netip"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// ICMPv6 types of RFC 4861.
const (
	neighborSolicitation  = 135
	neighborAdvertisement = 136
)

// answers emits what leads the requests of VIFs to table arp_nd, and what turns one for a known address,
// whose MAC address is then in REG_MAC, into its answer, on its way back past tap_out. The answer to a solicitation takes two tables:
// its option exists only in an advertisement, which the first makes of it.
func answers(e *flows.Emitter) {
	e.Flow(flows.PuntSelect, 90, arpRequest(), of.Goto(flows.ARPND.Number), "ARP request: perhaps for a known address")
	e.Flow(flows.PuntSelect, 90, solicitation(), of.Goto(flows.ARPND.Number), "neighbour solicitation: perhaps for a known address")
	e.Flow(flows.ARPND, 105, solicitation(of.IPv6Src.Addr(netip.IPv6Unspecified())), of.Goto(flows.L2.Number), "duplicate-address detection: only who has the address answers")
	e.Flow(flows.ARPND, 0, "", of.Goto(flows.L2.Number), "for no known address")

	e.Flow(flows.ARPNDAnswer, 100, of.MustMatch(of.EthType.Is(of.EthTypeARP)), of.Apply(
		of.Move{Src: of.EthSrc.All(), Dst: of.EthDst.All()},
		of.Move{Src: flows.RegMAC.Low(48), Dst: of.EthSrc.All()},
		of.SetField{FieldValue: of.ARPOp.Is(2)},
		of.Move{Src: of.ARPSha.All(), Dst: of.ARPTha.All()},
		of.Move{Src: flows.RegMAC.Low(48), Dst: of.ARPSha.All()},
		of.Move{Src: of.ARPSpa.All(), Dst: flows.RegSwap.All()},
		of.Move{Src: of.ARPTpa.All(), Dst: of.ARPSpa.All()},
		of.Move{Src: flows.RegSwap.All(), Dst: of.ARPTpa.All()},
		of.Resubmit{Table: flows.TapOut.Number},
		of.Output{Port: of.PortInPort},
	), "ARP reply in place of the owner of the address")
	e.Flow(flows.ARPNDAnswer, 100, solicitation(), of.ApplyGoto(flows.NDAnswer.Number,
		of.Move{Src: of.EthSrc.All(), Dst: of.EthDst.All()},
		of.Move{Src: flows.RegMAC.Low(48), Dst: of.EthSrc.All()},
		of.Move{Src: of.IPv6Src.All(), Dst: of.IPv6Dst.All()},
		of.Move{Src: of.NDTarget.All(), Dst: of.IPv6Src.All()},
		of.SetField{FieldValue: of.ICMPv6Type.Is(neighborAdvertisement)},
	), "neighbour advertisement in place of the owner of the address")
	e.Flow(flows.ARPNDAnswer, 0, "", of.Drop, "neither ARP request nor neighbour solicitation")
	e.Flow(flows.NDAnswer, 100, icmp6(neighborAdvertisement), of.Apply(
		of.SetField{FieldValue: of.NDReserved.Is(0x60000000)}, // solicited, override: RFC 4861 4.4
		of.SetField{FieldValue: of.NDOptionsType.Is(2)},       // target link-layer address
		of.Move{Src: flows.RegMAC.Low(48), Dst: of.NDTll.All()},
		of.Resubmit{Table: flows.TapOut.Number},
		of.Output{Port: of.PortInPort},
	), "neighbour advertisement in place of the owner of the address")
	e.Flow(flows.NDAnswer, 0, "", of.Drop, "no neighbour advertisement")
}

func arpRequest(more ...of.FieldValue) of.Match {
	return of.MustMatch(append(more, of.EthType.Is(of.EthTypeARP), of.ARPOp.Is(1))...)
}

func solicitation(more ...of.FieldValue) of.Match { return icmp6(neighborSolicitation, more...) }

func icmp6(typ uint64, more ...of.FieldValue) of.Match {
	return of.MustMatch(append(more, of.EthType.Is(of.EthTypeIPv6), of.IPProto.Is(of.IPProtoICMPv6), of.ICMPv6Type.Is(typ))...)
}

// answer emits the answers to broadcast ARP requests and multicast solicitations for a bound port's
// addresses. Unicast ones, probes of reachability, go to the port itself.
func answer(e *flows.Emitter, p *model.Port, localVLAN uint16, elsewhere string) {
	net := flows.RegNet.Is(uint64(localVLAN))
	do := of.ApplyGoto(flows.ARPNDAnswer.Number, of.SetField{FieldValue: flows.RegMAC.Field.MAC(of.MAC(p.MACAddress))})
	for _, ip := range p.FixedIPs {
		addr := ip.IPAddress
		if contains(elsewhere, addr) {
			continue
		}
		match := of.Match("")
		if addr.Is4() {
			match = arpRequest(net, of.EthDst.MAC(of.BroadcastMAC), of.ARPTpa.Addr(addr))
		} else {
			match = solicitation(net, of.EthDst.MACMasked(of.MAC{0x33, 0x33}, of.MAC{0xff, 0xff}), of.NDTarget.Addr(addr))
		}
		e.Flow(flows.ARPND, 100, match, do, "fixed_ips of the port")
	}
}

// passOwn lets a port's requests for its own addresses out unanswered: they are announcements, or ask
// whether someone else has the address.
func passOwn(e *flows.Emitter, p *flows.LocalPort) {
	key := flows.RegPort.Is(uint64(p.Key))
	for _, ip := range p.FixedIPs {
		var match of.Match
		if ip.IPAddress.Is4() {
			match = of.MustMatch(key, of.EthType.Is(of.EthTypeARP), of.ARPTpa.Addr(ip.IPAddress))
		} else {
			match = solicitation(key, of.NDTarget.Addr(ip.IPAddress))
		}
		e.Flow(flows.ARPND, 110, match, of.Goto(flows.L2.Number), "fixed_ips of the port that asks")
	}
}

// awaited lets the controller hear the first word of a guest that migrates to here: a hypervisor speaks
// for it by RARP, the guest itself by gratuitous ARP or an unsolicited advertisement, and whatever else it
// asks of its neighbours tells as much. The frame goes its way.
func awaited(e *flows.Emitter, p *flows.LocalPort) {
	key := flows.RegPort.Is(uint64(p.Key))
	do := of.ApplyGoto(flows.ARPND.Number, flows.RegOp.Set(uint64(flows.OpAnnounced)), of.Meter{ID: p.Key},
		of.Controller{MaxLen: 0xffff, UserData: flows.AppendUserdata(nil, p.Key, p.Generation)})
	for _, match := range []of.Match{
		of.MustMatch(key, of.EthType.Is(of.EthTypeRARP)), of.MustMatch(key, of.EthType.Is(of.EthTypeARP)),
		icmp6(neighborSolicitation, key), icmp6(neighborAdvertisement, key),
	} {
		e.Flow(flows.PuntSelect, 95, match, do, "binding of the port to this host is inactive: the guest is awaited")
	}
}

// elsewhere are those of a port's addresses that allowed_address_pairs give to another port too, 16
// bytes each: who has such an address now, only its holder can say. "" in most networks. It is a
// string to be comparable.
func elsewhere(p *model.Port, pairs map[netip.Addr][]uuid.UUID) string {
	if pairs == nil {
		return ""
	}
	var s []byte
	for _, ip := range p.FixedIPs {
		for _, holder := range pairs[ip.IPAddress] {
			if holder != p.ID {
				b := ip.IPAddress.As16()
				s = append(s, b[:]...)
				break
			}
		}
	}
	return string(s)
}

func contains(addrs string, a netip.Addr) bool {
	b := a.As16()
	for ; addrs != ""; addrs = addrs[16:] {
		if addrs[:16] == string(b[:]) {
			return true
		}
	}
	return false
}
