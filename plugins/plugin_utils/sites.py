# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a user says of a site in ``ntier_sites``, checked and filled up with defaults. Pure functions."""

from __future__ import annotations

import re
import typing as t
import zlib

from . import values
from .faults import Faults, did_you_mean, listed, shown, type_name
from .processes import normalise_processes

#: Keys of one site: name → (types, default). ``...`` as default means that the key is required.
SITE_KEYS: dict[str, tuple[tuple[type, ...], t.Any]] = {
    "name": ((str,), ...),
    "domains": ((list,), ...),
    "source": ((dict,), ...),
    "settings": ((str,), ...),
    "settings_overlay": ((bool,), True),
    "prefix": ((str,), ""),
    "wsgi": ((str,), ""),
    "asgi": ((str,), ""),
    "python": ((str,), "python3"),
    "requirements": ((str,), ""),
    "packages": ((list,), []),
    "environment": ((dict,), {}),
    "database": ((dict,), {}),
    "upload_limit_mb": ((int,), 20),
    "timeout_seconds": ((int,), 30),
    "workers": ((int,), 0),
    "threads": ((int,), 0),
    "anonymous_cache_seconds": ((int,), 0),
    "page_cache_seconds": ((int,), 0),
    "processes": ((list,), []),
    "hashed_static": ((bool,), True),
    "media_domain": ((str,), ""),
    "certificate": ((dict,), {}),
    "health_path": ((str,), "/"),
    "uid": ((int,), 0),
}
#: The least and the most of a site's numbers. A day is the longest request, a year the longest cache.
BOUNDS = {
    "upload_limit_mb": (1, 1 << 20),
    "timeout_seconds": (1, 86400),
    "workers": (0, 1000),
    "threads": (0, 1000),
    "anonymous_cache_seconds": (0, 31536000),
    "page_cache_seconds": (0, 31536000),
}
SOURCE_KINDS = ("git", "path", "package")
#: Keys that go with each kind of source, beside the kind itself: name → default.
SOURCE_KEYS: dict[str, dict[str, str]] = {
    "git": {"version": "HEAD", "directory": "", "key_file": ""},
    "path": {"directory": ""},
    "package": {"index": ""},
}
DATABASE_KEYS = ("name", "user", "extensions")
#: Ways to a certificate: what has to be given together.
CERTIFICATE_KEYS = (("file", "key_file"), ("acme",))
#: Numbers of the sites' users: above those of people, below those that systemd hands out. The same on every host, since NFS compares numbers.
UIDS = range(20000, 40000)

_NAME = re.compile(r"^[a-z][a-z0-9_]{0,30}$")
_PREFIX = re.compile(r"^(/[A-Za-z0-9._~-]+)+$")
_MODULE = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")
_APPLICATION = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")
_IDENTIFIER = re.compile(r"^[a-z_][a-z0-9_]{0,62}$")
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_PINNED = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._, -]+\])?==[A-Za-z0-9][A-Za-z0-9._!+-]*$")
#: What systemd does not take in an environment file.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_RESERVED_DATABASES = ("postgres", "template0", "template1", "pgbouncer")
#: Names that are no roles to PostgreSQL, however they are quoted, and the one by which a database is copied when it moves.
_RESERVED_USERS = ("public", "none", "ntier_handover")
_RESERVED_VARIABLES = ("DJANGO_SETTINGS_MODULE", "PYTHONPATH", "SCRIPT_NAME")
#: Accounts and groups that a site of the same name would take over, where it can be known without asking a host: the host has it, or gets it with a
#: package. Debian names newer accounts with a hyphen or an underscore in front, which no site's name has.
_RESERVED_NAMES = (
    # The base system of Debian and Ubuntu.
    "root", "daemon", "bin", "sys", "adm", "tty", "disk", "lp", "mail", "news", "uucp", "man", "proxy", "kmem", "dialout", "fax", "voice", "cdrom",
    "floppy", "tape", "sudo", "audio", "dip", "backup", "operator", "list", "irc", "src", "gnats", "shadow", "utmp", "video", "sasl", "plugdev",
    "staff", "games", "users", "nogroup", "nobody", "sync", "input", "sgx", "kvm", "render", "crontab", "netdev", "wheel", "admin",
    # Login accounts of the distributions' images for clouds and virtual machines.
    "debian", "ubuntu", "centos", "rocky", "almalinux", "fedora", "azureuser", "opc", "vagrant", "pi", "bitnami", "cloudsdk", "ansible",
    # What belongs to packages that the roles install, and to those that come with them.
    "postgres", "pgbouncer", "memcache", "haproxy", "nginx", "www", "apache", "lighttpd", "keepalived", "etcd", "patroni", "pgbackrest", "gluster",
    "statd", "chrony", "certbot", "sshd", "ssh", "messagebus", "syslog", "polkitd", "systemd", "uuidd", "tcpdump", "landscape", "pollinate", "tss",
    "fwupd", "usbmux", "ntp", "dhcpcd", "rdma", "lxd", "dnsmasq",
    # Daemons that are often found beside a site, now or later.
    "docker", "podman", "containerd", "libvirt", "redis", "valkey", "rabbitmq", "mysql", "mariadb", "mongodb", "elasticsearch", "opensearch",
    "kibana", "logstash", "grafana", "prometheus", "influxdb", "telegraf", "zabbix", "nagios", "icinga", "munin", "netdata", "jenkins", "gitlab",
    "git", "gitea", "tomcat", "solr", "zookeeper", "kafka", "minio", "vault", "consul", "nomad", "bind", "unbound", "postfix", "postdrop", "dovecot",
    "dovenull", "vmail", "opendkim", "clamav", "ftp", "sftp", "proftpd", "squid", "varnish", "vcache", "stunnel4", "openvpn", "caddy", "traefik",
    "uwsgi", "celery",
    # The collection's own.
    "ntier", "django", "current",
)  # fmt: skip
#: The folder of all sites' uploads lies beside the sites' own.
_RESERVED_FOLDERS = {"media": "/srv/media is the folder of all sites' uploads"}


