"""The calls of openstacksdk for what is served, as admin, in one process. What is made and changed is read
back in a second request, and all that was said of it is compared. At the end nothing is left, and all calls
of the network proxy and of the cloud layer, which Ansible uses, are known: they were run, or belong to an
extension that is not advertised."""

import os
import re
import sys

import openstack
from openstack import exceptions
from openstack.cloud import _network, _network_common
from openstack.network.v2 import _proxy

import hosts

ACME = os.environ["ACME"]
NOBODY = "00000000-0000-4000-8000-000000000000"
conn = openstack.connect()
neutron = conn.network
called, called_of_cloud = set(), set()


def call(name, /, *args, **kwargs):
    called.add(name)
    return getattr(neutron, name)(*args, **kwargs)


def cloud(name, /, *args, **kwargs):
    """A call of the cloud layer."""
    called_of_cloud.add(name)
    return getattr(conn, name)(*args, **kwargs)


def listed(name, /, **query):
    return list(call(name, **query))


def has(got, /, **wanted):
    for key, want in wanted.items():
        value = got[key]
        assert value == want, "%s is %r, want %r, in %r" % (key, value, want, got)
    return got


def refused(error, part, name, /, *args, **kwargs):
    """A call that is to end with an error, whose text has a part."""
    try:
        got = call(name, *args, **kwargs)
    except error as e:
        assert type(e) is error and part in str(e), "%s: %r" % (name, e)
        return
    raise AssertionError("%s answered %r" % (name, got))


def names(rows):
    return sorted(row.name for row in rows)


def networks():
    made = call("create_network", name="blue", description="first", mtu=1400, dns_domain="blue.example.")
    said = dict(name="blue", description="first", mtu=1400, dns_domain="blue.example.", is_admin_state_up=True, is_shared=False, is_router_external=False,
                is_port_security_enabled=True, provider_network_type="vxlan", status="ACTIVE", project_id=conn.current_project_id, subnet_ids=[], tags=[], revision_number=1)
    has(made, **said)
    has(call("get_network", made.id), id=made.id, created_at=made.created_at, updated_at=made.updated_at, **said)
    said = dict(name="lan", provider_network_type="vlan", provider_physical_network="physnet1", provider_segmentation_id=123, is_shared=True, is_router_external=True,
                is_admin_state_up=False, is_port_security_enabled=False, project_id=ACME)
    lan = call("create_network", **said)
    has(call("find_network", "lan"), id=lan.id, **said)
    refused(exceptions.ConflictException, "123", "create_network", name="lan2", provider_network_type="vlan", provider_physical_network="physnet1", provider_segmentation_id=123)

    call("update_network", made, name="navy", description="second", is_admin_state_up=False, mtu=1300, dns_domain="navy.example.")
    has(call("get_network", made.id), name="navy", description="second", is_admin_state_up=False, mtu=1300, dns_domain="navy.example.", revision_number=2)
    refused(exceptions.PreconditionFailedException, "412", "update_network", made.id, if_revision=1, name="grey")
    has(call("get_network", made.id), name="navy", revision_number=2)
    call("update_network", made.id, if_revision=2, is_admin_state_up=True)
    has(call("get_network", made.id), is_admin_state_up=True, revision_number=3)

    assert names(listed("networks")) == ["lan", "navy"]
    for query, want in ((dict(name="lan"), ["lan"]), (dict(is_router_external=True), ["lan"]), (dict(is_router_external=False), ["navy"]), (dict(is_admin_state_up=False), ["lan"]),
                        (dict(is_shared=True), ["lan"]), (dict(project_id=ACME), ["lan"]), (dict(provider_network_type="vxlan"), ["navy"]), (dict(description="second"), ["navy"]),
                        (dict(provider_physical_network="physnet1"), ["lan"]), (dict(provider_segmentation_id=123), ["lan"]),
                        (dict(status="ACTIVE", name="navy"), ["navy"]), (dict(name="none"), [])):
        assert names(listed("networks", **query)) == want, query

    refused(exceptions.PreconditionFailedException, "412", "delete_network", lan.id, if_revision=7)
    call("delete_network", lan.id, ignore_missing=False)
    refused(exceptions.ResourceNotFound, lan.id, "get_network", lan.id)
    refused(exceptions.ResourceNotFound, lan.id, "delete_network", lan.id, ignore_missing=False)
    assert call("find_network", "lan") is None
    return made.id


