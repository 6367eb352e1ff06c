#!/bin/sh
# What a guest does with a lease: addresses, routes and MTU of its interface, and
# nothing of the machine's (resolv.conf above all). Tells the testbed what it got.
case $1 in
bound|renew)
	ip addr flush dev "$interface" scope global
	ip addr add "$ip/${mask:-32}" dev "$interface"
	[ -z "$mtu" ] || ip link set "$interface" mtu "$mtu"
	if [ -n "$staticroutes" ]; then # RFC 3442: the router option is then ignored
		set -- "$1" $staticroutes
		event=$1; shift
		while [ $# -ge 2 ]; do
			if [ "$2" = 0.0.0.0 ]; then ip route replace "$1" dev "$interface"
			else ip route replace "$1" via "$2" dev "$interface" onlink; fi
			shift 2
		done
		set -- "$event"
	elif [ -n "$router" ]; then
		ip route replace default via "${router%% *}" dev "$interface" onlink
	fi;;
deconfig)
	ip addr flush dev "$interface" scope global
	ip link set "$interface" up;;
esac
echo "event=$1"
for name in ip mask subnet router dns domain search mtu broadcast hostname lease serverid staticroutes message; do
	eval "value=\$$name"
	[ -z "$value" ] || echo "$name=$value"
done
echo end=1
