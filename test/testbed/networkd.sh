#!/bin/sh
# Runs systemd-networkd for eth0 with its directories to itself, and tells of its leases in the words of
# udhcpc.sh. As in a container /sys is read-only, so that it does not wait for udev; there is no bus.
set -e
mkdir -p /run/systemd
mount -t tmpfs none /run/systemd
mkdir -p /run/systemd/network /run/systemd/netif
[ ! -d /run/dbus ] || mount -t tmpfs none /run/dbus
mount -t sysfs -o ro none /sys
cat >/run/systemd/network/10-eth0.network <<EOF
[Match]
Name=eth0
[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no
[DHCPv4]
UseMTU=yes
UseDomains=yes
EOF
chown -R systemd-network:systemd-network /run/systemd

# Whenever the address lives longer than it did before, it was given, or given again.
tell() {
	lease=/run/systemd/netif/leases/$(cat /sys/class/net/eth0/ifindex)
	get() { sed -n "s/^$1=//p" "$lease"; }
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
tell 2>/dev/null &
export SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_LEVEL=debug
exec /lib/systemd/systemd-networkd >&2
