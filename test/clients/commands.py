"""Every command of the openstack client for what is served, in one process: the client's own shell, a
command at a time. What a command prints as JSON is compared, and read back by another. At the end all
commands and their options are known: they were run, or belong to an extension that is not advertised."""

import argparse
import contextlib
import importlib.metadata
import io
import json
import os
import sys

from openstackclient import shell
from openstackclient.common import quota

import hosts

ACME = os.environ["ACME"]
NOBODY = "00000000-0000-4000-8000-000000000000"
ran, given = set(), {}  # commands, and the options that they were given
offered = {}  # the options that they have
parse_args = argparse.ArgumentParser.parse_args


def remember(parser, args=None, namespace=None):
    own = [a for group in parser._action_groups if group.title == "options" for a in group._group_actions]
    offered[parser.prog.partition(" ")[2]] = {max(a.option_strings, key=len) for a in own} - {"--help"}
    return parse_args(parser, args, namespace)


argparse.ArgumentParser.parse_args = remember


def run(command, *args, fails=None):
    """The JSON that a command prints, or None; fails is a part of the error that it is to end with."""
    words = command.split()
    ran.add(command)
    given.setdefault(command, set()).update(word for word in args if word.startswith("--"))
    reads = words[-1] in ("show", "list", "create")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = shell.OpenStackShell().run(words + list(args) + (["-f", "json"] if reads else []))
        except SystemExit as e:  # of the parser of arguments
            status = e.code
    what = "openstack %s %s" % (command, " ".join(args))
    if fails is not None:
        assert status != 0 and fails in err.getvalue(), "%s: status %s, %s" % (what, status, err.getvalue())
        return None
    assert status == 0, "%s: status %s: %s" % (what, status, err.getvalue())
    return json.loads(out.getvalue()) if reads else None


def has(got, **wanted):
    for key, want in wanted.items():
        key = key.replace("__", ":")
        assert got.get(key) == want, "%s is %r, want %r, in %r" % (key, got.get(key), want, got)
    return got


def names(rows):
    return sorted(row["Name"] for row in rows)


def networks():
    made = has(run("network create", "blue", "--description", "first", "--tag", "a", "--mtu", "1400", "--dns-domain", "blue.example."),
               name="blue", description="first", tags=["a"], mtu=1400, admin_state_up=True, shared=False, status="ACTIVE",
               provider__network_type="vxlan", dns_domain="blue.example.")
    run("network create", "lan", "--provider-network-type", "vlan", "--provider-physical-network", "physnet1",
        "--provider-segment", "123", "--share", "--external", "--disable", "--disable-port-security", "--project", ACME)
    lan = has(run("network show", "lan"), provider__network_type="vlan", provider__physical_network="physnet1",
              provider__segmentation_id=123, shared=True, admin_state_up=False, port_security_enabled=False, project_id=ACME)
    assert lan["router:external"] is True
    run("network create", "lan2", "--provider-network-type", "vlan", "--provider-physical-network", "physnet1", "--provider-segment", "123", fails="409")
    run("network create", "lan2", "--external", "--default", fails="no network is made for projects that have none")
    run("network create", "lan2", "--availability-zone-hint", "east", fails="AvailabilityZone east could not be found")
    run("network create", "far", "--no-default", "--availability-zone-hint", "south", "--availability-zone-hint", "north")
    has(run("network show", "far"), availability_zone_hints=["south", "north"], is_default=None)
    run("network set", "far", "--no-default", "--dns-domain", "far.example.", "--disable-port-security", "--share")
    has(run("network show", "far"), dns_domain="far.example.", port_security_enabled=False, shared=True)
    run("network delete", "far")
    run("network set", "blue", "--name", "navy", "--description", "second", "--tag", "b", "--disable", "--mtu", "1300")
    has(run("network show", made["id"]), name="navy", description="second", tags=["a", "b"], admin_state_up=False, mtu=1300)
    run("network unset", "navy", "--tag", "a")
    has(run("network show", "navy"), tags=["b"])
    run("network set", "navy", "--no-tag", "--enable")
    has(run("network show", "navy"), tags=[], admin_state_up=True)
    assert names(run("network list")) == ["lan", "navy"]
    for args, want in ((["--external"], ["lan"]), (["--internal"], ["navy"]), (["--disable"], ["lan"]), (["--share"], ["lan"]),
                       (["--no-share"], ["navy"]), (["--name", "navy"], ["navy"]), (["--project", ACME], ["lan"]), (["--provider-segment", "123"], ["lan"]),
                       (["--provider-network-type", "vlan"], ["lan"]), (["--provider-physical-network", "physnet1"], ["lan"]), (["--not-tags", "b"], ["lan", "navy"])):
        assert names(run("network list", *args)) == want, args
    assert set(run("network list", "--long")[0]) >= {"ID", "Name", "Status", "Project", "State", "Shared", "Subnets", "Network Type", "Router Type", "Availability Zones", "Tags"}
    run("network delete", "lan", "none", fails="1 of 2 networks failed to delete")
    run("network show", "lan", fails="No Network found for lan")


