#!/bin/busybox sh
# What the guest of qemu_test.go does from its kernel's start to its end: DHCP, an address that a router's
# advertisement gives, metadata. What it finds goes to the console as lines that begin with "guest:".
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
echo 1 >/proc/sys/kernel/printk # the console is ours
say() { echo "guest: $*"; }
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net; do
	insmod /modules/$module.ko || { say "failed insmod $module"; poweroff -f; }
done
until [ -e /sys/class/net/eth0 ]; do sleep 0.1; done
ip link set lo up
ip link set eth0 up
say mac "$(cat /sys/class/net/eth0/address)"

udhcpc -i eth0 -f -q -t 100 -T 1 -s /udhcpc.sh -O staticroutes -O mtu >/tmp/lease || say "failed udhcpc"
say ipv4 $(ip -o -4 addr show dev eth0 scope global | awk '{ print $4 }')
say mtu "$(cat /sys/class/net/eth0/mtu)"
say route $(ip route get 169.254.169.254 | head -1)

# An address of a scope, of which the kernel has made sure that no other has it.
address() { ip -o -6 addr show dev eth0 scope $1 | grep -v tentative | awk '{ print $4 }'; }
for i in $(seq 600); do
	[ -n "$(address global)" ] && [ -n "$(address link)" ] && break
	sleep 0.1
done
say ipv6 $(address global)

# The body of an answer of HTTP/1.0.
body() { printf 'GET %s HTTP/1.0\r\nHost: metadata\r\n\r\n' "$2" | nc -w 60 "$1" 80 | sed '1,/^\r$/d'; }
for server in 169.254.169.254 fe80::a9fe:a9fe%eth0; do
	say hostname $server $(body $server /latest/meta-data/hostname)
	say uuid $server $(body $server /openstack/latest/meta_data.json | sed 's/.*"uuid":"\([^"]*\)".*/\1/')
	say user_data $server $(body $server /openstack/latest/user_data | sha256sum)
done
say uptime $(cut -d' ' -f1 /proc/uptime)
say end
poweroff -f