def subnets(navy):
    said = dict(name="v4", network_id=navy, ip_version=4, cidr="10.1.0.0/24", gateway_ip="10.1.0.254", allocation_pools=[{"start": "10.1.0.10", "end": "10.1.0.20"}],
                dns_nameservers=["192.0.2.53"], host_routes=[{"destination": "198.51.100.0/24", "nexthop": "10.1.0.9"}], is_dhcp_enabled=True, description="first")
    four = has(call("create_subnet", **said), ipv6_ra_mode=None, ipv6_address_mode=None, subnet_pool_id=None, tags=[], **said)
    has(call("get_subnet", four.id), id=four.id, project_id=conn.current_project_id, revision_number=four.revision_number, created_at=four.created_at, **said)
    said = dict(name="v6", network_id=navy, ip_version=6, cidr="fd00:1::/64", ipv6_ra_mode="dhcpv6-stateful", ipv6_address_mode="dhcpv6-stateful")
    six = call("create_subnet", **said)
    has(call("find_subnet", "v6"), id=six.id, gateway_ip="fd00:1::", **said)
    assert sorted(call("get_network", navy).subnet_ids) == sorted([four.id, six.id])
    refused(exceptions.BadRequestException, "overlaps", "create_subnet", network_id=navy, ip_version=4, cidr="10.1.0.0/16")
    refused(exceptions.BadRequestException, "10.1.0.0/33", "create_subnet", network_id=navy, ip_version=4, cidr="10.1.0.0/33")

    said = dict(name="four", description="second", gateway_ip="10.1.0.1", is_dhcp_enabled=False, dns_nameservers=["192.0.2.54", "192.0.2.55"],
                allocation_pools=[{"start": "10.1.0.30", "end": "10.1.0.90"}], host_routes=[])
    call("update_subnet", four.id, if_revision=call("get_subnet", four.id).revision_number, **said)
    has(call("get_subnet", four.id), **said)
    refused(exceptions.PreconditionFailedException, "412", "update_subnet", four.id, if_revision=99, name="grey")
    call("update_subnet", four.id, is_dhcp_enabled=True)
    for query, want in ((dict(network_id=navy), ["four", "v6"]), (dict(ip_version=6), ["v6"]), (dict(cidr="10.1.0.0/24"), ["four"]), (dict(gateway_ip="10.1.0.1"), ["four"]),
                        (dict(is_dhcp_enabled=True), ["four", "v6"]), (dict(is_dhcp_enabled=False), []), (dict(ipv6_ra_mode="dhcpv6-stateful"), ["v6"]), (dict(name="four"), ["four"]),
                        (dict(ipv6_address_mode="dhcpv6-stateful"), ["v6"]), (dict(project_id=ACME), [])):
        assert names(listed("subnets", **query)) == want, query
    return four.id, six.id