def normalise_sites(sites: t.Any, faults: Faults) -> list[dict[str, t.Any]]:
    """Return every site with all keys of L(SITE_KEYS) set; note what is wrong in *faults*.

    :arg sites: the value of ``ntier_sites``: a list of dictionaries.
    :return: a list of plain dictionaries. ``source`` has the keys ``kind``, ``location`` and those of its kind;
        ``database`` has ``name``, ``user`` and ``extensions``; each of ``processes`` has all of its keys. Sites with a fault may be left out.
    """
    if not isinstance(sites, (list, tuple)):
        faults.add(
            "ntier_sites", f"is {type_name(sites)}, not a list of sites", "Write '- name: …' for each site below it"
        )
        return []
    if not sites:
        faults.add("ntier_sites", "no site is given", "Describe at least one with name, domains, source and settings")
        return []
    result = [site for number, raw in enumerate(sites, 1) if (site := _normalise(raw, number, faults)) is not None]
    _compare(result, faults)
    return result


def _normalise(raw: t.Any, number: int, faults: Faults) -> dict[str, t.Any] | None:
    if not isinstance(raw, dict):
        faults.add(f"ntier_sites, item {number}", f"is {type_name(raw)}, not a dictionary", "Start it with '- name: …'")
        return None
    named = raw.get("name") and str(raw["name"]).isprintable()
    where = f"ntier_sites, site {raw['name']}" if named else f"ntier_sites, item {number}"
    for key in raw:
        if key not in SITE_KEYS:
            better = did_you_mean(str(key), SITE_KEYS)
            fix = f"Did you mean '{better}'?" if better else f"A site has the keys {listed(SITE_KEYS)}"
            faults.add(where, f"has the unknown key '{key}'", fix)
    site: dict[str, t.Any] = {}
    for key, (types, default) in SITE_KEYS.items():
        if raw.get(key) is None and (default is ... or key in raw):
            if default is ...:
                faults.add(where, f"has no '{key}'", _REQUIRED_FIX[key])
            else:
                faults.add(where, f"'{key}' is empty", f"Give it a value, or leave the key out for {shown(default)}")
            site[key] = None
            continue
        value = raw.get(key, default)
        # True is an int in Python, but 'workers: yes' is a slip.
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            quotes = ": write it in quotes" if types == (str,) and isinstance(value, (bool, int, float)) else ""
            fix = f"It has to be {type_name(types[0]())}{quotes}"
            faults.add(where, f"'{key}' is {shown(value)}, {type_name(value)}", fix)
            value = None
        site[key] = value
    _check_values(site, where, faults)
    site["certificate"] = _normalise_certificate(site["certificate"] or {}, where, faults)
    for domain in site["domains"] or []:
        if "acme" in site["certificate"] and domain.startswith("*."):
            faults.add(
                where,
                f"no authority certifies {domain} over HTTP, as certificate.acme asks for it",
                "Give it a certificate with file and key_file, or take the domain out",
            )
    site["uid"] = site["uid"] or UIDS[zlib.crc32((site["name"] or "").encode()) % len(UIDS)]
    site["source"] = _normalise_source(site["source"], where, faults)
    site["database"] = _normalise_database(site, where, faults)
    site["processes"] = normalise_processes(site["processes"], where, faults)
    return site if site["name"] else None


