# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the topology to what each role is told on one host: the words of the cluster become the words of the roles."""

from __future__ import annotations

import os
import types
import typing as t
from urllib.parse import quote

from . import asis, processes
from .topology import NFS_PORT, app_server, web_server

#: Where PgBouncer on a web host waits for that host's sites: the only database address that a site ever sees.
POOLER = {"host": "127.0.0.1", "port": 6432}
MEDIA_DIRECTORY = "/srv/media"
#: Seconds for which a web host may take nothing of what a balancer sends until its power counts as lost; and the providers that need
#: longer: they take no more of a form than the kernel's buffers hold before a process of the site has time for it.
SILENCE_SECONDS = 6
LONG_SILENCE_SECONDS = {"apache_mod_wsgi": 20}


def wire(
    topology: t.Mapping[str, t.Any],
    secrets: t.Mapping[str, t.Mapping[str, str]],
    host: str,
    size: t.Mapping[str, t.Any] | None = None,
    source_directory: str = "",
    pooler: t.Mapping[str, t.Any] | None = None,
    cluster: t.Mapping[str, str] | None = None,
    move: t.Mapping[str, t.Any] | None = None,
    media_move: t.Mapping[str, t.Any] | None = None,
    leaving: t.Mapping[str, t.Sequence[str]] | None = None,
    doors: t.Mapping[str, t.Any] | None = None,
    poolers: t.Sequence[str] = (),
) -> dict[str, t.Any]:
    """Return the arguments of the roles on one host.

    :arg topology: the value of C(topology.build).
    :arg secrets: site → C(database_password), C(secret_key).
    :arg host: the host that the roles run on.
    :arg size: the host's share-out, the value of C(sizing.size_host); without it the roles' own defaults hold.
    :arg source_directory: the folder that relative source paths start from.
    :arg pooler: C(host) and C(port) of PgBouncer, where they are not the default.
    :arg cluster: C(id), C(authority_key), C(authority_certificate); without it there is no TLS between the tiers.
    :arg move: how the database moves, the value of C(asis.database_move); while it does, more hosts have to reach each other.
    :arg media_move: how the media move, the value of C(asis.media_move).
    :arg leaving: what hosts serve until the run's end and not any more then, the value of C(asis.leaving); until then they are let in as before.
    :arg doors: where visitors come to, the value of C(asis.doors); they are let in there, too.
    :arg poolers: the hosts whose PgBouncer has clients of the database, the value of C(restarts.poolers).
    :return: see C(playbooks/group_vars/all.yml), which names each entry.
    """
    size, cluster, leaving = size or {}, cluster or {}, leaving or {}
    doors = doors or NOWHERE_ELSE
    sites = topology["sites"]
    database = topology["endpoints"]["database"][0]
    return {
        "fixed_ids": host in [topology["uploads"]["server"], *topology["uploads"]["clients"]],
        "users": [{"name": site["name"], "uid": site["uid"]} for site in sites],
        "firewall_rules": firewall_rules(topology, host, leaving, doors),
        "move_rules": move_rules(topology, host, move) if move else [],
        "media_move_rules": media_move_rules(topology, host, media_move) if media_move else [],
        "media_moving": _media_move(topology, media_move) if media_move else {},
        "handover": _handover(topology, move) if move else {},
        "restart": _restart(topology, poolers),
        "restart_rules": restart_rules(topology, host, poolers),
        "record": asis.record(topology, cluster.get("id", ""), host, doors if doors["at"] else None),
        "authority": {"certificate": cluster["authority_certificate"], "key": cluster["authority_key"]}
        if cluster
        else {},
        **_database(topology, secrets, host, size, leaving),
        "pools": [
            {
                "name": site["database"]["name"],
                "user": site["database"]["user"],
                "password": secrets[site["name"]]["database_password"],
                "host": database["address"],
                "port": database["port"],
            }
            for site in sites
        ],
        "pool_size": size.get("web", {}).get("pool_size", 10),
        "pool_tls": not _alone(topology, "database"),
        "memcached_listen": [
            endpoint["address"] for endpoint in topology["endpoints"]["memcached"] if endpoint["host"] == host
        ]
        or ["127.0.0.1"],
        "memcached_memory_mb": size.get("memcached", {}).get("memory_mb", 64),
        **_media(topology, host, leaving, doors),
        **_media_clients(topology, host, media_move),
        "release_leader": topology["tiers"]["web"]["leader"],
        "release_balancers": [*topology["tiers"]["load_balancer"]["hosts"], *doors["staying"]],
        "release_sites": [
            _release_site(
                site, secrets[site["name"]], topology, source_directory, pooler or POOLER, _https(topology, doors)
            )
            for site in sites
        ],
        **_web(topology, host, size.get("web", {}), doors),
        "relay_servers": topology["endpoints"]["load_balancer"] if host in relays(topology, doors) else [],
        "worker_sites": processes.sites_on(topology, host),
        **_load_balancer(topology, host, size, source_directory, doors),
    }