def ports(navy, four, six):
    said = dict(name="p", network_id=navy, mac_address="02:00:00:00:00:07", device_id="d1", device_owner="compute:nova", description="first", is_admin_state_up=False, dns_name="guest",
                fixed_ips=[{"subnet_id": four, "ip_address": "10.1.0.33"}], allowed_address_pairs=[{"ip_address": "10.1.0.99", "mac_address": "02:00:00:00:00:08"}],
                extra_dhcp_opts=[{"opt_name": "26", "opt_value": "1400", "ip_version": 4}], binding_profile={"a": "1"}, binding_vnic_type="normal")
    more = dict(binding_vif_type="unbound", binding_host_id="", status="DOWN", is_port_security_enabled=True, security_group_ids=[], tags=[],
                dns_assignment=[{"hostname": "guest", "ip_address": "10.1.0.33", "fqdn": "guest.navy.example."}])
    made = call("create_port", **said)
    got = dict(more, dns_assignment=made.dns_assignment)
    has(made, **said, **got)
    assert [(d["hostname"], d["ip_address"]) for d in made.dns_assignment] == [("guest", "10.1.0.33")], made.dns_assignment
    has(call("get_port", made.id), id=made.id, project_id=conn.current_project_id, **said, **got)
    refused(exceptions.ConflictException, "10.1.0.33", "create_port", network_id=navy, fixed_ips=[{"ip_address": "10.1.0.33"}])
    refused(exceptions.BadRequestException, "203.0.113.7", "create_port", network_id=navy, fixed_ips=[{"ip_address": "203.0.113.7"}])
    refused(exceptions.ResourceNotFound, NOBODY, "create_port", network_id=NOBODY)

    said = dict(name="port", device_id="d2", device_owner="compute:az", is_admin_state_up=True, description="second", dns_name="machine", binding_host_id="compute01",
                fixed_ips=[{"subnet_id": four, "ip_address": "10.1.0.34"}], allowed_address_pairs=[], binding_profile={"b": "2"},
                mac_address="02:00:00:00:00:07", network_id=navy)
    change = {k: v for k, v in said.items() if k != "network_id"}
    call("update_port", made.id, if_revision=made.revision_number, **change)
    has(call("get_port", made.id), binding_vif_type="ovs", **said)
    refused(exceptions.PreconditionFailedException, "412", "update_port", made.id, if_revision=made.revision_number, name="grey")
    call("update_port", made.id, is_port_security_enabled=False, binding_host_id="")
    has(call("get_port", made.id), is_port_security_enabled=False, binding_host_id="", binding_vif_type="unbound", name="port")
    has(call("find_port", "port", network_id=navy), id=made.id)
    assert call("find_port", "none") is None and call("find_network", "none") is None and call("find_subnet", "none") is None

    many = list(call("create_ports", [dict(network_id=navy, name="bulk%d" % i, fixed_ips=[{"subnet_id": four}]) for i in range(7)]))
    assert [p.name for p in many] == ["bulk%d" % i for i in range(7)], many
    for p in many:
        has(call("get_port", p.id), name=p.name, mac_address=p.mac_address, fixed_ips=p.fixed_ips)
    addresses = [p.fixed_ips[0]["ip_address"] for p in many]
    assert len(set(addresses)) == len(set(p.mac_address for p in many)) == 7, many
    refused(exceptions.ConflictException, "10.1.0.34", "create_ports", [dict(network_id=navy, name="none"), dict(network_id=navy, fixed_ips=[{"ip_address": "10.1.0.34"}])])
    assert listed("ports", name="none") == [], "a bulk request that failed left a port"

    every = names(listed("ports", network_id=navy, device_owner=["", "compute:az"]))
    assert every == sorted(["port"] + ["bulk%d" % i for i in range(7)]), every
    assert names(p for p in neutron.ports(network_id=navy, limit=3) if p.name) == every, "in pages of three"
    first = list(neutron.ports(network_id=navy, limit=3, paginated=False))
    assert len(first) == 3, first
    rest = [p.id for p in neutron.ports(network_id=navy, limit=3, marker=first[-1].id)]
    assert sorted(rest + [p.id for p in first]) == sorted(p.id for p in neutron.ports(network_id=navy)), "from the marker on"
    for query, want in ((dict(mac_address="02:00:00:00:00:07"), ["port"]), (dict(device_id="d2"), ["port"]), (dict(device_owner="compute:az"), ["port"]), (dict(name="bulk3"), ["bulk3"]),
                        (dict(fixed_ips="ip_address=10.1.0.34"), ["port"]), (dict(fixed_ips=["subnet_id=" + four, "ip_address=" + addresses[2]]), ["bulk2"]), (dict(id=many[5].id), ["bulk5"]),
                        (dict(description="second"), ["port"]), (dict(project_id=ACME), []), (dict(**{"binding:host_id": "nowhere"}), [])):
        assert [n for n in names(listed("ports", **query)) if n] == want, query
    assert {p.id for p in call("get_subnet_ports", four)} >= {p.id for p in many}
    slim = list(neutron.ports(name="bulk3", fields="name"))
    assert [(p.name, p.mac_address) for p in slim] == [("bulk3", None)], slim
    for p in many:
        call("delete_port", p.id, ignore_missing=False)
    assert [n for n in names(listed("ports", network_id=navy)) if n] == ["port"]
    return made.id


