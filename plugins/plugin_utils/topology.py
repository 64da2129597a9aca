# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The cluster as the inventory says that it shall be: one pure function from groups and host variables to one value.

Everything else (the wiring, the plan, the sizing, the firewall and the picture) reads this value and nothing else
of the inventory. An inventory that can't work ends here with all its faults, before any host is contacted.
"""

from __future__ import annotations

import re
import typing as t

from . import addresses
from .faults import Faults, did_you_mean, listed, shown
from .sites import normalise_sites, virtual_hosts

#: The tiers in the order in which a request passes them.
TIERS = ("load_balancer", "web", "media", "memcached", "database")
RETIRED = "retired"
#: What each tier can be served by; the first is the default. C({tier}_provider) chooses.
PROVIDERS: dict[str, tuple[str, ...]] = {
    "load_balancer": ("haproxy",),
    "web": ("nginx_gunicorn", "nginx_granian", "lighttpd_uwsgi", "apache_mod_wsgi"),
    "media": ("nginx", "lighttpd"),
    "memcached": ("memcached",),
    "database": ("postgresql",),
}
#: Tier → its TCP port; C(redirect) is where a balancer sends who asks without TLS to the address with it, C(handover) where the agents of one wait.
PORTS = {
    "load_balancer": 443, "redirect": 80, "web": 80, "media": 80, "memcached": 11211, "database": 5432, "handover": 6433,
}  # fmt: skip
#: The variables that choose a port, where they are not named after the tier.
PORT_VARIABLES = {"load_balancer": "load_balancer_https_port", "redirect": "load_balancer_http_port"}
NFS_PORT = 2049
#: Ways to say in a site's C(python) that it is the distribution's own.
SYSTEM_PYTHONS = ("python3", "/usr/bin/python3")
#: Who is meant by a flow without sources.
EVERYBODY = "everybody"
FIGURES = {
    "20-1": "one box",
    "20-2": "the database on a host of its own",
    "20-3": "the media on a host of its own",
    "20-4": "a balancer before a cluster of web hosts",
    "20-5": "the large cluster",
}
#: Figures that this version's site playbook can build.
RUNNABLE = ("20-1", "20-2", "20-3", "20-4")
#: What people call a tier elsewhere.
_OTHER_WORDS = {
    "load_balancer": ("lb", "lbs", "loadbalancer", "loadbalancers", "balancer", "balancers", "haproxy", "proxy"),
    "web": (
        "webs",
        "www",
        "webserver",
        "webservers",
        "web_servers",
        "webhosts",
        "web_hosts",
        "app",
        "apps",
        "application",
        "django",
        "nginx",
    ),
    "database": ("db", "dbs", "databases", "dbserver", "dbservers", "postgres", "postgresql", "pg", "sql"),
    "media": ("medias", "files", "uploads", "static", "storage", "nfs", "media_servers", "mediaserver", "mediaservers"),
    "memcached": ("memcache", "memcaches", "memcacheds", "cache", "caches", "caching"),
    RETIRED: ("retire", "retiring", "leaving", "removed", "decommissioned"),
}
#: What a host may be called in the inventory, an IPv6 address among it: it stands in configuration files.
_ALIAS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*|[0-9a-f]*:[0-9a-f:.]+")


def build(
    groups: t.Mapping[str, t.Sequence[str]],
    hosts: t.Mapping[str, t.Mapping[str, t.Any]],
    sites: t.Any,
    providers: t.Mapping[str, t.Any] | None = None,
    ports: t.Mapping[str, t.Any] | None = None,
) -> dict[str, t.Any]:
    """Return the whole cluster as one value, or raise with every fault of the inventory.

    :arg groups: group name → host names, in inventory order.
    :arg hosts: host name → its variables; read are C(ntier_address), C(ansible_host) and C(ansible_port).
    :arg sites: the value of C(ntier_sites), unchecked.
    :arg providers: tier → the software that the user chose for it; missing tiers have their default.
    :arg ports: tier → the TCP port that the user chose for it; missing tiers have their default.
    :return: a dictionary of plain values with the keys

        - C(figure), C(figure_title): the shape after the book, such as C(20-1) and C(one box)
        - C(tiers): tier → C(hosts) (names), C(leader) (the first of them or None), C(provider)
        - C(hosts): host → C(address), C(tiers); those that shall leave have no tiers
        - C(retired): names of hosts that shall leave
        - C(endpoints): tier → C(host), C(address), C(port) for each of its hosts
        - C(ports): tier → its TCP port, see C(PORTS)
        - C(flows): who talks to whom: C(from), C(to) (tiers), C(port), C(sources), C(targets) (host names). Visitors are
          C(everybody), without sources. A host does not need the network to talk to itself.
        - C(uploads): C(server), the host that keeps the files for others, or None; C(clients), the hosts that mount them
        - C(sites), C(virtual_hosts): see C(plugin_utils/sites.py)

    :raises InventoryError: with one sentence for each fault.
    """
    faults = Faults()
    members = {tier: list(groups.get(tier) or []) for tier in TIERS}
    retired = list(groups.get(RETIRED) or [])
    known = dict.fromkeys(name for tier in TIERS for name in members[tier])
    _check_groups(groups, members, retired, known, faults)
    _check_tiers(members, faults)
    reached = _addresses(dict.fromkeys([*known, *retired]), hosts, faults)
    chosen = _providers(providers or {}, faults)
    normal_sites = normalise_sites(sites, faults)
    numbers = _ports(ports or {}, faults)
    _check_shared_hosts(members, chosen, numbers, faults)
    _check_web_provider(chosen["web"], normal_sites, faults)
    faults.raise_if_any()

    figure = _figure(members)
    return {
        "figure": figure,
        "figure_title": FIGURES[figure],
        "tiers": {
            tier: {
                "hosts": members[tier],
                "leader": members[tier][0] if members[tier] else None,
                "provider": chosen[tier],
            }
            for tier in TIERS
        },
        "hosts": {
            name: {"address": reached[name], "tiers": [tier for tier in TIERS if name in members[tier]]}
            for name in [*known, *retired]
        },
        "retired": retired,
        "endpoints": {
            tier: [_endpoint(name, tier, members, reached, numbers) for name in members[tier]] for tier in TIERS
        },
        "ports": numbers,
        "flows": _flows(members, numbers, normal_sites),
        "uploads": _uploads(members),
        "sites": normal_sites,
        "virtual_hosts": virtual_hosts(normal_sites),
    }


def not_runnable(topology: t.Mapping[str, t.Any]) -> list[str]:
    """Return why this version's site playbook can't build the cluster, one sentence each; empty when it can."""
    reasons = []
    if topology["figure"] not in RUNNABLE:
        reasons.append(
            f"The inventory draws figure {topology['figure']} ({topology['figure_title']}), which this version describes and plans but does"
            f" not build yet: it builds {listed(RUNNABLE)}. Keep one host at the most in each of load_balancer, media and database."
        )
    return reasons


def _check_groups(
    groups: t.Mapping[str, t.Sequence[str]],
    members: t.Mapping[str, list[str]],
    retired: list[str],
    known: t.Mapping[str, t.Any],
    faults: Faults,
) -> None:
    for group, names in groups.items():
        if group in (*TIERS, RETIRED, "all", "ungrouped"):
            continue
        meant = _meant_tier(str(group))
        serving = [*known, *retired] if meant in TIERS and members[meant] else members.get(meant or "", retired)
        strangers = [name for name in names if name not in serving]
        # A group of the user's own may bear such a name as long as nothing depends on it.
        if meant and (strangers or not names):
            faults.add(
                f"group {group}",
                f"is no tier, so {listed(strangers) or 'it'} would not serve as {meant}",
                f"Name the group '{meant}'",
            )
    for name in groups.get("all") or []:
        if name not in known and name not in retired and name != "localhost":
            own = [group for group, names in groups.items() if name in names and group not in ("all", "ungrouped")]
            if any(_meant_tier(str(group)) for group in own):
                continue  # said above, by the group
            faults.add(
                f"host {name}",
                "is in no tier",
                f"Put it in one of the groups {listed(TIERS)}, or take it out of the inventory",
            )
    for name in retired:
        if name in known:
            serves = listed(tier for tier in TIERS if name in members[tier])
            faults.add(f"host {name}", f"is in the group retired and serves {serves}", "Take it out of one of them")


def _check_tiers(members: t.Mapping[str, list[str]], faults: Faults) -> None:
    """Note tiers that lack a host, or have one too many for what they keep."""
    if not members["web"]:
        what = (
            "there is no web host for the balancers to pass requests to"
            if members["load_balancer"]
            else "there is no web host"
        )
        faults.add("group web", what, "Put at least one host in it")
    for tier, why in (
        ("database", "no host would keep the sites' rows"),
        ("media", "no host would keep the uploaded files"),
    ):
        if not members[tier]:
            faults.add(f"group {tier}", f"is empty: {why}", "Put a host in it; on one box that is the web host itself")
    if len(members["web"]) > 1 and not members["load_balancer"]:
        faults.add(
            "group load_balancer",
            f"is empty, and {listed(members['web'])} are {len(members['web'])} web hosts",
            "Put a host in it, or keep one web host",
        )
    if len(members["media"]) > 1 and set(members["media"]) <= set(members["web"]):
        faults.add(
            "group media",
            f"{listed(members['media'])} would each keep the uploads that came to it, and show half of the files as missing",
            f"Keep one host in it, such as {members['media'][0]}: the other web hosts use its files over the network",
        )


def _check_shared_hosts(
    members: t.Mapping[str, list[str]], providers: t.Mapping[str, str], ports: t.Mapping[str, int], faults: Faults
) -> None:
    """Note hosts on which two programs would want the same port."""
    for name in members["load_balancer"]:
        for tier in ("web", "media"):
            if name in members[tier] and _files_port(name, tier, members, ports) in (
                ports["redirect"],
                ports["load_balancer"],
            ):
                variable = "web_port" if name in members["web"] else "media_port"
                faults.add(
                    f"host {name}",
                    f"serves load_balancer and {tier}, and both want port {_files_port(name, tier, members, ports)}",
                    f"Set {variable} to another, such as 8080, in group_vars/all.yml, or take the host out of one of the groups",
                )
                break
    if providers["media"] == "lighttpd":
        for name in members["media"]:
            if name in members["web"]:
                faults.add(
                    f"host {name}, media_provider",
                    "lighttpd can't share the host with the web server of the tier web",
                    "Leave media_provider out, or give the media a host of their own",
                )


def web_server(topology: t.Mapping[str, t.Any]) -> str:
    """Return the web server of the tier web: the first word of its provider."""
    return str(topology["tiers"]["web"]["provider"]).partition("_")[0]


def app_server(topology: t.Mapping[str, t.Any]) -> str:
    """Return the app server of the tier web: what follows the first word of its provider."""
    return str(topology["tiers"]["web"]["provider"]).partition("_")[2]


def _check_web_provider(provider: str, sites: t.Sequence[t.Mapping[str, t.Any]], faults: Faults) -> None:
    """Note what sites ask for and the web tier's software can't do."""
    for site in sites:
        where = f"ntier_sites, site {site['name']}"
        if site["asgi"] and provider != "nginx_granian":
            faults.add(
                where,
                f"its application {site['asgi']} is an ASGI one, and {provider} serves WSGI alone",
                "Set web_provider: nginx_granian in group_vars/all.yml, or take the key 'asgi' out",
            )
        if site["anonymous_cache_seconds"] and not provider.startswith("nginx_"):
            faults.add(
                where,
                f"anonymous_cache_seconds is {site['anonymous_cache_seconds']}, and the cache is nginx's: {provider} has none",
                "Take the key out, or set page_cache_seconds, which works with every provider",
            )
        if provider == "apache_mod_wsgi" and site["python"] not in SYSTEM_PYTHONS:
            faults.add(
                where,
                f"python is {shown(site['python'])}, and Apache's mod_wsgi runs the distribution's own Python alone",
                "Take the key out, or choose another web_provider",
            )


def _meant_tier(group: str) -> str | None:
    word = group.lower().replace("-", "_")
    if word in TIERS or word == RETIRED:
        return word if word != group else None
    for tier, others in _OTHER_WORDS.items():
        if word in others:
            return tier
    return did_you_mean(word, [*TIERS, RETIRED]) if len(word) > 3 else None


def _addresses(names: t.Iterable[str], hosts: t.Mapping[str, t.Mapping[str, t.Any]], faults: Faults) -> dict[str, str]:
    result: dict[str, str] = {}
    owners: dict[str, str] = {}
    names = list(names)
    for name in names:
        variables = hosts.get(name, {})
        variable = next((word for word in ("ntier_address", "ansible_host") if word in variables), "")
        said = f"host {name}, {variable}" if variable else f"host {name}"
        fix = f"Set {variable or 'ansible_host'} of {name} to the address at which the other hosts reach it"
        _check_port(name, variables.get("ansible_port"), faults)
        if not _ALIAS.fullmatch(name):
            faults.add(
                f"host {shown(name)}",
                "has a name that configuration files can't have",
                "Use letters, digits, '-', '_' and '.', and set ansible_host to its address",
            )
            continue
        try:
            address = addresses.parse(variables[variable] if variable else name)
        except addresses.AddressError as error:
            faults.add(said, error.what, error.fix or fix)
            continue
        if addresses.is_local(address) and len(names) > 1:
            what = f"{shown(address)} is the host that asks, whichever that is, and there are {len(names)} hosts"
            faults.add(said, what, fix.replace("ansible_host", "ntier_address"))
            continue
        if address in owners:
            faults.add(
                said,
                f"{owners[address]} has the address {address} already",
                "Give each host its own; a host may be in several groups under one name",
            )
        owners.setdefault(address, name)
        result[name] = address
    return result


def _check_port(name: str, port: t.Any, faults: Faults) -> None:
    """Note a port that Ansible can't connect to."""
    if port is not None and not (re.fullmatch(r"[0-9]{1,5}", str(port)) and 0 < int(port) < 65536):
        faults.add(f"host {name}, ansible_port", f"{shown(port)} is no TCP port", "Use a number from 1 to 65535")