def subnets():
    made = has(run("subnet create", "v4", "--network", "navy", "--subnet-range", "10.1.0.0/24", "--gateway", "10.1.0.254",
                   "--allocation-pool", "start=10.1.0.10,end=10.1.0.20", "--dns-nameserver", "192.0.2.53", "--host-route", "destination=198.51.100.0/24,gateway=10.1.0.9",
                   "--description", "first", "--tag", "a"),
               cidr="10.1.0.0/24", gateway_ip="10.1.0.254", allocation_pools=[{"start": "10.1.0.10", "end": "10.1.0.20"}], dns_nameservers=["192.0.2.53"],
               host_routes=[{"destination": "198.51.100.0/24", "nexthop": "10.1.0.9"}], enable_dhcp=True, ip_version=4, description="first", tags=["a"])
    has(run("subnet create", "v6", "--network", "navy", "--subnet-range", "fd00:1::/64", "--ip-version", "6", "--ipv6-ra-mode", "slaac", "--ipv6-address-mode", "slaac", "--gateway", "auto"),
        ipv6_ra_mode="slaac", ipv6_address_mode="slaac", gateway_ip="fd00:1::", ip_version=6)
    run("subnet create", "twin", "--network", "navy", "--subnet-range", "10.1.0.0/16", fails="overlaps")
    run("subnet set", "v4", "--name", "four", "--no-dhcp", "--gateway", "10.1.0.1", "--dns-nameserver", "192.0.2.54", "--allocation-pool", "start=10.1.0.30,end=10.1.0.40",
        "--host-route", "destination=203.0.113.0/24,gateway=10.1.0.9", "--tag", "b", "--description", "second")
    has(run("subnet show", made["id"]), name="four", enable_dhcp=False, gateway_ip="10.1.0.1", dns_nameservers=["192.0.2.54", "192.0.2.53"], description="second", tags=["a", "b"])
    run("subnet unset", "four", "--dns-nameserver", "192.0.2.53", "--host-route", "destination=203.0.113.0/24,gateway=10.1.0.9",
        "--allocation-pool", "start=10.1.0.10,end=10.1.0.20", "--tag", "a")
    has(run("subnet show", "four"), dns_nameservers=["192.0.2.54"], host_routes=[{"destination": "198.51.100.0/24", "nexthop": "10.1.0.9"}],
        allocation_pools=[{"start": "10.1.0.30", "end": "10.1.0.40"}], tags=["b"])
    run("subnet set", "four", "--dhcp", "--no-tag", "--no-dns-nameservers", "--no-host-route")
    has(run("subnet show", "four"), enable_dhcp=True, tags=[], dns_nameservers=[], host_routes=[])
    assert names(run("subnet list")) == ["four", "v6"]
    for args, want in ((["--ip-version", "6"], ["v6"]), (["--dhcp"], ["four", "v6"]), (["--no-dhcp"], []), (["--network", "navy", "--gateway", "10.1.0.1"], ["four"]),
                       (["--subnet-range", "10.1.0.0/24"], ["four"]), (["--name", "v6"], ["v6"]), (["--project", ACME], [])):
        assert names(run("subnet list", *args)) == want, args
    assert set(run("subnet list", "--long")[0]) >= {"ID", "Name", "Network", "Subnet", "Project", "DHCP", "Name Servers", "Allocation Pools", "Host Routes", "IP Version", "Gateway", "Tags"}