def pools():
    lake = call("create_network", name="lake").id
    said = dict(name="pool", prefixes=["10.64.0.0/16"], default_prefix_length=26, minimum_prefix_length=20, maximum_prefix_length=28, default_quota=4096, description="first", is_shared=True)
    made = call("create_subnet_pool", **said)
    has(call("get_subnet_pool", made.id), id=made.id, ip_version=4, is_default=False, address_scope_id=None, tags=[], **said)
    of = call("create_subnet", name="pooled", network_id=lake, ip_version=4, subnet_pool_id=made.id)
    has(call("get_subnet", of.id), subnet_pool_id=made.id, cidr=of.cidr)
    assert of.cidr.startswith("10.64.") and of.cidr.endswith("/26"), of
    small = call("create_subnet", name="small", network_id=lake, ip_version=4, subnet_pool_id=made.id, prefix_length=28)
    assert call("get_subnet", small.id).cidr.endswith("/28"), small
    assert names(listed("subnets", subnet_pool_id=made.id)) == ["pooled", "small"]
    refused(exceptions.BadRequestException, "29", "create_subnet", network_id=lake, ip_version=4, subnet_pool_id=made.id, prefix_length=29)
    said = dict(name="puddle", description="second", default_prefix_length=27, is_default=True, default_quota=8192)
    call("update_subnet_pool", made.id, prefixes=["10.64.0.0/16", "10.65.0.0/16"], **said)
    has(call("find_subnet_pool", "puddle"), id=made.id, prefixes=["10.64.0.0/15"], **said)
    for query, want in ((dict(), ["puddle"]), (dict(is_shared=True), ["puddle"]), (dict(is_default=True), ["puddle"]), (dict(is_default=False), []), (dict(ip_version=6), []), (dict(name="puddle"), ["puddle"])):
        assert names(listed("subnet_pools", **query)) == want, query
    refused(exceptions.BadRequestException, "existing allocations", "delete_subnet_pool", made.id)
    for id in of.id, small.id:
        call("delete_subnet", id, ignore_missing=False)
    call("delete_subnet_pool", made.id, ignore_missing=False)
    call("delete_network", lake, ignore_missing=False)
    assert listed("subnet_pools") == []


def tags(navy, four, port):
    pool = call("create_subnet_pool", name="tagged", prefixes=["10.66.0.0/16"], default_prefix_length=26)
    for kind, id in ("network", navy), ("subnet", four), ("port", port), ("subnet_pool", pool.id):
        row = call("get_" + kind, id)
        call("set_tags", row, ["red", "a b"])
        assert sorted(call("get_" + kind, id).tags) == ["a b", "red"], kind
        for query, want in (dict(tags="red"), [id]), (dict(tags="red,green"), []), (dict(any_tags="red,green"), [id]):
            assert [r.id for r in listed(kind + "s", **query)] == want, (kind, query)
        for query in dict(not_tags="red"), dict(not_any_tags="red,green"):
            assert id not in [r.id for r in listed(kind + "s", **query)], (kind, query)
        call("set_tags", call("get_" + kind, id), [])
        assert call("get_" + kind, id).tags == [], kind
    call("delete_subnet_pool", pool.id, ignore_missing=False)


