# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the topology to what each role is told on one host: the words of the cluster become the words of the roles."""

from __future__ import annotations

import os
import typing as t
from urllib.parse import quote

#: Where PgBouncer on a web host waits for that host's sites: the only database address that a site ever sees.
POOLER = {"host": "127.0.0.1", "port": 6432}
MEDIA_DIRECTORY = "/srv/media"


def wire(
    topology: t.Mapping[str, t.Any],
    secrets: t.Mapping[str, t.Mapping[str, str]],
    host: str,
    size: t.Mapping[str, t.Any] | None = None,
    source_directory: str = "",
    pooler: t.Mapping[str, t.Any] | None = None,
) -> dict[str, t.Any]:
    """Return the arguments of the roles on one host.

    :arg topology: the value of C(topology.build).
    :arg secrets: site → C(database_password), C(secret_key).
    :arg host: the host that the roles run on.
    :arg size: the host's share-out, the value of C(sizing.size_host); without it the roles' own defaults hold.
    :arg source_directory: the folder that relative source paths start from.
    :arg pooler: C(host) and C(port) of PgBouncer, where they are not the default.
    :return: see C(playbooks/group_vars/all.yml), which names each entry.
    """
    size = size or {}
    web = size.get("web", {})
    sites = topology["sites"]
    database = topology["endpoints"]["database"][0]
    return {
        "users": [site["name"] for site in sites],
        "databases": [
            {
                "name": site["database"]["name"],
                "user": site["database"]["user"],
                "password": secrets[site["name"]]["database_password"],
                "extensions": site["database"]["extensions"],
            }
            for site in sites
        ],
        "database_clients": _database_clients(topology, host),
        "database_size": size.get("database", {}),
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
        "pool_size": web.get("pool_size", 10),
        "memcached_listen": topology["listen"][host].get("memcached", ["127.0.0.1"]),
        "memcached_memory_mb": size.get("memcached", {}).get("memory_mb", 64),
        "release_sites": [
            _release_site(site, secrets[site["name"]], topology, web, source_directory, pooler or POOLER)
            for site in sites
        ],
        "web_sites": [_web_site(site) for site in sites],
        "web_virtual_hosts": topology["virtual_hosts"],
    }


def _database_clients(topology: t.Mapping[str, t.Any], host: str) -> list[str]:
    """Return the addresses that PostgreSQL on *host* answers: those of the web hosts, or loopback for itself."""
    hosts = topology["tiers"]["web"]["hosts"]
    if hosts == [host]:
        return ["127.0.0.1"]
    return [topology["hosts"][name]["address"] for name in hosts]


def _release_site(
    site: t.Mapping[str, t.Any],
    secrets: t.Mapping[str, str],
    topology: t.Mapping[str, t.Any],
    web: t.Mapping[str, t.Any],
    source_directory: str,
    pooler: t.Mapping[str, t.Any],
) -> dict[str, t.Any]:
    source = dict(site["source"])
    if source["kind"] == "path":
        source["location"] = resolve_path(source["location"], source_directory)
    if source.get("key_file"):
        source["key_file"] = resolve_path(source["key_file"], source_directory)
    runtime = _runtime(site, secrets, topology, web, pooler)
    return {
        "name": site["name"],
        "source": source,
        "python": site["python"],
        "settings": site["settings"],
        "requirements": site["requirements"],
        "packages": site["packages"],
        "health_url": f"http://{site['domains'][0].replace('*.', 'www.')}{site['prefix']}{site['health_path']}",
        "runtime": runtime,
        "environment": site_environment(runtime, site["environment"]),
    }


def place(endpoint: t.Mapping[str, t.Any]) -> str:
    """Return an endpoint as C(address:port), an IPv6 address in brackets."""
    address = endpoint["address"]
    return f"[{address}]:{endpoint['port']}" if ":" in address else f"{address}:{endpoint['port']}"


def resolve_path(path: str, directory: str) -> str:
    """Return a source folder of the controller as an absolute path; a relative one starts from the inventory's folder."""
    return os.path.normpath(os.path.join(directory, os.path.expanduser(path)))


def _web_site(site: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    folder = f"{MEDIA_DIRECTORY}/{site['name']}"
    keys = ("name", "prefix", "upload_limit_mb", "timeout_seconds", "anonymous_cache_seconds")
    return {**{key: site[key] for key in keys}, "static_root": f"{folder}/static", "media_root": f"{folder}/media"}


def _runtime(
    site: t.Mapping[str, t.Any],
    secrets: t.Mapping[str, str],
    topology: t.Mapping[str, t.Any],
    web: t.Mapping[str, t.Any],
    pooler: t.Mapping[str, t.Any],
) -> dict[str, t.Any]:
    """Return what the settings overlay (roles/release/files/overlay/ntier_settings.py) and gunicorn read of a site."""
    folder = f"{MEDIA_DIRECTORY}/{site['name']}"
    return {
        "name": site["name"],
        "domains": site["domains"],
        "prefix": site["prefix"],
        "settings": site["settings"],
        "wsgi": site["wsgi"],
        "secret_key": secrets["secret_key"],
        "database": {
            **pooler,
            "name": site["database"]["name"],
            "user": site["database"]["user"],
            "password": secrets["database_password"],
        },
        "memcached_servers": [place(endpoint) for endpoint in topology["endpoints"]["memcached"]],
        "static_root": f"{folder}/static",
        "media_root": f"{folder}/media",
        "hashed_static": site["hashed_static"],
        "timeout_seconds": site["timeout_seconds"],
        "workers": site["workers"] or web.get("workers", 2),
        "threads": site["threads"] or web.get("threads", 4),
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
        "DJANGO_SETTINGS_MODULE": "ntier_settings",
        "NTIER_SITE": site["name"],
        "SECRET_KEY": site["secret_key"],
        "DEBUG": "False",
        "ALLOWED_HOSTS": hosts,
        "DATABASE_URL": url,
        "CACHE_URL": f"pymemcache://{servers}" if servers else "locmemcache://",
        "STATIC_URL": f"{site['prefix']}/static/",
        "STATIC_ROOT": site["static_root"],
        "MEDIA_URL": f"{site['prefix']}/media/",
        "MEDIA_ROOT": site["media_root"],
        "SCRIPT_NAME": site["prefix"],
        "PYTHONUNBUFFERED": "1",
    }
    # The two habits of naming them.
    result.update({f"DJANGO_{key}": result[key] for key in ("SECRET_KEY", "DEBUG", "ALLOWED_HOSTS")})
    return {**result, **{key: _text(value) for key, value in own.items()}}


def environment_file(variables: t.Mapping[str, str]) -> str:
    """Return variables as systemd reads them with C(EnvironmentFile=): quoted, so that any value stays what it is."""
    lines = []
    for key, value in variables.items():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'{key}="{escaped}"\n')
    return "".join(lines)