def pools():
    made = has(run("subnet pool create", "pool", "--pool-prefix", "10.64.0.0/16", "--default-prefix-length", "26", "--min-prefix-length", "20", "--max-prefix-length", "28",
                   "--default-quota", "4096", "--description", "first", "--tag", "a", "--share"),
               prefixes=["10.64.0.0/16"], default_prefixlen=26, min_prefixlen=20, max_prefixlen=28, default_quota=4096, shared=True, ip_version=4, tags=["a"])
    run("network create", "pooled")
    of = has(run("subnet create", "pooled", "--network", "pooled", "--subnet-pool", "pool"), subnetpool_id=made["id"])
    assert of["cidr"].endswith("/26") and of["cidr"].startswith("10.64."), of
    has(run("subnet create", "small", "--network", "pooled", "--subnet-pool", "pool", "--prefix-length", "28"), subnetpool_id=made["id"])
    assert names(run("subnet list", "--subnet-pool", "pool")) == ["pooled", "small"]
    run("subnet pool set", "pool", "--name", "puddle", "--pool-prefix", "10.65.0.0/16", "--default-prefix-length", "27", "--default", "--tag", "b", "--description", "second", "--default-quota", "8192")
    has(run("subnet pool show", "puddle"), default_prefixlen=27, is_default=True, tags=["a", "b"], prefixes=["10.64.0.0/15"], description="second", default_quota=8192)
    run("subnet pool unset", "puddle", "--tag", "a")
    run("subnet pool set", "puddle", "--no-default", "--no-tag")
    has(run("subnet pool show", made["id"]), is_default=False, tags=[])
    assert names(run("subnet pool list")) == ["puddle"] and run("subnet pool list", "--default") == [] and names(run("subnet pool list", "--share")) == ["puddle"]
    assert set(run("subnet pool list", "--long")[0]) >= {"ID", "Name", "Prefixes", "Default Prefix Length", "Address Scope", "Default Subnet Pool", "Shared", "Tags"}
    run("subnet pool delete", "puddle", fails="1 of 1 subnet pools failed to delete")
    run("subnet delete", "pooled", "small")
    run("network delete", "pooled")
    run("subnet pool delete", "puddle")
    assert run("subnet pool list") == []


def ports():
    made = has(run("port create", "p", "--network", "navy", "--fixed-ip", "subnet=four,ip-address=10.1.0.33", "--mac-address", "02:00:00:00:00:07", "--device", "d1", "--device-owner", "compute:nova",
                   "--description", "first", "--dns-name", "guest", "--allowed-address", "ip-address=10.1.0.99,mac-address=02:00:00:00:00:08", "--extra-dhcp-option", "name=26,value=1400",
                   "--binding-profile", "a=1", "--vnic-type", "normal", "--tag", "a", "--disable"),
               name="p", mac_address="02:00:00:00:00:07", device_id="d1", device_owner="compute:nova", description="first", admin_state_up=False, dns_name="guest",
               binding_vnic_type="normal", binding_profile={"a": "1"}, binding_vif_type="unbound", status="DOWN", port_security_enabled=True, tags=["a"],
               allowed_address_pairs=[{"ip_address": "10.1.0.99", "mac_address": "02:00:00:00:00:08"}])
    assert any(ip["ip_address"] == "10.1.0.33" for ip in made["fixed_ips"]), made
    assert made["dns_assignment"] and made["dns_assignment"][0]["hostname"] == "guest", made
    run("port create", "q", "--network", "navy", "--fixed-ip", "subnet=four,ip-address=10.1.0.33", fails="409")
    run("port set", "p", "--name", "port", "--fixed-ip", "subnet=four,ip-address=10.1.0.34", "--device", "d2", "--device-owner", "compute:az", "--enable", "--tag", "b",
        "--allowed-address", "ip-address=10.1.0.98", "--description", "second", "--dns-name", "machine", "--extra-dhcp-option", "name=12,value=x", "--binding-profile", "b=2", "--host", "compute01")
    got = has(run("port show", made["id"]), name="port", device_id="d2", device_owner="compute:az", admin_state_up=True, tags=["a", "b"], description="second", dns_name="machine",
              binding_host_id="compute01", binding_vif_type="ovs", binding_profile={"a": "1", "b": "2"})
    assert len(got["fixed_ips"]) >= 2 and len(got["allowed_address_pairs"]) == 2 and len(got["extra_dhcp_opts"]) == 2, got
    run("port unset", "port", "--fixed-ip", "subnet=four,ip-address=10.1.0.33", "--allowed-address", "ip-address=10.1.0.98,mac-address=02:00:00:00:00:07", "--binding-profile", "a", "--tag", "a")
    got = has(run("port show", "port"), tags=["b"], binding_profile={"b": "2"})
    assert [ip["ip_address"] for ip in got["fixed_ips"] if "." in ip["ip_address"]] == ["10.1.0.34"] and len(got["allowed_address_pairs"]) == 1, got
    run("port set", "port", "--mac-address", "02:00:00:00:00:09", fails="port is already bound")
    run("port unset", "port", "--host")
    run("port set", "port", "--no-allowed-address", "--no-binding-profile", "--no-tag", "--no-security-group", "--disable-port-security", "--mac-address", "02:00:00:00:00:09")
    has(run("port show", "port"), binding_vif_type="unbound", allowed_address_pairs=[], binding_profile={}, tags=[], port_security_enabled=False, mac_address="02:00:00:00:00:09", binding_host_id="")
    own = names(run("port list", "--network", "navy", "--fixed-ip", "ip-address=10.1.0.34"))
    assert own == ["port"], own
    for args in (["--mac-address", "02:00:00:00:00:09"], ["--name", "port"], ["--fixed-ip", "subnet=four,ip-address=10.1.0.34"], ["--fixed-ip", "ip-substring=0.34"]):
        assert names(run("port list", *args)) == ["port"], args
    assert run("port list", "--host", "nowhere") == [] and run("port list", "--device-id", "nobody") == [] and run("port list", "--project", ACME) == []
    assert set(run("port list", "--long")[0]) >= {"ID", "Name", "MAC Address", "Fixed IP Addresses", "Status", "Security Groups", "Device Owner", "Tags"}


