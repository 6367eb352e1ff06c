package flows

import "github.com/tunbridge/tunbridge/flows/openflow"

// Reg is a named register field of br-int: which bits, from which table on it is written, up to
// which it is read, and what it holds. br-tun has none but for captures: a patch port clears registers, so
// that only the frame with its VLAN tag crosses.
type Reg struct {
	Name    string
	Field   openflow.Field
	Bits    int    // width in bits, from bit 0
	First   *Table // first table that may write it
	Last    *Table // last table that may read it
	Purpose string
}

// The register fields. XXReg1 is reg4 to reg7 and so never scratch.
var (
	RegAddr = reg("REG_ADDR", openflow.XXReg0, 128, PortSecKind, PortSecIP, "the address to prove; IPv4 as ::ffff:a.b.c.d")
	RegSwap = reg("REG_SWAP", openflow.Reg0, 32, ARPNDAnswer, ARPNDAnswer, "scratch for exchanging two ARP addresses")
	RegPort = reg("REG_PORT", openflow.Reg5, 32, Classify, Output, "ingress port: a host-local key")
	RegNet  = reg("REG_NET", openflow.Reg6, 32, Classify, Output, "network: its local VLAN")
	RegOut  = reg("REG_OUT", openflow.Reg7, 32, L2, Output, "output port: a host-local key; 0: not known yet")
	RegMAC  = reg("REG_MAC", openflow.XReg4, 64, PortSecKind, NDAnswer, "the link-layer address to prove, or to answer with")
	RegTap  = reg("REG_TAP", openflow.Reg11, 32, Classify, Classify, "1: the frame went through tap_in")
	RegTun  = reg("REG_TAP_TUN", openflow.Reg11, 32, TunClassify, TunClassify, "1: the frame went through tap, on br-tun")
	RegOp   = reg("REG_OP", openflow.Reg10, 32, PuntSelect, PuntMeter, "punt operation")
)

var registers []*Reg

func reg(name string, f openflow.Field, bits int, first, last *Table, purpose string) *Reg {
	r := &Reg{Name: name, Field: f, Bits: bits, First: first, Last: last, Purpose: purpose}
	registers = append(registers, r)
	return r
}

// Registers is every register field, in the order of its declaration.
func Registers() []*Reg { return registers }

// Is matches the whole field.
func (r *Reg) Is(v uint64) openflow.FieldValue { return r.Field.Is(v) }

// Set writes the whole field.
func (r *Reg) Set(v uint64) openflow.SetField {
	return openflow.SetField{FieldValue: r.Field.Is(v)}
}

// All is the field as source or destination of a move.
func (r *Reg) All() openflow.Subfield { return r.Field.All() }

// Low is the field's lowest n bits.
func (r *Reg) Low(n int) openflow.Subfield { return r.Field.Bits(0, n-1) }