#: Where visitors come to while nothing else is known: where they shall.
NOWHERE_ELSE: t.Mapping[str, t.Any] = types.MappingProxyType({"at": [], "passing": [], "begun": False, "staying": []})


def _https(topology: t.Mapping[str, t.Any], doors: t.Mapping[str, t.Any]) -> bool:
    """Return whether visitors come by https alone: not as long as some come to a web host, or shall."""
    return bool(topology["tiers"]["load_balancer"]["hosts"]) and not doors["passing"]


def relays(topology: t.Mapping[str, t.Any], doors: t.Mapping[str, t.Any]) -> list[str]:
    """Return the hosts that hand connections of https to the balancers: those that visitors come to for pages, and for files of a C(media_domain)."""
    files = [name for name in topology["tiers"]["media"]["hosts"] if name not in topology["tiers"]["web"]["hosts"]]
    asked = doors["passing"] and any(site["media_domain"] for site in topology["sites"])
    return [*doors["passing"], *(files if asked else [])]


def _at(topology: t.Mapping[str, t.Any], hosts: t.Iterable[str]) -> list[str]:
    """Return the addresses of hosts."""
    return [topology["hosts"][name]["address"] for name in hosts]


def still(leaving: t.Mapping[str, t.Sequence[str]], tier: str) -> list[str]:
    """Return the hosts that serve a tier until the end of this run."""
    return [host for host, tiers in leaving.items() if tier in tiers]


def firewall_rules(
    topology: t.Mapping[str, t.Any],
    host: str,
    leaving: t.Mapping[str, t.Sequence[str]] | None = None,
    doors: t.Mapping[str, t.Any] | None = None,
) -> list[dict[str, t.Any]]:
    """Return what the firewall of *host* lets in: C(port), C(protocol), C(sources) (addresses; none for everybody)."""
    allowed: dict[int, list[str] | None] = {}
    doors = doors or NOWHERE_ELSE
    ports = topology["ports"]
    # Who asks for pages and files beside those who shall, as long as visitors come to them.
    asking = {
        "web": doors["staying"],
        "media": [*doors["passing"], *doors["staying"], *still(leaving or {}, "load_balancer")],
    }
    for flow in topology["flows"]:
        if host not in [*flow["targets"], *still(leaving or {}, flow["to"])]:
            continue
        names = [*flow["sources"], *(still(leaving or {}, flow["from"]) if flow["sources"] else [])]
        names += asking.get(flow["to"], []) if flow["sources"] and flow["port"] != NFS_PORT else []
        sources = [topology["hosts"][name]["address"] for name in names if name != host]
        if not flow["sources"]:
            allowed[flow["port"]] = None
        elif sources:
            known = allowed.setdefault(flow["port"], [])
            if known is not None:
                known.extend(address for address in sources if address not in known)
    if host in relays(topology, doors):
        allowed.update({ports["web" if host in doors["passing"] else "media"]: None, ports["load_balancer"]: None})
    if host in doors["staying"]:
        allowed.update({ports["redirect"]: None, ports["load_balancer"]: None})
    # The last host beside the media host that uses the uploads: without it nobody would mount them.
    clients = [name for name in still(leaving or {}, "web") if name != host]
    if clients and not topology["uploads"]["clients"] and host == topology["tiers"]["media"]["leader"]:
        allowed[NFS_PORT] = [topology["hosts"][name]["address"] for name in clients]
    return [{"port": port, "protocol": "tcp", "sources": sources or []} for port, sources in allowed.items()]