def rights():
    made = has(run("network rbac create", "navy", "--type", "network", "--action", "access_as_shared", "--target-project", ACME),
               action="access_as_shared", object_type="network", target_project_id=ACME)
    assert [r["ID"] for r in run("network rbac list", "--type", "network")] == [made["id"]]
    assert [r["Action"] for r in run("network rbac list", "--action", "access_as_shared", "--long")] == ["access_as_shared"]
    assert run("network rbac list", "--action", "access_as_external") == []
    run("network rbac set", made["id"], "--target-project", "admin")
    shown = run("network rbac show", made["id"])
    assert shown["target_project_id"] != ACME, shown
    run("network rbac delete", made["id"])
    run("network rbac show", made["id"], fails="No RBACPolicy found")


def quotas():
    has(run("quota show", ACME), networks=100, subnets=100, ports=500, subnet_pools=-1, rbac_policies=10, project=ACME, cores=20, volumes=10)
    run("quota set", "--networks", "7", "--subnets", "8", "--ports", "9", "--subnetpools", "3", "--rbac-policies", "2", ACME)
    rows = [r for r in run("quota list", "--network") if r["Project ID"] == ACME]
    assert len(rows) == 1, rows
    has(rows[0], Networks=7, Subnets=8, Ports=9)
    limits = lambda: {r["Resource"]: r["Limit"] for r in run("quota list", "--network", "--detail", "--project", ACME)}
    has(limits(), networks=7, subnets=8, ports=9, subnet_pools=3, rbac_policies=2)
    run("quota set", "--networks", "-1", "--force", ACME)
    has(limits(), networks=-1, subnets=8)
    has(run("quota show", "acme"), networks=-1, subnets=8, ports=9, subnet_pools=3, rbac_policies=2, project=ACME, cores=20)
    has(run("quota show", "acme", "--default"), networks=100, subnets=100, ports=500, subnet_pools=-1, rbac_policies=10)
    used = {r["Resource"]: (r["In Use"], r["Limit"], r["Reserved"]) for r in run("quota list", "--network", "--detail", "--project", "admin")}
    has(used, networks=(1, 100, 0), subnets=(2, 100, 0))
    run("quota set", "--subnets", "1", "--check-limit", "admin", fails="Quota limit 1 for subnet must be greater than or equal to already used 2")
    run("quota set", "--subnets", "2", "--check-limit", "admin")
    run("subnet create", "over", "--network", "navy", "--subnet-range", "10.9.0.0/24", fails="Quota exceeded for resources: ['subnet']")
    run("quota set", "--subnets", "100", "admin")
    has(run("quota show"), subnets=100, project_name="admin")