def _providers(providers: t.Mapping[str, t.Any], faults: Faults) -> dict[str, str]:
    chosen = {}
    for tier in TIERS:
        choice = providers.get(tier) or PROVIDERS[tier][0]
        if choice not in PROVIDERS[tier]:
            better = did_you_mean(str(choice), PROVIDERS[tier])
            fix = f"Did you mean '{better}'?" if better else f"Use {listed(PROVIDERS[tier])}"
            faults.add(f"variable {tier}_provider", f"{shown(choice)} is unknown", fix)
        chosen[tier] = choice
    return chosen


def _ports(ports: t.Mapping[str, t.Any], faults: Faults) -> dict[str, int]:
    chosen = dict(PORTS)
    for tier, port in ports.items():
        if not re.fullmatch(r"-?\d+", str(port)):
            continue  # not chosen; something else than a number is refused with the roles' variables
        chosen[tier] = int(port)
        if not 0 < chosen[tier] < 65536:
            variable = PORT_VARIABLES.get(tier, f"{tier}_port")
            faults.add(f"variable {variable}", f"{shown(port)} is no TCP port", "Use a number from 1 to 65535")
    return chosen


def _figure(members: t.Mapping[str, list[str]]) -> str:
    web = set(members["web"])
    if len(members["load_balancer"]) > 1 or len(members["media"]) > 1 or len(members["database"]) > 1:
        return "20-5"
    if members["load_balancer"]:
        return "20-4"
    if not set(members["media"]) <= web:
        return "20-3"
    if not (set(members["database"]) | set(members["memcached"])) <= web:
        return "20-2"
    return "20-1"


