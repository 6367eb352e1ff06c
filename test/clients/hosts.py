"""The cloud's two hosts: what an operator and a hypervisor do there, with Open vSwitch's own command."""

import os
import subprocess
import time

OVSDB = os.environ["OVSDB"]
ZONES = {"compute01": "north", "compute02": "south"}


def vsctl(host, *args):
    subprocess.run(["ovs-vsctl", "--timeout=30", "--db=unix:" + os.environ["HOST_" + host], *args], check=True)


def leave(host):
    vsctl(host, "del-manager")


def come(host):
    vsctl(host, "set-manager", OVSDB)


def plug(host, port):
    """A guest's interface, as os-vif makes one."""
    vsctl(host, "add-port", "br-int", "tap" + port[:11], "--", "set", "Interface", "tap" + port[:11], "external_ids:iface-id=" + port)


def unplug(host, port):
    vsctl(host, "del-port", "br-int", "tap" + port[:11])


def eventually(what, so):
    """Wait until it is so, at most a minute."""
    deadline = time.monotonic() + 60
    while not so():
        assert time.monotonic() < deadline, "not within a minute: " + what
        time.sleep(0.05)