def options():
    """Options that have had no place so far."""
    run("network create", "sea", "--enable", "--enable-port-security", "--internal", "--no-share", "--no-tag", "--extra-property", "type=int,name=mtu,value=1400", "--project", "acme", "--project-domain", "default")
    has(run("network show", "sea"), admin_state_up=True, port_security_enabled=True, shared=False, tags=[], mtu=1400, project_id=ACME, router__external=False)
    run("network set", "sea", "--external", "--tag", "x", "--tag", "y", "--disable-port-security", "--extra-property", "type=int,name=mtu,value=1300")
    has(run("network show", "sea"), router__external=True, tags=["x", "y"], port_security_enabled=False, mtu=1300)
    run("network set", "sea", "--internal", "--enable-port-security", "--no-share", "--description", "salt")
    has(run("network show", "sea"), router__external=False, port_security_enabled=True, description="salt")
    for args, want in ((["--enable"], ["navy", "sea"]), (["--status", "ACTIVE"], ["navy", "sea"]), (["--status", "DOWN"], []), (["--tags", "x,y"], ["sea"]), (["--tags", "x,z"], []),
                       (["--any-tags", "x,z"], ["sea"]), (["--not-any-tags", "x,z"], ["navy"]), (["--project", "acme", "--project-domain", "default"], ["sea"])):
        assert names(run("network list", *args)) == want, args
    run("network unset", "sea", "--all-tag")
    has(run("network show", "sea"), tags=[])
    run("network unset", "sea", "--extra-property", "name=description,value=", fails="'None' is not a valid string")  # it sets null
    run("network create", "lan", "--provider-network-type", "vlan", "--provider-physical-network", "physnet1", "--provider-segment", "5")
    run("network set", "lan", "--provider-network-type", "vlan", "--provider-physical-network", "physnet1", "--provider-segment", "6")
    has(run("network show", "lan"), provider__segmentation_id=6)
    run("network set", "lan", "--external", "--default", fails="no network is made for projects that have none")
    has(run("network rbac create", "lan", "--type", "network", "--action", "access_as_shared", "--target-all-projects", "--project", "acme", "--project-domain", "default"), target_project_id="*", project_id=ACME)
    rule = run("network rbac create", "sea", "--type", "network", "--action", "access_as_external", "--target-project", "acme", "--target-project-domain", "default", "--extra-property", "type=str,name=project_id,value=" + ACME)
    run("network rbac set", rule["id"], "--target-project", "admin", "--target-project-domain", "default")
    run("network rbac set", rule["id"], "--extra-property", "type=str,name=target_tenant,value=*")
    has(run("network rbac show", rule["id"]), target_project_id="*", project_id=ACME)
    run("network rbac delete", rule["id"])

    run("subnet create", "s", "--network", "sea", "--subnet-range", "10.5.0.0/24", "--no-dhcp", "--no-tag", "--gateway", "none", "--project", "acme", "--project-domain", "default", "--extra-property", "name=description,value=x")
    has(run("subnet show", "s"), enable_dhcp=False, gateway_ip=None, tags=[], project_id=ACME, description="x")
    run("subnet set", "s", "--gateway", "10.5.0.3", "--tag", "x", "--no-allocation-pool", "--allocation-pool", "start=10.5.0.10,end=10.5.0.20", "--extra-property", "name=description,value=y")
    has(run("subnet show", "s"), gateway_ip="10.5.0.3", tags=["x"], allocation_pools=[{"start": "10.5.0.10", "end": "10.5.0.20"}], description="y")
    for args, want in ((["--tags", "x"], ["s"]), (["--not-tags", "x"], ["four", "v6"]), (["--any-tags", "x,z"], ["s"]), (["--not-any-tags", "x,z"], ["four", "v6"]),
                       (["--project", "acme", "--project-domain", "default"], ["s"])):
        assert names(run("subnet list", *args)) == want, args
    run("subnet unset", "s", "--gateway", "--all-tag")
    has(run("subnet show", "s"), gateway_ip=None, tags=[])
    run("subnet set", "s", "--gateway", "10.5.0.3")
    run("subnet unset", "s", "--extra-property", "name=gateway_ip,value=")
    has(run("subnet show", "s"), gateway_ip=None)

    run("port create", "p1", "--network", "sea", "--no-fixed-ip", "--disable-port-security", "--no-security-group", "--enable", "--project", "acme", "--project-domain", "default", "--device-owner", "compute:x", "--tag", "x")
    has(run("port show", "p1"), fixed_ips=[], port_security_enabled=False, admin_state_up=True, project_id=ACME, security_group_ids=[])
    run("port create", "p2", "--network", "sea", "--enable-port-security", "--no-tag", "--extra-property", "name=description,value=x")
    assert len(has(run("port show", "p2"), port_security_enabled=True, tags=[], description="x")["fixed_ips"]) == 1
    run("port set", "p2", "--disable", "--vnic-type", "direct", "--no-fixed-ip", "--extra-property", "name=description,value=y")
    has(run("port show", "p2"), admin_state_up=False, binding_vnic_type="direct", fixed_ips=[], description="y")
    run("port set", "p1", "--enable-port-security")
    has(run("port show", "p1"), port_security_enabled=True)
    for args, want in ((["--device-owner", "compute:x"], ["p1"]), (["--tags", "x"], ["p1"]), (["--not-tags", "x"], ["p2"]), (["--any-tags", "x,z"], ["p1"]), (["--not-any-tags", "x,z"], ["p2"]),
                       (["--project", "acme", "--project-domain", "default"], ["p1"])):
        assert names(run("port list", "--network", "sea", *args)) == want, args
    run("port set", "p1", "--binding-profile", "a=1")
    run("port unset", "p1", "--all-tag", "--extra-property", "name=binding:profile,value=")
    has(run("port show", "p1"), tags=[], binding_profile={})

    run("subnet pool create", "sp", "--pool-prefix", "10.70.0.0/16", "--default", "--no-share", "--default-prefix-length", "24", "--project", "acme", "--project-domain", "default", "--tag", "x", "--extra-property", "name=description,value=x")
    run("subnet pool create", "other", "--pool-prefix", "10.71.0.0/16", "--no-default", "--no-tag")
    run("subnet pool set", "sp", "--min-prefix-length", "20", "--max-prefix-length", "28", "--extra-property", "name=description,value=y")
    has(run("subnet pool show", "sp"), min_prefixlen=20, max_prefixlen=28, is_default=True, shared=False, description="y", project_id=ACME)
    for args, want in ((["--name", "sp"], ["sp"]), (["--default"], ["sp"]), (["--no-default"], ["other"]), (["--no-share"], ["other", "sp"]), (["--project", "acme", "--project-domain", "default"], ["sp"]),
                       (["--tags", "x"], ["sp"]), (["--not-tags", "x"], ["other"]), (["--any-tags", "x,z"], ["sp"]), (["--not-any-tags", "x,z"], ["other"])):
        assert names(run("subnet pool list", *args)) == want, args
    run("subnet pool unset", "sp", "--all-tag")
    has(run("subnet pool show", "sp"), tags=[])
    has(run("subnet create", "cut", "--network", "lan", "--use-default-subnet-pool", "--dhcp"), enable_dhcp=True, cidr="10.70.0.0/24")

    run("port delete", "p1", "p2")
    run("network delete", "sea", "lan")
    run("subnet pool delete", "sp", "other")


