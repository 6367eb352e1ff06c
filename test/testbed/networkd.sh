#!/bin/sh
# Runs systemd-networkd for eth0 with its directories to itself. With 4 as its argument it asks for an IPv4
# lease, and what it gets is told in the words of udhcpc.sh; with 6 it does what router advertisements tell it
# to, and that is told in those of dhcp6.sh. As in a container /sys is read-only, so that it does not wait for
# udev; there is no bus.
set -e
mkdir -p /run/systemd
mount -t tmpfs none /run/systemd
mkdir -p /run/systemd/network /run/systemd/netif
[ ! -d /run/dbus ] || mount -t tmpfs none /run/dbus
mount -t sysfs -o ro none /sys
{
	printf '[Match]\nName=eth0\n[Network]\n'
	if [ "$1" = 4 ]; then
		printf 'DHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n[DHCPv4]\nUseMTU=yes\nUseDomains=yes\n'
	else
		printf 'LinkLocalAddressing=ipv6\nIPv6AcceptRA=yes\n[IPv6AcceptRA]\nUseDomains=yes\n[DHCPv6]\nUseDomains=yes\n'
	fi
} >/run/systemd/network/10-eth0.network
chown -R systemd-network:systemd-network /run/systemd

get() { sed -n "s/^$1=//p" "$lease"; }

# Whenever the address lives longer than it did before, it was given, or given again.
tell4() {
	lease=/run/systemd/netif/leases/$(cat /sys/class/net/eth0/ifindex)
	event=bound was=0
	while kill -0 $$; do
		sleep 0.1
		set -- $(ip -4 -o addr show dev eth0 scope global | sed -n '1s|.*inet [0-9.]*/\([0-9]*\) .*valid_lft \([0-9]*\)sec.*|\1 \2|p')
		[ $# = 2 ] && [ -e "$lease" ] || continue
		if [ "$2" -gt "$was" ]; then
			cat <<-EOF
				event=$event
				ip=$(get ADDRESS)
				mask=$1
				router=$(get ROUTER)
				dns=$(get DNS)
				domain=$(get DOMAINNAME)
				hostname=$(get HOSTNAME)
				mtu=$(get MTU)
				lease=$(get LIFETIME)
				serverid=$(get SERVER_ADDRESS)
				staticroutes=$(get CLASSLESS_ROUTES | tr , ' ')
				end=1
			EOF
			event=renew
		fi
		was=$2
	done
	printf 'event=deconfig\nend=1\n'
}
tell6() {
	lease=/run/systemd/netif/links/$(cat /sys/class/net/eth0/ifindex)
	event=BOUND6 was=0
	while kill -0 $$; do
		sleep 0.1
		set -- $(ip -6 -o addr show dev eth0 scope global -tentative | sed -n '1s|.*inet6 \([0-9a-f:]*\)/.* valid_lft \([0-9]*\)sec preferred_lft \([0-9]*\)sec.*|\1 \2 \3|p')
		[ $# = 3 ] && [ -n "$(get DNS)" ] && [ -n "$(get DOMAINS)" ] || continue
		if [ "$2" -gt "$was" ]; then
			cat <<-EOF
				event=$event
				ip6_address=$1
				max_life=$2
				preferred_life=$3
				dhcp6_name_servers=$(get DNS)
				dhcp6_domain_search=$(get DOMAINS)
				end=1
			EOF
			event=RENEW6
		fi
		was=$2
	done
}
"tell$1" 2>/dev/null &
export SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_LEVEL=debug
exec /lib/systemd/systemd-networkd >&2
