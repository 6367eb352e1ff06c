#!/bin/sh
# What a guest does with an IPv6 lease that dhclient got, and what it tells the
# testbed. dhcpcd, which gives addresses to interfaces itself, only tells.
case $reason in
PREINIT6)
	ip link set "$interface" up;;
BOUND6|RENEW6|REBIND6)
	[ -z "$new_ip6_address" ] || ip -6 addr replace "$new_ip6_address/$new_ip6_prefixlen" dev "$interface" valid_lft "$new_max_life" preferred_lft "$new_preferred_life" nodad;;
EXPIRE6|RELEASE6|STOP6)
	[ -z "$old_ip6_address" ] || ip -6 addr del "$old_ip6_address/$old_ip6_prefixlen" dev "$interface";;
esac
echo "event=$reason"
for name in ip6_address max_life preferred_life dhcp6_name_servers dhcp6_domain_search dhcp6_server_id \
	dhcp6_ia_na1_ia_addr1 dhcp6_ia_na1_ia_addr1_vltime dhcp6_ia_na1_ia_addr1_pltime; do
	eval "value=\$new_$name"
	[ -z "$value" ] || echo "$name=$value"
done
echo end=1