def agents():
    both = lambda: {(r["Host"], r["Agent Type"]): r for r in run("network agent list")}
    hosts.eventually("hosts that answer", lambda: [r["Alive"] for r in both().values()] == [True] * 4)
    for (host, kind), row in both().items():
        dhcp = kind == "DHCP agent"
        zone, binary = (hosts.ZONES[host], "neutron-dhcp-agent") if dhcp else (None, "neutron-openvswitch-agent")
        has(row, **{"Availability Zone": zone, "State": True, "Binary": binary})
        got = has(run("network agent show", row["ID"]), id=row["ID"], host=host, agent_type=kind, binary=binary, availability_zone=zone, alive=True, admin_state_up=True, description=None)
        assert got["last_heartbeat_at"] >= got["started_at"] >= got["created_at"], got
        has(got["configuration"], **(dict(dhcp_driver="tunbridge", networks=0) if dhcp else dict(integration_bridge="br-int", tunnel_types=["vxlan", "gre", "geneve"], devices=0)))
    dhcp, other, switch = (both()[of]["ID"] for of in (("compute01", "DHCP agent"), ("compute02", "DHCP agent"), ("compute02", "Open vSwitch agent")))
    for args, want in ((["--agent-type", "dhcp"], {dhcp, other}), (["--agent-type", "dhcp", "--host", "compute01"], {dhcp}), (["--host", "compute02"], {other, switch}), (["--agent-type", "l3"], set())):
        assert {r["ID"] for r in run("network agent list", *args)} == want, args

    # DHCP is answered where the network has a port, whatever is said to agents.
    guest = has(run("port create", "guest", "--network", "navy", "--host", "compute01"), binding_host_id="compute01", binding_vif_type="ovs", status="DOWN")["id"]
    has(run("network show", "navy"), availability_zones=["north", "south"])

    def scheduled():
        assert names(run("network list", "--agent", dhcp)) == ["navy"] and run("network list", "--agent", other) == []
        assert [(r["ID"], r["Host"], r["Alive"]) for r in run("network agent list", "--network", "navy")] == [(dhcp, "compute01", True)]
        has(run("network agent show", dhcp)["configuration"], networks=1, subnets=2, ports=1)
    scheduled()
    run("network agent add network", "--dhcp", other, "navy")  # the client keeps to itself that it is refused
    run("network agent remove network", "--dhcp", dhcp, "navy")
    scheduled()
    run("network agent add network", "--dhcp", NOBODY, "navy", fails=NOBODY)
    run("network list", "--agent", switch, fails="is not a valid DHCP Agent")
    hosts.plug("compute01", guest)
    hosts.eventually("the guest's port is ACTIVE", lambda: run("port show", "guest")["status"] == "ACTIVE")
    assert names(run("port list", "--host", "compute01")) == ["guest"] and names(run("port list", "--network", "navy", "--long")) == names(run("port list", "--network", "navy"))
    hosts.unplug("compute01", guest)
    hosts.eventually("the guest's port is DOWN", lambda: run("port show", "guest")["status"] == "DOWN")
    run("port delete", "guest")
    assert run("network list", "--agent", dhcp) == [] and run("network agent list", "--network", "navy") == []

    zones = lambda: {r["Zone Name"]: r["Zone Status"] for r in run("availability zone list", "--network")}
    assert zones() == {"north": "available", "south": "available"}, zones()
    assert [r["Zone Resource"] for r in run("availability zone list", "--network", "--long")] == ["network", "network"]
    assert run("network agent list", "--long") == run("network agent list")
    run("network agent set", dhcp, "--disable", "--description", "rack 7")
    has(run("network agent show", dhcp), admin_state_up=False, description="rack 7", alive=True)
    assert zones() == {"north": "not available", "south": "available"}, zones()
    run("network agent set", dhcp, "--enable", "--description", "")
    assert zones()["north"] == "available"

    run("network agent delete", switch, fails="1 of 1 network agents failed to delete")
    hosts.leave("compute02")
    hosts.eventually("compute02 is known to be away", lambda: not run("network agent show", switch)["alive"])
    assert {k[0]: r["Alive"] for k, r in both().items()} == {"compute01": True, "compute02": False}
    run("network agent delete", switch)
    assert {k[0] for k in both()} == {"compute01"} and list(zones()) == ["north"]
    run("network agent show", other, fails=other)
    hosts.come("compute02")
    hosts.eventually("compute02 is back", lambda: [r["Alive"] for r in both().values()] == [True] * 4)
    assert both()["compute02", "Open vSwitch agent"]["ID"] == switch
    for command in ("show", "delete", "set"):
        run("network agent " + command, NOBODY, *(["--enable"] if command == "set" else []), fails=NOBODY if command != "delete" else "1 of 1")


