"""Clusters, sites and secrets that several test files look at."""

import functools
import pathlib

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager

from ansible_collections.ntier.django.plugins.filter.topology import topology as topology_filter
from ansible_collections.ntier.django.plugins.plugin_utils import topology, wiring
from ansible_collections.ntier.django.plugins.plugin_utils.faults import InventoryError

ROOT = pathlib.Path(__file__).resolve().parents[2]

ONE_BOX = {"web": ["box1"], "media": ["box1"], "memcached": ["box1"], "database": ["box1"]}
FIGURE_2 = {**ONE_BOX, "database": ["db1"]}
FIGURE_3 = {**FIGURE_2, "media": ["media1"]}
FIGURE_4 = {
    "load_balancer": ["lb1"],
    "web": ["web1", "web2"],
    "media": ["media1"],
    "memcached": ["cache1", "cache2"],
    "database": ["db1"],
}
#: Two balancers, and uploads on one of the web hosts.
MIXED = {
    "load_balancer": ["lb1", "lb2"],
    "web": ["web1", "web2"],
    "media": ["web2"],
    "memcached": ["web1", "web2"],
    "database": ["web1"],
}
#: The inventories of the checkout, and the figure that each draws.
SHIPPED = {
    "1-single-box": "20-1",
    "2-database": "20-2",
    "3-media": "20-3",
    "4-load-balanced": "20-4",
    "5-n-tier": "20-5",
}
#: What the secrets file holds of the cluster; nothing here looks into the keys.
OWN = {
    "id": "6b2b1f0e-3c62-4b0e-9a53-5a3f8f6f3b11",
    "authority_key": "authority-key",
    "authority_certificate": "authority-certificate",
}


def a_site(name="blog", **more):
    """Return a site as a user would write it."""
    return {
        "name": name,
        "domains": [f"{name}.example.com"],
        "source": {"path": f"/src/{name}"},
        "settings": f"{name}.settings",
        **more,
    }


def three_sites():
    """Return a site at the root of a domain, one below a prefix of it, and one whose pages nginx keeps for a while."""
    return [
        a_site("blog", domains=["www.example.com", "example.com"]),
        a_site("shop", domains=["www.example.com"], prefix="/shop", upload_limit_mb=50, timeout_seconds=90),
        a_site("diary", anonymous_cache_seconds=10, environment={"GREETING": 'Good "day", $HOME \\ 100 %'}),
    ]


def inventory(tiers, **more):
    """Return groups as Ansible knows them: with C(all), and C(ungrouped)."""
    groups = {**tiers, **more}
    return {"all": list(dict.fromkeys(name for names in groups.values() for name in names)), "ungrouped": [], **groups}


def groups_of(cluster):
    """Return the tiers of a topology as the groups that they were made of."""
    return {tier: entry["hosts"] for tier, entry in cluster["tiers"].items()}


def with_addresses(groups):
    """Return an address for every host of an inventory."""
    return {name: {"ansible_host": f"192.0.2.{number}"} for number, name in enumerate(groups["all"], 1)}


def build(groups=None, hosts=None, sites=None, providers=None, ports=None):
    """Return the topology of tiers or groups; every host has an address unless *hosts* says otherwise."""
    groups = ONE_BOX if groups is None else groups
    groups = groups if "all" in groups else inventory(groups)
    return topology.build(groups, {**with_addresses(groups), **(hosts or {})}, sites or [a_site()], providers, ports)


@functools.cache
def shipped(name):
    """Return the topology of one of the inventories in the checkout, read by Ansible itself."""
    loader = DataLoader()
    manager = InventoryManager(loader=loader, sources=[str(ROOT / "inventories" / name)])
    variables = VariableManager(loader=loader, inventory=manager)
    hosts = {host.name: variables.get_vars(host=host) for host in manager.get_hosts()}
    return topology_filter(manager.get_groups_dict(), hosts, next(iter(hosts.values()))["ntier_sites"])


def faults_of(*arguments, **more):
    """Return what is wrong with an inventory, one sentence each."""
    try:
        build(*arguments, **more)
    except InventoryError as error:
        return error.faults
    return []


def secrets_of(cluster):
    """Return secrets for the sites of a topology."""
    return {
        site["name"]: {"database_password": f"password-{site['name']}", "secret_key": f"key-{site['name']}"}
        for site in cluster["sites"]
    }


def wired(cluster, host="box1", size=None, pooler=None, leaving=None, doors=None):
    """Return the roles' arguments on one host."""
    return wiring.wire(
        cluster, secrets_of(cluster), host, size, "/inventory", pooler, OWN, leaving=leaving, doors=doors
    )
