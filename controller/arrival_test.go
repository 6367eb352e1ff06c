package controller

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// Each word is a broadcast of the guest's about itself, and unlike the two before it where the port has
// an IPv4 address.
func TestWords(t *testing.T) {
	mac := model.MAC{0xfa, 0x16, 0x3e, 1, 2, 3}
	four, six := netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("fd00::7")
	for _, c := range []struct {
		addresses []netip.Addr
		want      []uint16 // operations (RFC 826, RFC 903)
	}{
		{[]netip.Addr{six, four}, []uint16{3, 1, 2, 3, 1, 2}},
		{[]netip.Addr{six}, []uint16{3, 3, 3, 3, 3, 3}},
		{nil, []uint16{3, 3, 3, 3, 3, 3}},
	} {
		p := &flows.LocalPort{Port: &model.Port{MACAddress: mac}}
		for _, a := range c.addresses {
			p.FixedIPs = append(p.FixedIPs, model.FixedIP{IPAddress: a})
		}
		for n, op := range c.want {
			frame := word(n, p)
			packet := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
			ethernet, _ := packet.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
			if len(frame) != 60 || ethernet == nil || !bytes.Equal(ethernet.DstMAC, layers.EthernetBroadcast) || !bytes.Equal(ethernet.SrcMAC, mac[:]) {
				t.Fatalf("word %d: % x", n, frame)
			}
			kind, own := layers.EthernetTypeARP, four.AsSlice()
			if op == 3 {
				kind, own = openflow.EthTypeRARP, make([]byte, 4)
			}
			var arp layers.ARP
			if err := arp.DecodeFromBytes(frame[14:], gopacket.NilDecodeFeedback); err != nil {
				t.Fatalf("word %d: %v", n, err)
			}
			if ethernet.EthernetType != kind || arp.Operation != op || arp.AddrType != layers.LinkTypeEthernet || arp.Protocol != layers.EthernetTypeIPv4 ||
				!bytes.Equal(arp.SourceHwAddress, mac[:]) || !bytes.Equal(arp.SourceProtAddress, own) || !bytes.Equal(arp.DstProtAddress, own) {
				t.Errorf("word %d of a port with %v: type %#x %+v", n, c.addresses, uint16(ethernet.EthernetType), arp)
			}
		}
	}
}