def rights(navy):
    said = dict(object_type="network", object_id=navy, action="access_as_shared", target_project_id=ACME)
    made = call("create_rbac_policy", **said)
    has(call("get_rbac_policy", made.id), id=made.id, project_id=conn.current_project_id, **said)
    for query, want in (dict(object_id=navy), [made.id]), (dict(target_project_id=ACME), [made.id]), (dict(action="access_as_external"), []), (dict(object_type="network"), [made.id]):
        assert [r.id for r in listed("rbac_policies", **query)] == want, query
    refused(exceptions.ConflictException, "", "create_rbac_policy", **said)
    call("update_rbac_policy", made.id, target_project_id="*")
    has(call("find_rbac_policy", made.id), target_project_id="*")
    has(call("get_network", navy), is_shared=True)
    call("delete_rbac_policy", made.id, ignore_missing=False)
    refused(exceptions.ResourceNotFound, made.id, "get_rbac_policy", made.id)
    has(call("get_network", navy), is_shared=False)


def quotas(navy):
    own = conn.current_project_id
    for id in own, ACME:  # other clients set them and cannot take them back
        call("delete_quota", id)
    has(call("get_quota_default", ACME), networks=100, subnets=100, ports=500, subnet_pools=-1, rbac_policies=10)
    said = dict(networks=7, subnets=8, ports=9, subnet_pools=3, rbac_policies=2)
    call("update_quota", ACME, **said)
    has(call("get_quota", ACME), **said)
    assert [(q.project_id, q.ports) for q in listed("quotas")] == [(ACME, 9)], listed("quotas")
    detail = call("get_quota", own, details=True)
    assert detail.networks == {"limit": 100, "used": 1, "reserved": 0} and detail.subnets["used"] == 2, detail
    call("update_quota", own, networks=1)
    refused(exceptions.ConflictException, "Quota exceeded for resources: ['network']", "create_network", name="over")
    for id in own, ACME:
        call("delete_quota", id, ignore_missing=False)
        has(call("get_quota", id), networks=100, ports=500)
    assert listed("quotas") == []


def rest(navy, four, six):
    nobody = NOBODY
    row = has(call("get_network_ip_availability", navy), network_id=navy, network_name="navy", project_id=conn.current_project_id)
    of = {s["subnet_id"]: s for s in row.subnet_ip_availability}
    assert set(of) == {four, six}, row
    has(of[four], subnet_name="four", cidr="10.1.0.0/24", ip_version=4, total_ips=61)
    assert of[four]["used_ips"] == len([p for p in neutron.ports(network_id=navy) for ip in p.fixed_ips if ip["subnet_id"] == four]), of
    assert row.total_ips == sum(s["total_ips"] for s in of.values()) and row.used_ips == sum(s["used_ips"] for s in of.values()), row
    has(call("find_network_ip_availability", navy), network_id=navy, total_ips=row.total_ips)
    for query, want in (dict(network_name="navy"), [navy]), (dict(network_id=nobody), []), (dict(ip_version=6), [navy]), (dict(project_id=ACME), []):
        assert [r.network_id for r in listed("network_ip_availabilities", **query)] == want, query

    known = {e.alias: e for e in listed("extensions")}
    assert set(known) >= {"binding", "rbac-policies", "subnet_allocation", "standard-attr-tag", "quota_details", "provider", "network-ip-availability"}, sorted(known)
    for alias, e in known.items():
        assert e.name and e.description is not None, e
    has(call("find_extension", "rbac-policies"), alias="rbac-policies", name=known["rbac-policies"].name)
    assert call("find_extension", "no-such-extension") is None
    refused(exceptions.ConflictException, "", "get_auto_allocated_topology", ACME)
    refused(exceptions.ConflictException, "", "validate_auto_allocated_topology", ACME)
    call("delete_auto_allocated_topology", ACME)
    assert listed("service_providers") == []