def rest():
    row = [r for r in run("ip availability list") if r["Network Name"] == "navy"]
    assert len(row) == 1 and row[0]["Total IPs"] > 0, row
    assert [r["Network Name"] for r in run("ip availability list", "--ip-version", "6")] == ["navy"] and run("ip availability list", "--project", "acme", "--project-domain", "default") == []
    shown = has(run("ip availability show", "navy"), network_name="navy")
    assert {s["subnet_name"] for s in shown["subnet_ip_availability"]} == {"four", "v6"}, shown
    aliases = {r["Alias"] for r in run("extension list", "--network")}
    assert aliases >= {"binding", "rbac-policies", "subnet_allocation", "standard-attr-tag", "quota_details", "provider", "service-type"}, aliases
    has(run("extension show", "rbac-policies"), alias="rbac-policies")
    assert all(r["Name"] and r["Description"] for r in run("extension list", "--network", "--long"))
    for args in ["--or-show"], ["--project", ACME, "--project-domain", "default"], ["--check-resources"]:
        run("network auto allocated topology create", *args, fails="No default router:external network")
    run("network auto allocated topology delete", "--project", ACME, "--project-domain", "default")
    assert run("network service provider list") == []


# What is not run, because it belongs to extensions that are not advertised.
OTHERS = {
    "address group": "address-group", "address scope": "address-scope", "bgp": "bgp", "bgpvpn": "bgpvpn", "firewall group": "fwaas_v2", "floating ip": "router",
    "local ip": "local_ip", "network agent add router": "l3_agent_scheduler", "network agent remove router": "l3_agent_scheduler", "network flavor": "flavors",
    "network l3 conntrack helper": "l3-conntrack-helper", "network log": "logging", "network loggable resources": "logging", "network meter": "metering",
    "network onboard subnets": "subnet_onboard", "network qos": "qos", "network segment": "segment", "network segment range": "network-segment-range", "network subport": "trunk",
    "network trunk": "trunk", "router": "router", "security group": "security-group", "sfc": "sfc", "vpn": "vpnaas",
}
OPTIONS_OF_OTHERS = {
    "--address-scope": "address-scope", "--no-address-scope": "address-scope", "--qos-policy": "qos", "--no-qos-policy": "qos", "--security-group": "security-group", "--router": "router",
    "--transparent-vlan": "vlan-transparent", "--no-transparent-vlan": "vlan-transparent", "--numa-policy": "port-numa-affinity-policy", "--numa-policy-legacy": "port-numa-affinity-policy",
    "--numa-policy-preferred": "port-numa-affinity-policy", "--numa-policy-required": "port-numa-affinity-policy", "--data-plane-status": "data-plane-status", "--device-profile": "port-device-profile",
    "--enable-uplink-status-propagation": "uplink-status-propagation", "--disable-uplink-status-propagation": "uplink-status-propagation", "--service-type": "subnet-service-types",
    "--network-segment": "segment", "--dns-publish-fixed-ip": "subnet-dns-publish-fixed-ip", "--no-dns-publish-fixed-ip": "subnet-dns-publish-fixed-ip", "--use-prefix-delegation": "router",
}
OTHER_SERVICES = {"--compute", "--identity", "--volume", "--server", "--class", "--volume-type"} | {"--" + n for n in [*quota.COMPUTE_QUOTAS.values(), *quota.VOLUME_QUOTAS.values()]}
OTHER_QUOTAS = {"--floating-ips", "--routers", "--secgroups", "--secgroup-rules"}