def _users(tier: str, members: t.Mapping[str, list[str]]) -> list[str]:
    """Return the hosts that talk to a tier's servers. The outermost tier has the world as its user: an empty list."""
    if tier in ("database", "memcached"):
        return members["web"]
    if tier == "load_balancer":
        return []
    return members["load_balancer"] or ([] if tier == "web" else members["web"])


def _endpoint(
    name: str, tier: str, members: t.Mapping[str, list[str]], addresses: t.Mapping[str, str], ports: t.Mapping[str, int]
) -> dict[str, t.Any]:
    """Where the users of a tier find one of its hosts: over loopback when nobody else but the host itself is its user."""
    alone = tier in ("database", "memcached") and _users(tier, members) == [name]
    address = "127.0.0.1" if alone else addresses[name]
    return {"host": name, "address": address, "port": _files_port(name, tier, members, ports)}


def _files_port(name: str, tier: str, members: t.Mapping[str, list[str]], ports: t.Mapping[str, int]) -> int:
    """Return the port of a tier on a host: on one that serves web and media, one web server does both."""
    return ports["web" if tier == "media" and name in members["web"] else tier]


def _uploads(members: t.Mapping[str, list[str]]) -> dict[str, t.Any]:
    """Return who keeps the files for others, and who mounts them."""
    clients = [name for name in members["web"] if name not in members["media"]]
    return {"server": members["media"][0] if clients else None, "clients": clients}


