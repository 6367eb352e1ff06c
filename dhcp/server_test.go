package dhcp

import (
	"slices"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

// wanted are the flows of a compiler, as text, in order.
func wanted(t *testing.T, c *flows.Compiler, networks ...*flows.Network) string {
	t.Helper()
	if err := c.Compile(&flows.View{Host: &model.Host{ID: "h1"}, Networks: networks}); err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, b := range flows.Bridges {
		for f := range c.Wanted(b) {
			list = append(list, f.String()+"\n")
		}
	}
	slices.Sort(list)
	return strings.Join(list, "")
}

func TestFlows(t *testing.T) {
	c := flows.NewCompiler(New(Options{}))
	n := network()
	const net = "# dhcp: network a0000000-0000-0000-0000-000000000001: "
	const want = "" +
		"cookie=0x403a00000000000,table=20,priority=100,udp,reg6=0x7,nw_dst=10.0.0.2,tp_dst=67 actions=set_field:0x1->reg10,goto_table:21  " + net + "enable_dhcp of the subnet: renewals go to the DHCP port's fixed_ips\n" +
		"cookie=0x403a00000000000,table=20,priority=100,udp,reg6=0x7,nw_dst=10.0.1.2,tp_dst=67 actions=set_field:0x1->reg10,goto_table:21  " + net + "enable_dhcp of the subnet: renewals go to the DHCP port's fixed_ips\n" +
		"cookie=0x403a00000000000,table=20,priority=100,udp,reg6=0x7,nw_dst=255.255.255.255,tp_dst=67 actions=set_field:0x1->reg10,goto_table:21  " + net + "enable_dhcp of a subnet of the network\n" +
		"cookie=0x403a00000000000,table=20,priority=100,udp6,reg6=0x7,ipv6_dst=ff02::1:2,tp_dst=547 actions=set_field:0x2->reg10,goto_table:21  " + net + "enable_dhcp of an IPv6 subnet of the network\n" +
		"cookie=0x403a00000000000,table=30,priority=100,arp,reg6=0x7,arp_tpa=10.0.0.2,arp_op=1 actions=set_field:0xfa163e000002->xreg4,goto_table:31  " + net + "fixed_ips and mac_address of the DHCP port, which has no machine\n" +
		"cookie=0x403a00000000000,table=30,priority=100,arp,reg6=0x7,arp_tpa=10.0.1.2,arp_op=1 actions=set_field:0xfa163e000002->xreg4,goto_table:31  " + net + "fixed_ips and mac_address of the DHCP port, which has no machine\n"
	if got := wanted(t, c, n); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}

	without := *n
	without.DHCP = nil
	if got := wanted(t, c, &without); got != "" {
		t.Errorf("a network without a DHCP port has\n%s", got)
	}
	off := *n
	off.Subnets = n.Subnets[2:3]
	if got := wanted(t, c, &off); got != "" {
		t.Errorf("a network without a subnet with DHCP has\n%s", got)
	}
	if wanted(t, c, n) != want || wanted(t, c) != "" {
		t.Error("flows do not follow the view")
	}
}
