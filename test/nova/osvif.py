"""Plugs and unplugs VIFs with os-vif, as nova-compute does.

The first line of the input is os-vif's configuration, [os_vif_ovs], as a JSON object; each further line
is one VIF. Each line is answered by one: null, or what went wrong.
"""
import json
import sys

from oslo_config import cfg
import os_vif
from os_vif.objects import instance_info, network, vif
from vif_plug_ovs import ovs, privsep

privsep.vif_plug.set_client_mode(False)  # it is root already


def configure(settings):
    cfg.CONF.register_opts(ovs.OvsPlugin.CONFIG_OPTS, group="os_vif_ovs")
    for name, value in settings.items():
        cfg.CONF.set_override(name, value, group="os_vif_ovs")
    os_vif.initialize()


def model(r):
    """The VIF as nova/network/os_vif_util.py makes it of Neutron's port."""
    return vif.VIFOpenVSwitch(
        id=r["port"], address=r["mac"], plugin="ovs", active=False, preserve_on_delete=not r["ours"],
        vif_name=("tap" + r["port"])[:14], bridge_name=r["bridge"], has_traffic_filtering=r["filter"],
        network=network.Network(id=r["network"], bridge=r["bridge"], mtu=r["mtu"]),
        port_profile=vif.VIFPortProfileOpenVSwitch(
            interface_id=r["port"], datapath_type=r["datapath"], create_port=True))


def answer(line):
    r = json.loads(line)
    if "plug" not in r:
        return configure(r)
    instance = instance_info.InstanceInfo(uuid=r["instance"], name=r["name"], project_id=r["project"])
    (os_vif.plug if r["plug"] else os_vif.unplug)(model(r), instance)


for line in sys.stdin:
    try:
        answer(line)
        said = None
    except Exception as e:  # the caller's to judge
        said = "%s: %s" % (type(e).__name__, e)
    print(json.dumps(said), flush=True)