def complete():
    aliases = {r["Alias"] for r in run("extension list", "--network")}
    assert not aliases & set(OTHERS.values()), aliases & set(OTHERS.values())
    known = {e.name.replace("_", " ") for group in ("openstack.network.v2", "openstack.neutronclient.v2") for e in importlib.metadata.entry_points(group=group)}
    assert len(known) > 200, sorted(known)
    known |= {"availability zone list", "extension list", "extension show", "quota list", "quota set", "quota show"}
    others = {c for c in known if any(c.startswith(of + " ") or c == of for of in OTHERS)}
    forgotten = known - others - ran
    assert not forgotten, "never run: %s" % sorted(forgotten)
    assert not others & ran, others & ran
    left = {c: offered[c] - given[c] - set(OPTIONS_OF_OTHERS) - OTHER_SERVICES - OTHER_QUOTAS for c in known - others}
    for command in "port create", "port set":
        left[command] -= set() if "dns-domain-ports" in aliases else {"--dns-domain"}  # which a network has without it
    left = {c: sorted(missing) for c, missing in left.items() if missing}
    assert not left, "options never given: %s" % left
    assert not aliases & set(OPTIONS_OF_OTHERS.values()), aliases & set(OPTIONS_OF_OTHERS.values())
    needless = {of for of in OTHERS if not any(c.startswith(of) for c in others)}
    assert not needless, needless
    for command in "router list", "security group list", "floating ip list", "network qos policy list", "network segment list", "address scope list", "network trunk list":
        run(command, fails="could not be found")


def removal():
    run("port delete", "port")
    run("port show", "port", fails="No Port found for port")
    run("subnet delete", "four", "v6")
    assert run("subnet list") == []
    run("network delete", "navy")
    assert run("network list") == []


def line(e):
    """The line of the part that failed."""
    return e.__traceback__.tb_next.tb_lineno


failed = False
for part in networks, subnets, pools, ports, rights, quotas, options, agents, rest, removal, complete:
    try:
        part()
    except Exception as e:
        failed = True
        print("line %d of %s: %s: %s" % (line(e), part.__name__, type(e).__name__, e))
print("%d commands" % len(ran))
sys.exit(failed)