def agents(navy):
    both = lambda **query: {(a.host, a.agent_type): a for a in listed("agents", **query)}
    hosts.eventually("hosts that answer", lambda: [a.is_alive for a in both().values()] == [True] * 4)
    for (host, kind), agent in both().items():
        has(call("get_agent", agent.id), id=agent.id, host=host, agent_type=kind, is_alive=True, is_admin_state_up=True, binary=agent.binary, topic=agent.topic, created_at=agent.created_at,
            availability_zone=hosts.ZONES[host] if kind == "DHCP agent" else None)
    dhcp, other, switch = (both()[of] for of in (("compute01", "DHCP agent"), ("compute02", "DHCP agent"), ("compute02", "Open vSwitch agent")))
    for query, want in ((dict(host="compute02"), [other, switch]), (dict(agent_type="DHCP agent"), [dhcp, other]), (dict(binary="neutron-dhcp-agent", host="compute01"), [dhcp]), (dict(is_alive=False), []),
                        (dict(is_admin_state_up=True, availability_zone="south"), [other]), (dict(topic="dhcp_agent"), [dhcp, other]), (dict(host="nowhere"), [])):
        assert {a.id for a in both(**query).values()} == {a.id for a in want}, query

    guest = call("create_port", name="guest", network_id=navy, binding_host_id="compute01")

    def scheduled():
        assert [n.id for n in listed("dhcp_agent_hosting_networks", agent=dhcp)] == [navy] and listed("dhcp_agent_hosting_networks", agent=other) == []
        assert [a.id for a in listed("network_hosting_dhcp_agents", network=navy)] == [dhcp.id]
        has(call("get_agent", dhcp.id).configuration, networks=1, subnets=2, ports=1)
    scheduled()
    for agent, error in (other, "NetworkNotSchedulable"), (dhcp, "NetworkHostedByDHCPAgent"):
        assert call("add_dhcp_agent_to_network", agent, navy)["NeutronError"]["type"] == error, agent
    call("remove_dhcp_agent_from_network", dhcp, navy)  # the library keeps to itself that it is refused
    scheduled()
    hosts.plug("compute01", guest.id)
    hosts.eventually("the guest's port is ACTIVE", lambda: call("get_port", guest.id).status == "ACTIVE")
    hosts.unplug("compute01", guest.id)
    hosts.eventually("the guest's port is DOWN", lambda: call("get_port", guest.id).status == "DOWN")
    call("delete_port", guest.id, ignore_missing=False)

    zones = lambda: {(z.name, z.resource): z.state for z in listed("availability_zones")}
    call("update_agent", dhcp.id, description="rack 7", is_admin_state_up=False)
    has(call("get_agent", dhcp.id), description="rack 7", is_admin_state_up=False, is_alive=True)
    assert zones() == {("north", "network"): "unavailable", ("south", "network"): "available"}, zones()
    call("update_agent", dhcp.id, description="", is_admin_state_up=True)
    assert zones()["north", "network"] == "available"

    refused(exceptions.ConflictException, "compute02 answers", "delete_agent", switch.id)
    hosts.leave("compute02")
    hosts.eventually("compute02 is known to be away", lambda: not call("get_agent", switch.id).is_alive)
    assert [a.host for a in both(is_alive=False, agent_type="DHCP agent").values()] == ["compute02"]
    call("delete_agent", switch.id, ignore_missing=False)
    refused(exceptions.ResourceNotFound, other.id, "get_agent", other.id)
    assert {host for host, _ in both()} == {"compute01"} and list(zones()) == [("north", "network")]
    hosts.come("compute02")
    hosts.eventually("compute02 is back", lambda: [a.is_alive for a in both().values()] == [True] * 4)
    assert both()["compute02", "Open vSwitch agent"].id == switch.id
    refused(exceptions.ResourceNotFound, NOBODY, "get_agent", NOBODY)
    refused(exceptions.ResourceNotFound, NOBODY, "update_agent", NOBODY, description="x")
    refused(exceptions.ResourceNotFound, NOBODY, "delete_agent", NOBODY, ignore_missing=False)