def _add(faults: Faults, where: str, name: str, fault: values.Fault) -> None:
    """Note what a check of a value has returned, if anything."""
    if fault:
        faults.add(where, f"{name} {fault[0]}".strip(), fault[1])


_REQUIRED_FIX = {
    "name": "Give it a short name of lower-case letters, digits and '_'",
    "domains": "List the host names that it answers to",
    "source": "Say where its code comes from: source: {git: URL}, {path: FOLDER} or {package: NAME==VERSION}",
    "settings": "Name its settings module, for example settings: mysite.settings",
}


def _check_values(site: dict[str, t.Any], where: str, faults: Faults) -> None:
    name, prefix = site["name"], site["prefix"]
    if name is not None and not _NAME.fullmatch(name):
        faults.add(
            where,
            f"the name {shown(name)} can't be a system user and a folder",
            "Use 1 to 31 lower-case letters, digits and '_', a letter first",
        )
    elif name in _RESERVED_NAMES:
        faults.add(
            where,
            f"the name '{name}' belongs to the system or to a daemon: the site would take over the account or the group, and its rights",
            f"Choose another name, such as {name}_site",
        )
    elif name in _RESERVED_FOLDERS:
        faults.add(
            where,
            f"the name '{name}' can't be a folder of its own: {_RESERVED_FOLDERS[name]}",
            f"Choose another name, such as {name}_site",
        )
    if site["domains"] is not None:
        if not site["domains"]:
            faults.add(where, "'domains' is an empty list", _REQUIRED_FIX["domains"])
        for domain in site["domains"]:
            _add(faults, where, f"the domain {shown(domain)}", values.domain(domain))
        site["domains"] = [domain.lower() for domain in site["domains"] if isinstance(domain, str)]
    if prefix and not prefix.startswith("/"):
        faults.add(where, f"the prefix {shown(prefix)} has no slash in front", f"Write prefix: /{prefix.strip('/')}")
    elif prefix and (not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/"))):
        faults.add(
            where, f"the prefix {shown(prefix)} is no path", "Write it as /shop: a slash in front, none at the end"
        )
    elif prefix:
        _add(faults, where, "", values.prefix(prefix))
    if site["settings"] is not None and not _MODULE.fullmatch(site["settings"]):
        faults.add(
            where, f"settings {shown(site['settings'])} is no module name", "Write it with dots, as in mysite.settings"
        )
    for key in ("wsgi", "asgi"):
        if site[key] and not _APPLICATION.fullmatch(site[key]):
            faults.add(
                where,
                f"{key} {shown(site[key])} is no application",
                f"Write module:variable, as in mysite.{key}:application",
            )
    for key, check in (("health_path", values.url_path), ("python", values.python)):
        if site[key] is not None:
            _add(faults, where, key, check(site[key]))
    for key, (least, most) in BOUNDS.items():
        if site[key] is not None and not least <= site[key] <= most:
            bound = f"The least is {least}" if site[key] < least else f"The most is {most}"
            faults.add(where, f"'{key}' is {site[key]}", bound)
    domain = site["media_domain"]
    if domain:
        _add(faults, where, f"the media_domain {shown(domain)}", values.domain(domain, single=True))
    site["media_domain"] = (domain or "").lower()
    if site["uid"] and not 1000 <= site["uid"] < 60000:
        faults.add(where, f"'uid' is {site['uid']}", "Use a number from 1000 to 59999, or leave the key out")
    for key, value in (site["environment"] or {}).items():
        if str(key).startswith("NTIER_") or key in _RESERVED_VARIABLES:
            faults.add(where, f"environment sets {key}, which is how the site's settings are found", "Leave it out")
        if not _VARIABLE.fullmatch(str(key)):
            faults.add(where, f"environment has {shown(key)}, which is no variable name", "Use letters, digits and '_'")
        if isinstance(value, (dict, list)) or value is None or _CONTROL.search(str(value)):
            faults.add(where, f"environment {key} is {shown(value)}", "Give it one line of text")
    for package in site["packages"] or []:
        if not isinstance(package, str):
            faults.add(where, f"packages has {shown(package)}", "List requirement specifiers such as 'sentry-sdk~=2.0'")
        elif "\n" in package or not re.match(r"\s*(-e\s+)?[\w./]", package):
            what = f"packages has {shown(re.sub(r'(?<=://)[^/@ ]+@', '***@', package))}, which is no requirement"
            faults.add(where, what, "Write options, such as one for an index, into the project's requirement file")


def _normalise_source(source: t.Any, where: str, faults: Faults) -> dict[str, str]:
    empty = {"kind": "", "location": ""}
    if source is None:
        return empty
    kinds = [kind for kind in SOURCE_KINDS if kind in source]
    if len(kinds) != 1:
        what = f"has {len(kinds)} sources, {listed(kinds)}" if kinds else "has a source without git, path or package"
        faults.add(where, what, "Keep exactly one: source: {git: URL}, {path: FOLDER} or {package: NAME==VERSION}")
        return empty
    kind = kinds[0]
    result = {"kind": kind, "location": source[kind], **SOURCE_KEYS[kind]}
    for key, value in source.items():
        if key != kind and key not in SOURCE_KEYS[kind]:
            faults.add(where, f"a {kind} source has no key '{key}'", f"It has {listed([kind, *SOURCE_KEYS[kind]])}")
        elif not isinstance(value, str) or not value:
            faults.add(
                where, f"source.{key} is {shown(value)}", "Give it a text (quote it when it looks like a number)"
            )
        elif key != kind:
            result[key] = value
    location = result["location"]
    if kind == "package" and isinstance(location, str) and location and not _PINNED.fullmatch(location):
        name = re.split(r"[\s<>=!~;\[]", location)[0] or "some-shop"
        faults.add(
            where,
            f"the package {shown(location)} names no exact version",
            f"Write '{name}==VERSION', so that a release stays what it was",
        )
    directory = result.get("directory", "")
    if directory.startswith("/") or ".." in directory.split("/"):
        faults.add(
            where,
            f"source.directory {shown(directory)} leads out of the source",
            "Name a folder inside it, such as backend",
        )
    if kind == "package" and result["index"] and not re.match(r"[a-z]+://[^\s]+$", result["index"]):
        faults.add(
            where,
            "source.index is no address of a package index",
            "Write one such as https://packages.example.com/simple",
        )
    if kind == "git":
        _add(faults, where, "source.version", values.revision(result["version"]))
        if isinstance(location, str) and location:
            _add(faults, where, "source.git", values.repository(location))
    return result


def _normalise_certificate(given: dict[str, t.Any], where: str, faults: Faults) -> dict[str, str]:
    """Return how a site gets its certificate; empty for one of the cluster's own authority."""
    if not given:
        return {}
    ways = " or ".join("{" + ", ".join(f"{key}: …" for key in keys) + "}" for keys in CERTIFICATE_KEYS)
    if set(given) not in [set(keys) for keys in CERTIFICATE_KEYS]:
        faults.add(where, f"'certificate' has {listed(given)}", f"Write certificate: {ways}, or leave the key out")
        return {}
    for key, value in given.items():
        if not isinstance(value, str) or not value:
            faults.add(where, f"certificate.{key} is {shown(value)}", "Give it a text")
            return {}
    if "acme" in given and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", given["acme"]):
        faults.add(
            where,
            f"certificate.acme is {shown(given['acme'])}",
            "Give it the mail address that the authority may write to, such as admin@example.com",
        )
    return dict(given)


def _normalise_database(site: dict[str, t.Any], where: str, faults: Faults) -> dict[str, t.Any]:
    given = site["database"] or {}
    result: dict[str, t.Any] = {"name": site["name"], "user": site["name"], "extensions": []}
    for key, value in given.items():
        if key not in DATABASE_KEYS:
            faults.add(where, f"database has the unknown key '{key}'", f"It has {listed(DATABASE_KEYS)}")
        elif key == "extensions" and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            faults.add(where, f"database.extensions is {shown(value)}", "Give it a list of names, such as [pg_trgm]")
        else:
            result[key] = value
    for name in result["extensions"]:
        _add(faults, where, "database.extensions:", values.extension(name))
    for key in ("name", "user"):
        value = result[key]
        no_role = key == "user" and value in _RESERVED_USERS
        if key == "user" and value == result["name"] and "user" not in given and not no_role:
            continue  # the same wrong word is said once
        if key not in given and (value is None or not _NAME.fullmatch(value)):
            continue  # the site's name is missing or wrong, which is said already
        if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
            faults.add(
                where,
                f"PostgreSQL would not take the database {key} {shown(value)}",
                "Use 1 to 63 lower-case letters, digits and '_', no digit first",
            )
        elif value in _RESERVED_DATABASES or value.startswith("pg_") or no_role:
            faults.add(
                where,
                f"the database {key} '{value}' belongs to PostgreSQL, PgBouncer or ntier.django",
                f"Choose another, such as database: {{{key}: {site['name']}_site}}",
            )
    return result


def _compare_media_domains(sites: list[dict[str, t.Any]], faults: Faults) -> None:
    owners = {domain: site["name"] for site in sites for domain in site["domains"] or []}
    places: dict[tuple[str, str], str] = {}
    for site in sites:
        domain, where = site["media_domain"], f"ntier_sites, site {site['name']}"
        if not domain:
            continue
        if domain in owners:
            faults.add(
                where,
                f"the media_domain {domain} is a domain of site {owners[domain]}",
                "Give the media a host name of their own, such as media.example.com",
            )
        other = places.setdefault((domain, site["prefix"] or ""), site["name"])
        if other != site["name"]:
            faults.add(
                where,
                f"site {other} has its files at {domain}{site['prefix'] or ''} already",
                "Give one of them another media_domain",
            )


def _compare(sites: list[dict[str, t.Any]], faults: Faults) -> None:
    _compare_media_domains(sites, faults)
    uids: dict[int, str] = {}
    names: dict[str, int] = {}
    places: dict[tuple[str, str], str] = {}
    databases: dict[str, str] = {}
    users: dict[str, str] = {}
    for site in sites:
        name = site["name"]
        names[name] = names.get(name, 0) + 1
        if isinstance(site["uid"], int) and uids.setdefault(site["uid"], name) != name:
            faults.add(
                f"ntier_sites, site {name}",
                f"its user would have the number {site['uid']}, as that of site {uids[site['uid']]}",
                "Set uid of one of them to a number that is free on every host",
            )
        if names[name] == 2:
            faults.add(f"ntier_sites, site {name}", "two sites have this name", "Give each site a name of its own")
        for domain in dict.fromkeys(site["domains"] or []):
            place = (domain, site["prefix"] or "")
            if place in places:
                address = f"{domain}{place[1] or '/'}"
                faults.add(
                    f"ntier_sites, site {name}",
                    f"site {places[place]} answers at {address} already",
                    "Give one of them another domain or prefix",
                )
            places.setdefault(place, name)
            for other in sites:
                files = [f"{other['prefix'] or ''}/{folder}/" for folder in ("static", "media")]
                if other is not site and domain in (other["domains"] or []) and f"{place[1]}/".startswith(tuple(files)):
                    what = f"the prefix '{place[1]}' lies in the files of site {other['name']} at {domain}"
                    faults.add(f"ntier_sites, site {name}", what, "Give it another prefix or domain")
        database = site["database"]["name"]
        if isinstance(database, str) and databases.setdefault(database, name) != name:
            faults.add(
                f"ntier_sites, site {name}",
                f"site {databases[database]} has the database '{database}' already",
                "Give each site a database of its own",
            )
        user = site["database"]["user"]
        if isinstance(user, str) and users.setdefault(user, name) != name:
            faults.add(
                f"ntier_sites, site {name}",
                f"site {users[user]} has the database user '{user}' already",
                "Give each site a user of its own",
            )


def certificate_names(site: t.Mapping[str, t.Any]) -> list[str]:
    """Return the names that a site's certificate has to cover."""
    return list(dict.fromkeys([*site["domains"], *filter(None, [site["media_domain"]])]))


def virtual_hosts(sites: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return which sites answer at which domains, domains with the same sites together.

    :return: a list of ``{"domains": [...], "sites": [names, the longest prefix first]}``.
    """
    by_domain: dict[str, list[t.Mapping[str, t.Any]]] = {}
    for site in sites:
        for domain in dict.fromkeys(site["domains"] or []):
            by_domain.setdefault(domain, []).append(site)
    hosts: dict[tuple[str, ...], list[str]] = {}
    for domain, members in by_domain.items():
        ordered = tuple(
            site["name"] for site in sorted(members, key=lambda site: (-len(site["prefix"] or ""), site["name"]))
        )
        hosts.setdefault(ordered, []).append(domain)
    return [{"domains": domains, "sites": list(members)} for members, domains in hosts.items()]
