package flows

import (
	"strings"
	"testing"

	of "github.com/tunbridge/tunbridge/flows/openflow"
)

func TestPipelineIsConsistent(t *testing.T) {
	if err := Check(); err != nil {
		t.Error(err)
	}
}

func TestCheckFindsWrongDeclarations(t *testing.T) {
	a := &Table{Bridge: BrInt, Number: 1, Name: "a", Owners: []Owner{OwnerL2}}
	b := &Table{Bridge: BrInt, Number: 2, Name: "b", Owners: []Owner{OwnerL2}}
	tun := &Table{Bridge: BrTun, Number: 1, Name: "a", Owners: []Owner{OwnerL2}}
	reg := func(name string, f of.Field, bits int, first, last *Table) *Reg {
		return &Reg{Name: name, Field: f, Bits: bits, First: first, Last: last}
	}
	for name, tc := range map[string]struct {
		tables []*Table
		regs   []*Reg
		want   string // "": nothing is wrong
	}{
		"fine":            {[]*Table{a, b, tun}, []*Reg{reg("R", of.Reg1, 32, a, b), reg("S", of.Reg2, 32, a, b)}, ""},
		"number twice":    {[]*Table{a, {Bridge: BrInt, Number: 1, Name: "c", Owners: a.Owners}}, nil, "br-int 1 c: its number"},
		"name twice":      {[]*Table{a, {Bridge: BrInt, Number: 3, Name: "a", Owners: a.Owners}}, nil, "br-int 3 a: its number or name"},
		"nobody's":        {[]*Table{{Bridge: BrInt, Number: 3, Name: "c"}}, nil, "nobody may emit"},
		"learned":         {[]*Table{{Bridge: BrInt, Number: 3, Name: "c", Learned: true}}, nil, ""},
		"backwards":       {nil, []*Reg{reg("R", of.Reg1, 32, b, a)}, "R: live from br-int 2 b to br-int 1 a"},
		"across bridges":  {nil, []*Reg{reg("R", of.Reg1, 32, a, tun)}, "R: live from"},
		"no register":     {nil, []*Reg{reg("R", of.EthDst, 32, a, b)}, "32 bits of eth_dst are not in a register"},
		"too wide":        {nil, []*Reg{reg("R", of.Reg1, 33, a, b)}, "33 bits of reg1"},
		"declared twice":  {nil, []*Reg{reg("R", of.Reg1, 32, a, a), reg("R", of.Reg2, 32, a, a)}, "R is declared twice"},
		"same":            {nil, []*Reg{reg("R", of.Reg1, 32, a, b), reg("S", of.Reg1, 32, b, b)}, "share bits"},
		"one after other": {nil, []*Reg{reg("R", of.Reg1, 32, a, a), reg("S", of.Reg1, 32, b, b)}, ""},
		"xxreg0, reg3":    {nil, []*Reg{reg("R", of.XXReg0, 128, a, b), reg("S", of.Reg3, 32, a, b)}, "share bits"},
		"xxreg0, reg4":    {nil, []*Reg{reg("R", of.XXReg0, 128, a, b), reg("S", of.Reg4, 32, a, b)}, ""},
		"xxreg1, reg6":    {nil, []*Reg{reg("R", of.XXReg1, 128, a, b), reg("S", of.Reg6, 32, a, b)}, "share bits"},
		"xreg4, reg8":     {nil, []*Reg{reg("R", of.XReg4, 64, a, b), reg("S", of.Reg8, 32, a, b)}, "share bits"},
		"xreg4, reg9":     {nil, []*Reg{reg("R", of.XReg4, 64, a, b), reg("S", of.Reg9, 32, a, b)}, "share bits"},
		"low half, reg8":  {nil, []*Reg{reg("R", of.XReg4, 32, a, b), reg("S", of.Reg8, 32, a, b)}, ""},
	} {
		err := check(tc.tables, tc.regs)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func TestVerifyFindsWrongFlows(t *testing.T) {
	icmp6 := of.MustMatch(of.EthType.Is(of.EthTypeIPv6), of.IPProto.Is(of.IPProtoICMPv6), of.ICMPv6Type.Is(135))
	for name, tc := range map[string]struct {
		table *Table
		match of.Match
		do    of.Instructions
		want  string // "": nothing is wrong
	}{
		"fine":                       {L2, of.MustMatch(RegNet.Is(1)), of.ApplyGoto(90, RegOut.Set(1)), ""},
		"register before it is live": {PuntMeter, of.MustMatch(RegOut.Is(1)), of.Drop, "is live"},
		"register after":             {L2, of.MustMatch(RegOp.Is(1)), of.Drop, "is live"},
		"undeclared register":        {L2, of.MustMatch(of.Reg15.Is(1)), of.Drop, "is live"},
		"undeclared, written":        {L2, "", of.Apply(of.SetField{FieldValue: of.Reg15.Is(1)}), "reg15"},
		"undeclared, moved to":       {L2, "", of.Apply(of.Move{Src: of.Reg6.All(), Dst: of.Reg12.All()}), "reg12"},
		"undeclared, moved from":     {L2, "", of.Apply(of.Move{Src: of.Reg12.All(), Dst: of.Reg7.All()}), "reg12"},
		"undeclared, sent to":        {Output, "", of.Apply(of.OutputReg{Src: of.Reg12.Bits(0, 15)}), "reg12"},
		"part of another":            {PortSecIP, "", of.Apply(of.SetField{FieldValue: of.XXReg1.Is(1)}), "xxreg1 bits 0 to 0"},
		"registers of br-int":        {TunUnicast, of.MustMatch(of.Reg6.Is(1)), of.Drop, "is live"},
		"goes back":                  {L2, "", of.Apply(of.Resubmit{Table: 30}), "goes back to br-int 30"},
		"goes to itself":             {Output, "", of.Apply(of.Resubmit{Table: 90}), "goes back"},
		"declared loop":              {Classify, "", of.Apply(of.Resubmit{Table: 0}), ""},
		"goes nowhere":               {L2, "", of.Goto(64), "table 64, which is not declared"},
		"no prerequisite":            {Output, "", of.Apply(of.SetField{FieldValue: of.ARPOp.Is(2)}), "arp_op needs"},
		"no prerequisite, move":      {PortSecLLA, "", of.Apply(of.Move{Src: of.NDSll.All(), Dst: RegMAC.Low(48)}), "nd_sll needs"},
		"prerequisite of a request":  {PortSecLLA, icmp6, of.Apply(of.Move{Src: of.NDTll.All(), Dst: RegMAC.Low(48)}), "nd_tll needs"},
		"learns":                     {L2Unknown, of.MustMatch(RegOut.Is(0)), of.Apply(of.Learn{Table: 65}), "not declared for that"},
		"learns another register":    {MACLearn, "", of.Apply(of.Learn{Table: 61, Specs: []of.LearnSpec{{Dst: of.Reg12.All(), Src: RegPort.All()}}}), "reg12"},
		"learns from a dead field":   {MACLearn, "", of.Apply(of.Learn{Table: 61, Specs: []of.LearnSpec{{Dst: RegOut.All(), Src: RegOut.All()}}}), "is live in br-int 15"},
		"prerequisite met":           {PortSecLLA, icmp6, of.Apply(of.Move{Src: of.NDSll.All(), Dst: RegMAC.Low(48)}), ""},
	} {
		f := &Flow{Key: Key{tc.table.Number, 1, tc.match}, Instructions: tc.do, Owner: tc.table.Owners[0], Reason: "a test"}
		err := Verify(tc.table, f)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	if err := Verify(L2, &Flow{Key: Key{Table: 60}, Owner: OwnerDHCP, Reason: "a test"}); err == nil || !strings.Contains(err.Error(), "dhcp") {
		t.Errorf("a stranger's flow: %v", err)
	}
	for _, reason := range []string{"", "l2", "eth_dst"} {
		if err := Verify(L2, &Flow{Key: Key{Table: 60}, Owner: OwnerL2, Reason: reason}); err == nil || !strings.Contains(err.Error(), "reason") {
			t.Errorf("reason %q: %v", reason, err)
		}
	}
}