def cloud_layer():
    said = dict(mtu=1400, dns_domain="sea.example.", is_port_security_enabled=False, availability_zone_hints=["south"])
    sea = cloud("create_network", "sea", mtu_size=1400, dns_domain="sea.example.", port_security_enabled=False, availability_zone_hints=["south"])
    has(cloud("get_network_by_id", sea.id), name="sea", **said)
    lan = cloud("create_network", "lan", external=True, shared=True, admin_state_up=False, project_id=ACME, provider=dict(network_type="vlan", physical_network="physnet1", segmentation_id=123))
    has(cloud("get_network", "lan"), id=lan.id, project_id=ACME, is_shared=True, is_router_external=True, is_admin_state_up=False, provider_network_type="vlan", provider_segmentation_id=123)
    cloud("update_network", "sea", name="bay", mtu_size=1300, port_security_enabled=True)
    has(cloud("get_network", "bay"), id=sea.id, mtu=1300, is_port_security_enabled=True)
    assert names(cloud("list_networks")) == ["bay", "lan"] and names(cloud("list_networks", dict(is_router_external=True))) == ["lan"] and names(cloud("search_networks", "bay")) == ["bay"]

    v4 = cloud("create_subnet", "bay", "10.2.0.0/24", subnet_name="v4", enable_dhcp=True, gateway_ip="10.2.0.254", dns_nameservers=["192.0.2.53"], allocation_pools=[{"start": "10.2.0.10", "end": "10.2.0.20"}])
    has(cloud("get_subnet_by_id", v4.id), name="v4", network_id=sea.id, cidr="10.2.0.0/24", is_dhcp_enabled=True, gateway_ip="10.2.0.254", dns_nameservers=["192.0.2.53"])
    v6 = cloud("create_subnet", "bay", "fd00:2::/64", ip_version=6, subnet_name="v6", ipv6_ra_mode="slaac", ipv6_address_mode="slaac", enable_dhcp=True)
    pool = call("create_subnet_pool", name="default", prefixes=["10.67.0.0/16"], default_prefix_length=26, is_default=True)
    cut = cloud("create_subnet", "lan", use_default_subnetpool=True, subnet_name="cut", disable_gateway_ip=True)
    has(cloud("get_subnet", "cut"), id=cut.id, subnet_pool_id=pool.id, gateway_ip=None, is_dhcp_enabled=False)
    cloud("update_subnet", "v4", subnet_name="four", disable_gateway_ip=True, dns_nameservers=["192.0.2.54"])
    has(cloud("get_subnet", "four"), id=v4.id, gateway_ip=None, dns_nameservers=["192.0.2.54"])
    assert names(cloud("list_subnets")) == ["cut", "four", "v6"] and [s.id for s in cloud("search_subnets", filters=dict(ip_version=6))] == [v6.id]

    port = cloud("create_port", sea.id, name="p", mac_address="02:00:00:00:00:07", fixed_ips=[{"subnet_id": v4.id, "ip_address": "10.2.0.11"}])
    has(cloud("get_port_by_id", port.id), name="p", mac_address="02:00:00:00:00:07",
        fixed_ips=[{"subnet_id": v4.id, "ip_address": "10.2.0.11"}, {"subnet_id": v6.id, "ip_address": "fd00:2::ff:fe00:7"}])
    cloud("update_port", "p", name="port", device_id="d1", device_owner="compute:nova")
    has(cloud("get_port", "port"), id=port.id, device_id="d1", device_owner="compute:nova")
    assert [p.id for p in cloud("list_ports", dict(device_id="d1"))] == [port.id] == [p.id for p in cloud("search_ports", "port")]

    fresh = openstack.connect()  # it looks once, and remembers
    for kind, want in ("external_networks", ["lan"]), ("external_ipv4_networks", ["lan"]), ("external_ipv4_floating_networks", ["lan"]), ("external_ipv6_networks", ["lan"]), ("internal_networks", ["bay"]), \
            ("internal_ipv4_networks", ["bay"]), ("internal_ipv6_networks", ["bay"]):
        called_of_cloud.add("get_" + kind)
        assert sorted({n.name for n in getattr(fresh, "get_" + kind)()}) == want, kind
    for kind, want in ("nat_source", "lan"), ("nat_destination", "bay"), ("default_network", None):
        called_of_cloud.add("get_" + kind)
        got = getattr(fresh, "get_" + kind)()
        assert (got and got.name) == want or kind == "nat_destination" and got is None, (kind, got)
    assert cloud("use_external_network") and cloud("use_internal_network")

    cloud("set_network_quotas", "acme", networks=7)
    has(cloud("get_network_quotas", ACME), networks=7)
    cloud("delete_network_quotas", ACME)
    has(cloud("get_network_quotas", "acme"), networks=100)
    assert "network_availability_zone" in cloud("get_network_extensions")

    assert cloud("delete_port", "port") is True and cloud("delete_port", "port") is False
    for name in "four", "v6", "cut":
        assert cloud("delete_subnet", name) is True, name
    call("delete_subnet_pool", pool.id, ignore_missing=False)
    assert cloud("delete_network", "bay") is True and cloud("delete_network", "lan") is True and cloud("delete_network", "lan") is False
    assert cloud("list_networks") == []


