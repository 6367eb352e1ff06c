package demo

import (
	"encoding/binary"
	"encoding/hex"
	"testing"
)

// The guest's frame, and what may be around it: an Ethernet header of hosts, IPv4 with a protocol, UDP
// to a port.
const (
	guestFrame = "fa163e000002" + "fa163e000001" + "0806" + "0001"
	hostFrame  = "020000000002" + "020000000001"
	ipUDP      = "0800" + "45000000000000004011" + "0000" + "ac1f0001" + "ac1f0002"
	ipGRE      = "0800" + "4500000000000000402f" + "0000" + "ac1f0001" + "ac1f0002"
	toVXLAN    = "c001" + "12b5" + "00000000"
	toGeneve   = "c001" + "17c1" + "00000000"
)

func TestCarried(t *testing.T) {
	for _, c := range []struct{ raw, carrier string }{
		{guestFrame, "no tag"},
		{guestFrame[:24] + "8100" + "2078" + guestFrame[24:], "VLAN 120"}, // with a priority
		{guestFrame[:24] + "8100" + "0078" + "8100" + "0003" + guestFrame[24:], "VLAN 120, VLAN 3"},
		{hostFrame + ipUDP + toVXLAN + "08000000" + "abcdef00" + guestFrame, "VNI 11259375 of VXLAN"},
		{hostFrame + ipUDP + toVXLAN + "08000000" + "00000700" + guestFrame[:24] + "8100" + "0001" + guestFrame[24:], "VNI 7 of VXLAN, VLAN 1"},
		{hostFrame + ipUDP + toGeneve + "00006558" + "ffffff00" + guestFrame, "VNI 16777215 of Geneve"},
		{hostFrame + ipUDP + toGeneve + "02006558" + "00000900" + "0102030405060708" + guestFrame, "VNI 9 of Geneve"}, // with options
		{hostFrame + ipGRE + "20006558" + "ee6b2801" + guestFrame, "key 4000000001 of GRE"},
	} {
		raw, err := hex.DecodeString(c.raw)
		if err != nil {
			t.Fatal(err)
		}
		if carrier, inner := carried(raw); carrier != c.carrier || hex.EncodeToString(inner) != guestFrame {
			t.Errorf("%s: %q around %x, want %q around %s", c.raw, carrier, inner, c.carrier, guestFrame)
		}
	}
}

func FuzzCarried(f *testing.F) {
	for _, s := range []string{"", guestFrame, guestFrame[:24] + "8100", hostFrame + ipUDP + toGeneve + "3f006558" + "00000900" + guestFrame} {
		raw, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, inner := carried(raw); len(inner) != 0 && (len(inner) < 14 || len(inner) > len(raw) || binary.BigEndian.Uint16(inner[12:]) == 0x8100) {
			t.Errorf("%x is inside of %x", inner, raw)
		}
	})
}
