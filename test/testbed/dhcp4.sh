#!/bin/sh
# What a guest does with a lease that dhclient got, and what it tells the testbed,
# in the words of udhcpc.sh. dhcpcd, which gives addresses and routes to
# interfaces itself, only tells; it is known by if_up, which it sets.
address() {
	[ "$old_ip_address" = "$new_ip_address" ] || ip -4 addr flush dev "$interface" scope global
	ip addr replace "$new_ip_address/$new_subnet_mask" dev "$interface"
	[ -z "$new_interface_mtu" ] || ip link set "$interface" mtu "$new_interface_mtu"
	[ -n "$staticroutes" ] || [ -z "$new_routers" ] || ip route replace default via "${new_routers%% *}" dev "$interface" onlink
	set -- $staticroutes
	while [ $# -ge 2 ]; do
		ip route replace "$1" via "$2" dev "$interface" onlink
		shift 2
	done
}
# dhclient hands over the bytes of option 121 (RFC 3442) as numbers.
routes() {
	while [ $# -ge 5 ]; do
		bits=$1 to= n=0; shift
		while [ $n -lt 4 ]; do
			part=0
			[ $((8 * n)) -ge "$bits" ] || { part=$1; shift; }
			to=$to${to:+.}$part n=$((n + 1))
		done
		staticroutes="$staticroutes${staticroutes:+ }$to/$bits $1.$2.$3.$4"
		shift 4
	done
}
event=
case $reason in
PREINIT)
	ip link set "$interface" up;;
BOUND|REBOOT)
	event=bound;;
RENEW|REBIND)
	event=renew;;
EXPIRE|FAIL|RELEASE|STOP)
	event=deconfig
	[ -n "$if_up" ] || ip -4 addr flush dev "$interface" scope global;;
esac
[ -n "$event" ] || exit 0
if [ $event != deconfig ]; then
	staticroutes=$new_classless_static_routes
	if [ -z "$if_up" ]; then
		routes $new_rfc3442_classless_static_routes
		address
	fi
	ip=$new_ip_address router=$new_routers dns=$new_domain_name_servers domain=$new_domain_name hostname=$new_host_name
	mtu=$new_interface_mtu lease=$new_dhcp_lease_time serverid=$new_dhcp_server_identifier
	mask=$(ip -4 -o addr show dev "$interface" scope global | sed -n '1s|.*inet [0-9.]*/\([0-9]*\) .*|\1|p')
fi
echo "event=$event"
for name in ip mask router dns domain hostname mtu lease serverid staticroutes; do
	eval "value=\$$name"
	[ -z "$value" ] || echo "$name=$value"
done
echo end=1