def _flows(
    members: t.Mapping[str, list[str]], ports: t.Mapping[str, int], sites: t.Sequence[t.Mapping[str, t.Any]]
) -> list[dict[str, t.Any]]:
    """Return who talks to whom, in the order of a request's way."""
    flows: list[dict[str, t.Any]] = []

    def add(source: str, target: str, port: int, sources: list[str], targets: list[str]) -> None:
        flows.append({"from": source, "to": target, "port": port, "sources": sources, "targets": targets})

    balanced = bool(members["load_balancer"])
    apart = [name for name in members["media"] if name not in members["web"]]
    if balanced:
        for port in dict.fromkeys([ports["redirect"], ports["load_balancer"]]):
            add(EVERYBODY, "load_balancer", port, [], members["load_balancer"])
        add("load_balancer", "web", ports["web"], members["load_balancer"], members["web"])
    else:
        add(EVERYBODY, "web", ports["web"], [], members["web"])
        if apart and any(site["media_domain"] for site in sites):
            add(EVERYBODY, "media", ports["media"], [], apart)
    # Behind a balancer no web host is asked for files.
    asking = "load_balancer" if balanced else "web"
    for port in dict.fromkeys(_files_port(name, "media", members, ports) for name in members["media"]):
        there = [name for name in members["media"] if _files_port(name, "media", members, ports) == port]
        add(asking, "media", port, members[asking], there)
    uploads = _uploads(members)
    if uploads["clients"]:
        add("web", "media", NFS_PORT, uploads["clients"], [uploads["server"]])
    for target in ("memcached", "database"):
        if members[target]:
            add("web", target, ports[target], members["web"], members[target])
    return flows