# What is not run, because it belongs to extensions that are not advertised.
OTHERS = (
    ("address_group", "address-group"), ("address_scope", "address-scope"), ("flavor|service_profile", "flavors"), ("local_ip", "local_ip"), ("port_forwarding", "floating-ip-port-forwarding"),
    ("^(create|delete|find|find_available|get|update)_ip$|^ips$|_ip_to_port$|_ip_from_port$|router", "router"), ("metering_label", "metering"), ("network_segment_range", "network-segment-range"),
    ("health_monitor|listener|load_balancer|pool_member|^(create|delete|find|get|update)_pool$|^pools$", "lbaasv2"), ("_segment$|^segments$", "segment"), ("qos", "qos"), ("ndp_prox", "l3-ndp-proxy"),
    ("firewall|rule_into_policy|rule_from_policy", "fwaas_v2"), ("security_group", "security-group"), ("trunk", "trunk"), ("vpn", "vpnaas"), ("conntrack_helper", "l3-conntrack-helper"),
)


def complete():
    aliases = {e.alias for e in listed("extensions")}
    for what, classes, ran in ("the network proxy", [_proxy.Proxy], called), ("the cloud layer", [_network.NetworkCloudMixin, _network_common.NetworkCommonCloudMixin], called_of_cloud):
        known = {name for c in classes for name, of in vars(c).items() if callable(of) and not name.startswith("_")}
        assert len(known) > 60, known
        others = {name for name in known for of, _ in OTHERS if re.search(of, name)}
        forgotten = known - others - ran
        assert not forgotten, "never called of %s: %s" % (what, sorted(forgotten))
        assert not others & ran, others & ran
    assert not aliases & {alias for _, alias in OTHERS}, aliases
    for name in "routers", "security_groups", "ips", "qos_policies", "segments", "trunks", "address_scopes":
        try:
            next(getattr(neutron, name)(), None)
        except exceptions.ResourceNotFound:
            continue
        raise AssertionError(name + " are there")


def removal(navy, four, six, port):
    refused(exceptions.ConflictException, navy, "delete_network", navy)
    refused(exceptions.ConflictException, four, "delete_subnet", four)
    refused(exceptions.PreconditionFailedException, "412", "delete_port", port, if_revision=99)
    call("delete_port", port, if_revision=call("get_port", port).revision_number)
    refused(exceptions.ResourceNotFound, port, "get_port", port)
    call("delete_subnet", six, if_revision=call("get_subnet", six).revision_number)
    call("delete_subnet", four, ignore_missing=False)
    assert listed("subnets", network_id=navy) == []
    call("delete_network", navy, ignore_missing=False)
    assert listed("networks") == [] and listed("ports") == []


def walk():
    navy = networks()
    four, six = subnets(navy)
    port = ports(navy, four, six)
    pools()
    tags(navy, four, port)
    rights(navy)
    quotas(navy)
    agents(navy)
    rest(navy, four, six)
    removal(navy, four, six, port)
    cloud_layer()
    complete()


walk()
print("%d calls, %d of the cloud layer" % (len(called), len(called_of_cloud)))
