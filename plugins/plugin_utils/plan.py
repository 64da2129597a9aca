# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan as a person reads it before anything changes. Pure functions over the topology and the sizing."""

from __future__ import annotations

import typing as t

from ansible_collections.ntier.django.plugins.module_utils.requirements import masked

from . import asis, wiring
from .faults import listed
from .topology import NFS_PORT

#: What runs on a host for each tier.
SOFTWARE = {
    "nginx_gunicorn": "nginx + gunicorn + PgBouncer",
    "nginx_granian": "nginx + granian + PgBouncer",
    "lighttpd_uwsgi": "lighttpd + uWSGI + PgBouncer",
    "apache_mod_wsgi": "Apache + mod_wsgi + PgBouncer",
    "postgresql": "PostgreSQL",
    "memcached": "memcached",
    "nginx": "nginx",
    "lighttpd": "lighttpd",
    "haproxy": "HAProxy",
}


def render(
    topology: t.Mapping[str, t.Any],
    sizes: t.Mapping[str, t.Any] | None = None,
    move: t.Mapping[str, t.Any] | None = None,
    media_move: t.Mapping[str, t.Any] | None = None,
    leaving: t.Mapping[str, t.Sequence[str]] | None = None,
    doors: t.Mapping[str, t.Any] | None = None,
    caches: t.Mapping[str, t.Any] | None = None,
    empty: t.Mapping[str, t.Sequence[str]] | None = None,
    restarts: t.Mapping[str, t.Sequence[tuple[str, str, str]]] | None = None,
    poolers: t.Sequence[str] = (),
) -> list[str]:
    """Return the plan as lines of at most about 100 columns.

    :arg topology: the value of C(topology.build).
    :arg sizes: host → the value of C(sizing.size_host), for the hosts whose memory is known.
    :arg move: how the database moves, the value of C(asis.database_move); C(media_move), how the media do, of C(asis.media_move).
    :arg leaving: what hosts serve and shall not any more, the value of C(asis.leaving).
    :arg doors: where visitors come to, the value of C(asis.doors).
    :arg caches: how the memcached hosts change, the value of C(asis.cache_change).
    :arg empty: the hosts that begin without data, the value of C(asis.beginning).
    :arg restarts: what PostgreSQL restarts for, host → the value of C(restarts.changes); C(poolers), the hosts whose clients wait then.
    """
    sizes = sizes or {}
    lines = [f"Figure {topology['figure']}: {topology['figure_title']}", ""]
    if move or media_move or caches:
        rows = [_move(move)] if move else []
        rows += [_media_move(media_move)] if media_move else []
        rows += [_caches(caches)] if caches else []
        lines += ["Moves", *table(rows), ""]
    for host, changes in (restarts or {}).items():
        what = ", ".join(f"{name} {old} → {new}" for name, old, new in changes)
        waits = f"Clients on {listed(poolers)} wait about a second" if poolers else "It has no clients yet"
        lines += [f"PostgreSQL restarts on {host}", f"  {what}", f"  {waits}", ""]
    if empty:
        rows = [[tier, listed(hosts), f"has none of {asis.KEEPERS[tier]} yet"] for tier, hosts in empty.items()]
        lines += ["Begins empty", *table(rows), ""]
    if leaving:
        lines += ["Switched off", *table([[host, listed(tiers)] for host, tiers in leaving.items()]), ""]
    lines += _doors(topology, doors) if doors else []
    lines += _tiers(topology)
    lines += ["", "Sites"]
    lines += table([row for site in topology["sites"] for row in _site(site)])
    lines += ["", "Who talks to whom"]
    lines += table(_ways(topology))
    if sizes:
        lines += ["", "Memory, in MB"]
        lines += _memory(sizes)
    return lines


