package eval

import (
	"maps"
	"slices"

	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// Packet is a packet and its metadata as a switch sees them: a value for every field. A field that was
// not given is zero.
type Packet struct {
	fields map[of.Field]of.Uint128 // but for registers and tags
	regs   [16]uint32
	tags   []uint16 // 802.1Q: priority 3 bits, of.VIDPresent, VID 12 bits; the outermost last
}

// NewPacket makes a packet of exact fields; of a masked one the bits of the mask count.
func NewPacket(values ...of.FieldValue) *Packet {
	p := &Packet{fields: map[of.Field]of.Uint128{}}
	for _, v := range values {
		p.set(v)
	}
	return p
}

// Get is a field's value.
func (p *Packet) Get(f of.Field) of.FieldValue {
	v := f.Is(0)
	v.Value = and(p.get(f), v.Mask)
	return v
}

// Tagged is the packet with an 802.1Q tag.
func (p *Packet) Tagged(vid uint16) *Packet {
	c := p.clone()
	c.tags = append(c.tags, of.VIDPresent|vid)
	return c
}

func (p *Packet) clone() *Packet {
	c := *p
	c.fields, c.tags = maps.Clone(p.fields), slices.Clone(p.tags)
	return &c
}

// tunnelFields do not cross a patch port, nor does Metadata.
var tunnelFields = [...]of.Field{of.TunID, of.TunFlags, of.TunSrc, of.TunDst, of.TunIPv6Src, of.TunIPv6Dst}

// enters is a copy of the packet as it comes into a bridge by a port: without what it was given on the way.
func (p *Packet) enters(port uint32) *Packet {
	c := p.clone()
	c.regs = [16]uint32{}
	delete(c.fields, of.Metadata)
	for _, f := range tunnelFields {
		delete(c.fields, f)
	}
	c.set(of.InPort.Is(uint64(port)))
	return c
}

// registers says which registers a field consists of, the most significant first; n is 0 if of none.
func registers(f of.Field) (first, n int) {
	switch {
	case f >= of.Reg0 && f <= of.Reg15 && f.Bytes() == 4:
		return int(f-of.Reg0) >> 9, 1
	case f >= of.XReg0 && f <= of.XReg7 && f.Bytes() == 8:
		return 2 * (int(f-of.XReg0) >> 9), 2
	case f >= of.XXReg0 && f <= of.XXReg3 && f.Bytes() == 16:
		return 4 * (int(f-of.XXReg0) >> 9), 4
	}
	return 0, 0
}

// tci is the outermost tag; 0 is none.
func (p *Packet) tci() uint16 {
	if len(p.tags) == 0 {
		return 0
	}
	return p.tags[len(p.tags)-1]
}

func (p *Packet) get(f of.Field) (v of.Uint128) {
	switch f {
	case of.VlanTCI:
		return of.Uint128{Lo: uint64(p.tci())}
	case of.VlanVID:
		return of.Uint128{Lo: uint64(p.tci() & 0x1fff)}
	case of.VlanPCP:
		return of.Uint128{Lo: uint64(p.tci() >> 13)}
	}
	first, n := registers(f)
	if n == 0 {
		return p.fields[f]
	}
	for _, r := range p.regs[first : first+n] {
		v = of.Uint128{Hi: v.Hi<<32 | v.Lo>>32, Lo: v.Lo<<32 | uint64(r)}
	}
	return v
}

// set writes the bits of v's mask.
func (p *Packet) set(v of.FieldValue) {
	old := p.get(v.Field)
	now := of.Uint128{Hi: old.Hi&^v.Mask.Hi | v.Value.Hi&v.Mask.Hi, Lo: old.Lo&^v.Mask.Lo | v.Value.Lo&v.Mask.Lo}
	switch v.Field {
	case of.VlanTCI:
		p.setTCI(uint16(now.Lo))
		return
	case of.VlanVID:
		p.setTCI(p.tci()&0xe000 | uint16(now.Lo)&0x1fff)
		return
	case of.VlanPCP:
		p.setTCI(p.tci()&0x1fff | uint16(now.Lo)<<13)
		return
	}
	first, n := registers(v.Field)
	for i := first + n - 1; i >= first; i-- {
		p.regs[i] = uint32(now.Lo)
		now = of.Uint128{Hi: now.Hi >> 32, Lo: now.Lo>>32 | now.Hi<<32}
	}
	if n == 0 {
		p.fields[v.Field] = now
	}
}

// setTCI writes the outermost tag; without the bit VIDPresent there is none, as in Open vSwitch.
func (p *Packet) setTCI(tci uint16) {
	switch {
	case len(p.tags) > 0:
		p.tags[len(p.tags)-1] = tci
	case tci&of.VIDPresent != 0:
		p.tags = append(p.tags, tci)
	}
}

// pushVLAN adds a tag with the priority of the one before and VID 0.
func (p *Packet) pushVLAN() { p.tags = append(p.tags, p.tci()&0xe000|of.VIDPresent) }

// popVLAN takes the outermost tag off.
func (p *Packet) popVLAN() {
	if len(p.tags) > 0 {
		p.tags = p.tags[:len(p.tags)-1]
	}
}

// read is the value of some bits of a field.
func (p *Packet) read(s of.Subfield) of.Uint128 {
	return and(shiftRight(p.get(s.Field), s.Offset), low(s.Width))
}

// write puts a value into some bits of a field.
func (p *Packet) write(s of.Subfield, v of.Uint128) {
	p.set(s.Field.Wide(shiftLeft(v, s.Offset), shiftLeft(low(s.Width), s.Offset)))
}

// matches says whether the packet has all the values.
func (p *Packet) matches(match []of.FieldValue) bool {
	for i := range match {
		if v := &match[i]; and(p.get(v.Field), v.Mask) != v.Value {
			return false
		}
	}
	return true
}

// has says whether packets of this kind have the field: a set_field or move of another does nothing.
func (p *Packet) has(f of.Field) bool {
	if _, n := registers(f); n > 0 || f == of.VlanTCI || f == of.VlanVID {
		return true
	}
	kind := make([]of.FieldValue, 0, 6)
	add := func(k of.Field) {
		if k != f {
			kind = append(kind, p.Get(k))
		}
	}
	add(of.EthType)
	if p.tci()&of.VIDPresent != 0 {
		add(of.VlanVID)
	}
	switch ethType := p.get(of.EthType).Lo; ethType {
	case of.EthTypeIPv4, of.EthTypeIPv6:
		add(of.IPFrag)
		add(of.IPProto)
		if ethType == of.EthTypeIPv6 && p.get(of.IPProto).Lo == of.IPProtoICMPv6 {
			add(of.ICMPv6Type)
		}
	}
	_, err := of.NewMatch(append(kind, f.Is(0))...)
	return err == nil
}

func and(a, b of.Uint128) of.Uint128 { return of.Uint128{Hi: a.Hi & b.Hi, Lo: a.Lo & b.Lo} }

// shiftLeft and shiftRight shift by n, 0 to 127.
func shiftLeft(u of.Uint128, n int) of.Uint128 {
	if n >= 64 {
		return of.Uint128{Hi: u.Lo << (n - 64)}
	}
	return of.Uint128{Hi: u.Hi<<n | u.Lo>>(64-n), Lo: u.Lo << n}
}

func shiftRight(u of.Uint128, n int) of.Uint128 {
	if n >= 64 {
		return of.Uint128{Lo: u.Hi >> (n - 64)}
	}
	return of.Uint128{Hi: u.Hi >> n, Lo: u.Lo>>n | u.Hi<<(64-n)}
}

// low is the number whose n lowest bits are set.
func low(n int) of.Uint128 {
	if n > 64 {
		return of.Uint128{Hi: 1<<(n-64) - 1, Lo: ^uint64(0)}
	}
	return of.Uint128{Lo: 1<<n - 1}
}