def move_rules(topology: t.Mapping[str, t.Any], host: str, move: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """Return what the firewall of *host* lets in beside its rules while the database moves."""
    rules = []
    old, port = move["from"], topology["endpoints"]["database"][0]["port"]
    if host == old:
        users = [name for name in dict.fromkeys([*move["poolers"], move["to"]]) if name != host]
        rules.append({"port": port, "sources": users})
    elif host in (move["to"], *move["poolers"]):
        rules.append({"port": topology["ports"]["handover"], "sources": [old]})
    return [
        {**rule, "protocol": "tcp", "sources": [topology["hosts"][name]["address"] for name in rule["sources"]]}
        for rule in rules
    ]


def _restart(topology: t.Mapping[str, t.Any], poolers: t.Sequence[str]) -> dict[str, t.Any]:
    """Return whose PostgreSQL may have to restart, and whose clients wait then; the same for every host."""
    server = topology["endpoints"]["database"][0]
    name = topology["tiers"]["database"]["leader"]
    address = topology["hosts"][name]["address"]
    return {
        "source": {"name": name, "address": address, "port": server["port"]},
        "poolers": [{"name": host, "address": topology["hosts"][host]["address"]} for host in poolers],
    }


def restart_rules(topology: t.Mapping[str, t.Any], host: str, poolers: t.Sequence[str]) -> list[dict[str, t.Any]]:
    """Return what the firewall of *host* lets in beside its rules while PostgreSQL on another host restarts."""
    server = topology["tiers"]["database"]["leader"]
    if host not in poolers or host == server:
        return []
    source = topology["hosts"][server]["address"]
    return [{"port": topology["ports"]["handover"], "protocol": "tcp", "sources": [source]}]


def media_users(topology: t.Mapping[str, t.Any], move: t.Mapping[str, t.Any]) -> list[str]:
    """Return the addresses of the hosts that use the new media host's files while the media move: those of before, and those to come."""
    names = dict.fromkeys([move["from"], *move["followers"], *topology["uploads"]["clients"]])
    return [topology["hosts"][name]["address"] for name in names if name != move["to"]]


def media_move_rules(topology: t.Mapping[str, t.Any], host: str, move: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """Return what the firewall of *host* lets in beside its rules while the media move."""
    old, addresses = move["from"], {name: entry["address"] for name, entry in topology["hosts"].items()}
    if host == move["to"] and not move["back"]:
        return [{"port": NFS_PORT, "protocol": "tcp", "sources": media_users(topology, move)}]
    if host != old:
        return []
    # Those of before go on as they did, until they are led to the new place.
    rules = []
    clients = [move["to"]] if move["back"] else move["followers"]
    if clients:
        sources = [addresses[name] for name in clients]
        rules.append({"port": NFS_PORT, "protocol": "tcp", "sources": sources})
    if old not in topology["tiers"]["web"]["hosts"]:
        asking = [*topology["tiers"]["load_balancer"]["hosts"], *topology["tiers"]["web"]["hosts"], *clients]
        everybody = any(site["media_domain"] for site in topology["sites"])
        sources = [] if everybody else [addresses[name] for name in dict.fromkeys(asking)]
        rules.append({"port": topology["endpoints"]["media"][0]["port"], "protocol": "tcp", "sources": sources})
    return rules


def _media_move(topology: t.Mapping[str, t.Any], move: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the arguments of the role media_move, and who takes part; the same for every host."""
    participants = [move["to"]] if move["back"] else [move["from"], *move["followers"]]
    return {
        "source": {"name": move["from"], "address": topology["hosts"][move["from"]]["address"]},
        "target": {"name": move["to"], "address": topology["hosts"][move["to"]]["address"]},
        "followers": move["followers"],
        "sites": [site["name"] for site in topology["sites"]],
        "back": move["back"],
        "leader": participants[0],
        "hosts": participants,
        "leaves": move["from"] not in topology["uploads"]["clients"],
        # Those to come alone.
        "clients": _media(topology, move["to"])["media_clients"],
    }


def _media_clients(
    topology: t.Mapping[str, t.Any], host: str, move: t.Mapping[str, t.Any] | None
) -> dict[str, list[str]]:
    """Return C(media_clients) on the host that gets the media while they move; nothing everywhere else."""
    return {"media_clients": media_users(topology, move)} if move and host == move["to"] and not move["back"] else {}


def _handover(topology: t.Mapping[str, t.Any], move: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the arguments of the role handover; the same for every host."""
    port = topology["endpoints"]["database"][0]["port"]

    def server(name: str) -> dict[str, t.Any]:
        return {"name": name, "address": topology["hosts"][name]["address"], "port": port}

    return {
        "source": server(move["from"]),
        "target": server(move["to"]),
        "poolers": [{"name": name, "address": topology["hosts"][name]["address"]} for name in move["poolers"]],
        "databases": [{key: site["database"][key] for key in ("name", "user")} for site in topology["sites"]],
    }


def needs(topology: t.Mapping[str, t.Any], host: str) -> list[str]:
    """Return the addresses that *host* has to reach over the network."""
    targets = [name for flow in topology["flows"] if host in flow["sources"] for name in flow["targets"]]
    return [topology["hosts"][name]["address"] for name in dict.fromkeys(targets) if name != host]


def _alone(topology: t.Mapping[str, t.Any], tier: str) -> bool:
    """Return whether a tier stands on the one host that uses it, and is reached over loopback."""
    return topology["endpoints"][tier][0]["address"] == "127.0.0.1"


def _addresses(topology: t.Mapping[str, t.Any], tier: str) -> list[str]:
    return [topology["hosts"][name]["address"] for name in topology["tiers"][tier]["hosts"]]


def _database(
    topology: t.Mapping[str, t.Any],
    secrets: t.Mapping[str, t.Mapping[str, str]],
    host: str,
    size: t.Mapping[str, t.Any],
    leaving: t.Mapping[str, t.Sequence[str]],
) -> dict[str, t.Any]:
    alone = _alone(topology, "database")
    left = [topology["hosts"][name]["address"] for name in still(leaving, "web") if name != host]
    return {
        "databases": [
            {
                "name": site["database"]["name"],
                "user": site["database"]["user"],
                "password": secrets[site["name"]]["database_password"],
                "extensions": site["database"]["extensions"],
            }
            for site in topology["sites"]
        ],
        "database_clients": [*(["127.0.0.1"] if alone else _addresses(topology, "web")), *left],
        "database_tls": not alone or bool(left),
        # What PgBouncer asks for, and what people call the host.
        "database_names": list(dict.fromkeys([topology["hosts"][host]["address"], host.lower()])),
        "database_size": size.get("database", {}),
    }


def _media(
    topology: t.Mapping[str, t.Any],
    host: str,
    leaving: t.Mapping[str, t.Sequence[str]] | None = None,
    doors: t.Mapping[str, t.Any] = NOWHERE_ELSE,
) -> dict[str, t.Any]:
    uploads = topology["uploads"]
    own = topology["tiers"]["media"]["hosts"]
    virtual_hosts = list(topology["virtual_hosts"]) if host not in topology["tiers"]["web"]["hosts"] else []
    by_domain: dict[str, list[t.Mapping[str, t.Any]]] = {}
    for site in topology["sites"]:
        if site["media_domain"]:
            by_domain.setdefault(site["media_domain"], []).append(site)
    for domain, members in by_domain.items():
        names = [site["name"] for site in sorted(members, key=lambda site: -len(site["prefix"]))]
        virtual_hosts.append({"domains": [domain], "sites": names})
    left = [name for name in still(leaving or {}, "web") if name != host]
    names = [*uploads["clients"], *left] if (uploads["server"] or topology["tiers"]["media"]["leader"]) == host else []
    clients = [topology["hosts"][name]["address"] for name in names]
    return {
        "media_sites": [
            {"name": site["name"], "prefix": site["prefix"], **_folders(site)} for site in topology["sites"]
        ],
        "media_clients": clients,
        "media_virtual_hosts": virtual_hosts if host in own else [],
        "media_serves": not _media_by_web(topology, host),
        "media_default_server": host in own and host not in topology["tiers"]["web"]["hosts"],
        "media_trusted_proxies": [
            *(_addresses(topology, "load_balancer") or _addresses(topology, "web")),
            *_at(topology, [*doors["passing"], *doors["staying"]]),
        ],
        "media_server": topology["hosts"][uploads["server"]]["address"] if host in uploads["clients"] else "",
    }


def _media_by_web(topology: t.Mapping[str, t.Any], host: str) -> bool:
    """Return whether the web tier's own server answers for the files on a host: nginx includes what the role media gives it."""
    both = host in topology["tiers"]["media"]["hosts"] and host in topology["tiers"]["web"]["hosts"]
    return both and web_server(topology) != "nginx"


def _web(
    topology: t.Mapping[str, t.Any], host: str, size: t.Mapping[str, t.Any], doors: t.Mapping[str, t.Any]
) -> dict[str, t.Any]:
    balancers = _addresses(topology, "load_balancer")
    by_web = _media_by_web(topology, host)
    passing = host in doors["passing"]
    # A balancer asks the media hosts itself.
    apart = "none" if balancers and not passing else "remote"
    redirect = "all" if doors["begun"] else "certificates"
    files = "local" if host in topology["tiers"]["media"]["hosts"] else apart
    keys = ("name", "prefix", "upload_limit_mb", "timeout_seconds", "anonymous_cache_seconds")
    return {
        "web_sites": [
            {
                **{key: site[key] for key in keys},
                **(_folders(site) if by_web else {}),
                "websockets": bool(site["asgi"]),
                "workers": site["workers"] or size.get("workers", 2),
                "threads": site["threads"] or size.get("threads", 4),
                "files": files,
            }
            for site in topology["sites"]
        ],
        "web_virtual_hosts": topology["virtual_hosts"],
        "web_media_virtual_hosts": _media(topology, host)["media_virtual_hosts"] if by_web else [],
        "web_media_servers": topology["endpoints"]["media"] if files == "remote" else [],
        "web_https_redirect": redirect if passing else "none",
        "web_https_port": topology["ports"]["load_balancer"],
        "trusted_proxies": [*balancers, *_at(topology, doors["staying"])],
    }


def _load_balancer(
    topology: t.Mapping[str, t.Any],
    host: str,
    size: t.Mapping[str, t.Any],
    directory: str,
    doors: t.Mapping[str, t.Any],
) -> dict[str, t.Any]:
    keys = ("name", "domains", "prefix", "media_domain", "timeout_seconds", "upload_limit_mb")
    return {
        "load_balancer_sites": [
            {
                **{key: site[key] for key in keys},
                "certificate": {
                    key: resolve_path(value, directory) if key.endswith("file") else value
                    for key, value in site["certificate"].items()
                },
            }
            for site in topology["sites"]
        ],
        "load_balancer_web": topology["endpoints"]["web"],
        "load_balancer_media": topology["endpoints"]["media"],
        "load_balancer_silence_seconds": LONG_SILENCE_SECONDS.get(
            topology["tiers"]["web"]["provider"], SILENCE_SECONDS
        ),
        "load_balancer_relays": _at(topology, relays(topology, doors)),
        "load_balancer_address": topology["hosts"][host]["address"],
        "load_balancer_size": {"memory_mb": size["shares_mb"]["load_balancer"]}
        if "load_balancer" in size.get("shares_mb", {})
        else {},
    }


def _release_site(
    site: t.Mapping[str, t.Any],
    secrets: t.Mapping[str, str],
    topology: t.Mapping[str, t.Any],
    source_directory: str,
    pooler: t.Mapping[str, t.Any],
    https: bool,
) -> dict[str, t.Any]:
    source = dict(site["source"])
    if source["kind"] == "path":
        source["location"] = resolve_path(source["location"], source_directory)
    if source.get("key_file"):
        source["key_file"] = resolve_path(source["key_file"], source_directory)
    runtime = _runtime(site, secrets, topology, pooler, https)
    root, own = _own_place(site, topology)
    return {
        "name": site["name"],
        "source": source,
        "python": site["python"],
        "settings": site["settings"],
        "requirements": site["requirements"],
        "packages": site["packages"],
        "app_server": app_server(topology),
        "health_url": root + site["health_path"],
        "health_host": own["host"],
        "health_socket": own["socket"],
        "front_url": _front(site, topology) + site["health_path"],
        "runtime": runtime,
        "environment": site_environment(runtime, site["environment"]),
    }


#: App servers that a web host's own programs can ask by HTTP on the site's socket; the others are asked by way of the web server.
HTTP_SOCKETS = ("gunicorn", "granian")


def health(topology: t.Mapping[str, t.Any]) -> list[dict[str, str]]:
    """Return where a web host asks itself for each site's health page: C(name), C(url), C(host), C(socket) (empty for none)."""
    result = []
    for site in topology["sites"]:
        root, place_of = _own_place(site, topology)
        result.append({"name": site["name"], "url": f"{root}/_ntier/health", **place_of})
    return result


def _own_place(site: t.Mapping[str, t.Any], topology: t.Mapping[str, t.Any]) -> tuple[str, dict[str, str]]:
    """Return a site's URL as its web host asks for it, and C(host), C(socket)."""
    domain = site["domains"][0].replace("*.", "www.")
    socket = f"/run/django/{site['name']}.sock" if app_server(topology) in HTTP_SOCKETS else ""
    root = f"http://{domain}{site['prefix']}" if socket else _front(site, topology)
    return root, {"host": domain, "socket": socket}


def _front(site: t.Mapping[str, t.Any], topology: t.Mapping[str, t.Any]) -> str:
    """Return a site's URL at the web server of its own host."""
    return f"http://127.0.0.1:{topology['endpoints']['web'][0]['port']}{site['prefix']}"


def place(endpoint: t.Mapping[str, t.Any]) -> str:
    """Return an endpoint as C(address:port), an IPv6 address in brackets."""
    address = endpoint["address"]
    return f"[{address}]:{endpoint['port']}" if ":" in address else f"{address}:{endpoint['port']}"


def resolve_path(path: str, directory: str) -> str:
    """Return a source folder of the controller as an absolute path; a relative one starts from the inventory's folder."""
    return os.path.normpath(os.path.join(directory, os.path.expanduser(path)))


def _folders(site: t.Mapping[str, t.Any]) -> dict[str, str]:
    folder = f"{MEDIA_DIRECTORY}/{site['name']}"
    return {"static_root": f"{folder}/static", "media_root": f"{folder}/media"}


def _runtime(
    site: t.Mapping[str, t.Any],
    secrets: t.Mapping[str, str],
    topology: t.Mapping[str, t.Any],
    pooler: t.Mapping[str, t.Any],
    https: bool,
) -> dict[str, t.Any]:
    """Return what the settings overlay (roles/release/files/overlay/ntier_settings.py) and gunicorn read of a site.

    It is the same for every web host, as a release is.
    """
    files = f"//{site['media_domain']}{site['prefix']}" if site["media_domain"] else site["prefix"]
    return {
        "name": site["name"],
        "domains": site["domains"],
        "prefix": site["prefix"],
        "settings": site["settings"],
        "settings_overlay": site["settings_overlay"],
        "wsgi": site["wsgi"],
        "asgi": site["asgi"],
        "secret_key": secrets["secret_key"],
        "database": {
            **pooler,
            "name": site["database"]["name"],
            "user": site["database"]["user"],
            "password": secrets["database_password"],
        },
        "memcached_servers": [place(endpoint) for endpoint in topology["endpoints"]["memcached"]],
        **_folders(site),
        "static_url": f"{files}/static/",
        "media_url": f"{files}/media/",
        "hashed_static": site["hashed_static"],
        "page_cache_seconds": site["page_cache_seconds"],
        "timeout_seconds": site["timeout_seconds"],
        "https": https,
    }


def _text(value: t.Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def site_environment(runtime: t.Mapping[str, t.Any], own: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return the environment variables of one site's processes: the facts of the settings overlay for projects that read them.

    :arg runtime: what the settings overlay reads.
    :arg own: the user's own variables, which win.
    """
    site = runtime
    database = site["database"]
    url = f"postgres://{quote(database['user'])}:{quote(database['password'], safe='')}@{database['host']}:{database['port']}/{quote(database['name'])}"
    servers = ",".join(site["memcached_servers"])
    hosts = ",".join(site["domains"])
    result = {
        "DJANGO_SETTINGS_MODULE": "ntier_settings" if site["settings_overlay"] else site["settings"],
        "NTIER_SITE": site["name"],
        "SECRET_KEY": site["secret_key"],
        "DEBUG": "False",
        "ALLOWED_HOSTS": hosts,
        "DATABASE_URL": url,
        "CACHE_URL": f"pymemcache://{servers}" if servers else "locmemcache://",
        "STATIC_URL": site["static_url"],
        "STATIC_ROOT": site["static_root"],
        "MEDIA_URL": site["media_url"],
        "MEDIA_ROOT": site["media_root"],
        "SCRIPT_NAME": site["prefix"],
        "PYTHONUNBUFFERED": "1",
    }
    # The two habits of naming them.
    result.update({f"DJANGO_{key}": result[key] for key in ("SECRET_KEY", "DEBUG", "ALLOWED_HOSTS")})
    if not site["settings_overlay"]:
        result.update(_without_overlay(site))
    return {**result, **{key: _text(value) for key, value in own.items()}}


def _without_overlay(site: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return what the settings overlay would say otherwise, for a project whose settings are its own affair."""
    schemes = ["https"] if site["https"] else ["https", "http"]
    files = ("STATIC_URL", "STATIC_ROOT", "MEDIA_URL", "MEDIA_ROOT")
    return {
        **{
            f"DATABASE_{key.upper()}": str(site["database"][key])
            for key in ("host", "port", "name", "user", "password")
        },
        "MEMCACHED_SERVERS": ",".join(site["memcached_servers"]),
        "CSRF_TRUSTED_ORIGINS": ",".join(f"{scheme}://{name}" for scheme in schemes for name in site["domains"]),
        **{f"DJANGO_{key}": site[key.lower()] for key in files},
    }


def environment_file(variables: t.Mapping[str, str]) -> str:
    """Return variables as systemd reads them with C(EnvironmentFile=): quoted, so that any value stays what it is."""
    lines = []
    for key, value in variables.items():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'{key}="{escaped}"\n')
    return "".join(lines)