def table(rows: t.Sequence[t.Sequence[str]]) -> list[str]:
    """Return rows as aligned columns, two spaces in front."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _tiers(topology: t.Mapping[str, t.Any]) -> list[str]:
    rows = []
    for tier, entry in topology["tiers"].items():
        if not entry["hosts"]:
            continue
        several = len(entry["hosts"]) > 1
        for name, endpoint in zip(entry["hosts"], topology["endpoints"][tier], strict=True):
            first = name == entry["leader"]
            label = f"{name} (leader)" if several and first else name
            rows.append(
                [tier if first else "", label, SOFTWARE[entry["provider"]] if first else "", wiring.place(endpoint)]
            )
    if topology["retired"]:
        rows += [["" if number else "retired", name, "", ""] for number, name in enumerate(topology["retired"])]
    return ["Tiers", *table(rows)]


def _amount(size: int) -> str:
    return f"{size / 10**9:.1f} GB" if size >= 10**9 else f"{max(1, size // 10**6)} MB"


def _move(move: t.Mapping[str, t.Any]) -> list[str]:
    way = f"{move['from']} → {move['to']}"
    waits = "sites wait some 2 s for a restart, then less than 1 s" if move["logical"] else "sites wait less than 1 s"
    return ["database", way, _amount(move["bytes"]), f"some {move['seconds']} s", waits]


def _media_move(move: t.Mapping[str, t.Any]) -> list[str]:
    way = f"{move['from']} → {move['to']}"
    if move["moved"]:
        return ["media", way, "moved", "some seconds", "what is left is cleaning up"]
    size = f"{_amount(move['bytes'])} in {move['files']} files"
    return ["media", way, size, f"some {move['seconds']} s", "sites wait less than 2 s"]


def _caches(change: t.Mapping[str, t.Any]) -> list[str]:
    way = f"{listed(change['from'])} → {listed(change['to']) or 'none'}"
    return ["memcached", way, "", "at once", f"{change['lost']:.0%} of what is cached is made anew"]


def _doors(topology: t.Mapping[str, t.Any], doors: t.Mapping[str, t.Any]) -> list[str]:
    """Return who answers visitors until DNS leads them where they shall come to."""
    old = [*doors["passing"], *doors["staying"]]
    if not old:
        return []
    new = listed(doors["to"])
    does = f"passes them on to {new}" if doors["passing"] else "stays in service"
    return [
        "Visitors",
        f"  come to {listed(old)}, which {does}.",
        f"  When DNS leads to {new}, write {asis.SAYING}: [{', '.join(doors['to'])}], and run site again.",
        *(
            []
            if topology["tiers"]["load_balancer"]["hosts"]
            else [f"  With {listed(old)} TLS goes: from then on they come by http alone."]
        ),
        "",
    ]


def _site(site: t.Mapping[str, t.Any]) -> list[list[str]]:
    source = site["source"]
    where = {
        "git": f"{masked(source['location'])} at {source.get('version')}",
        "path": f"folder {source['location']}",
        "package": f"package {source['location']}",
    }[source["kind"]]
    first, *others = (f"{domain}{site['prefix']}" for domain in site["domains"])
    return [[site["name"], first, where], *(["", other, ""] for other in others)]


def _ways(topology: t.Mapping[str, t.Any]) -> list[list[str]]:
    rows: dict[tuple[str, str], list[str]] = {}
    for flow in topology["flows"]:
        ports = rows.setdefault((flow["from"], flow["to"]), [])
        ports.append(f"{flow['port']} (NFS)" if flow["port"] == NFS_PORT else str(flow["port"]))
    return [
        [source, "→", target, f"port{'s' if len(ports) > 1 else ''} {listed(ports)}"]
        for (source, target), ports in rows.items()
    ]


def _memory(sizes: t.Mapping[str, t.Any]) -> list[str]:
    tiers = list(dict.fromkeys(tier for size in sizes.values() for tier in size["shares_mb"]))
    # Only where there is background work.
    processes = ["processes"] if any(size["processes_mb"] for size in sizes.values()) else []
    rows: list[list[t.Any]] = [["host", "has", "system", "free", *processes, *tiers]]
    for name, size in sizes.items():
        shares = [size["shares_mb"].get(tier, "-") for tier in tiers]
        own = [size["processes_mb"] or "-"] if processes else []
        rows.append([name, size["memory_mb"], size["system_mb"], size["head_room_mb"], *own, *shares])
    lines = table(rows)
    for name, size in sizes.items():
        notes = []
        if "database" in size:
            notes.append(
                f"shared_buffers {size['database']['shared_buffers_mb']}, {size['database']['max_connections']} connections"
            )
        if "web" in size:
            workers = size["web"]["workers"]
            notes.append(
                f"{workers} worker{'s' if workers != 1 else ''} of {size['web']['threads']} threads for each site"
            )
        if notes:
            lines.append(f"  {name}: {'; '.join(notes)}")
    return lines
