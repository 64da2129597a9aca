# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Share a host's memory out among what stands on it, so that the box never swaps. Pure functions; all sizes in MB (2**20 bytes)."""

from __future__ import annotations

import typing as t

from .faults import listed

#: What the operating system and sshd, journald and friends need at the least.
SYSTEM_MB = 160
#: Part of the memory that is given to nobody: page cache, releases, backups, a person at a shell.
HEAD_ROOM = 0.10
#: Weights by which tiers on one host share what is left.
SHARES: dict[str, int] = {"database": 40, "web": 45, "memcached": 10, "media": 5, "load_balancer": 10}
#: The least with which a tier does its work, for one site.
LEAST_MB: dict[str, int] = {"database": 128, "web": 160, "memcached": 32, "media": 16, "load_balancer": 64}
#: What one more site needs on a web host at the least: a gunicorn master and one worker.
SITE_MB = 110
#: What one worker process of a Django site takes with its threads; measured at 60 to 120 with common libraries.
WORKER_MB = 110
#: The gunicorn master and PgBouncer.
WEB_BASE_MB = 40
THREADS = 4
#: Server connections that one site may have open from one web host. More transactions at a time than this only queue in PostgreSQL.
POOL_LIMIT = 20


class TooLittleMemory(ValueError):
    """A host has less memory than what it shall serve needs."""


def size_host(
    memory_mb: int,
    cores: int,
    tiers: t.Sequence[str],
    sites: int = 1,
    web_hosts: int = 1,
    shares: t.Mapping[str, int] | None = None,
    name: str = "this host",
    processes_mb: int = 0,
) -> dict[str, t.Any]:
    """Return what each tier on a host gets.

    :arg memory_mb: memory of the host in MB.
    :arg cores: processors of the host.
    :arg tiers: the tiers that it serves.
    :arg sites: how many sites the cluster serves.
    :arg web_hosts: how many web hosts there are; each has a pool of connections for each site.
    :arg shares: weights that replace those of C(SHARES), tier → weight.
    :arg name: how a message names the host.
    :arg processes_mb: what the sites' background processes on the host may take.
    :return: C(memory_mb), C(cores), C(system_mb), C(head_room_mb), C(processes_mb), C(shares_mb) (tier → MB) and for each tier served a dictionary
        of its own figures, C(database), C(web) and C(memcached).
    :raises TooLittleMemory: when a tier would get less than it needs.
    """
    weights = {**SHARES, **{tier: int(weight) for tier, weight in (shares or {}).items()}}
    head_room = int(memory_mb * HEAD_ROOM)
    left = memory_mb - SYSTEM_MB - head_room - processes_mb
    least = {tier: LEAST_MB[tier] + (SITE_MB * (sites - 1) if tier == "web" else 0) for tier in tiers}
    if left < sum(least.values()):
        need = -(-(sum(least.values()) + SYSTEM_MB + processes_mb) * 100 // round((1 - HEAD_ROOM) * 100))
        behind = f" and {processes_mb} MB for their background processes" if processes_mb else ""
        away = "a site or a process" if processes_mb else "a site"
        raise TooLittleMemory(
            f"host {name}: it has {memory_mb} MB of memory and shall serve {listed(tiers)} for {sites} site{'s' if sites != 1 else ''}{behind},"
            f" which takes at least {need} MB. Give it more memory, move a tier to another host, or take {away} away"
            " (ntier_memory_mb overrides what the host reports)."
        )
    given = _share(left, weights, least)
    result: dict[str, t.Any] = {
        "memory_mb": memory_mb,
        "cores": cores,
        "system_mb": SYSTEM_MB,
        "head_room_mb": head_room,
        "processes_mb": processes_mb,
        "shares_mb": given,
    }
    pool = min(POOL_LIMIT, max(4, 5 * cores))
    if "database" in given:
        result["database"] = _size_database(
            given["database"], alone=list(tiers) == ["database"], clients=sites * web_hosts
        )
    if "web" in given:
        result["web"] = _size_web(given["web"], cores, sites, pool)
    if "memcached" in given:
        result["memcached"] = {"memory_mb": given["memcached"]}
    return result


def _share(left: int, weights: t.Mapping[str, int], least: t.Mapping[str, int]) -> dict[str, int]:
    """Share *left* by weight; who would get less than its least gets that, and the others share the rest."""
    given: dict[str, int] = {}
    open_tiers = list(least)
    while open_tiers:
        total = sum(weights[tier] for tier in open_tiers) or 1
        short = [tier for tier in open_tiers if left * weights[tier] // total < least[tier]]
        if not short:
            given.update({tier: left * weights[tier] // total for tier in open_tiers})
            break
        for tier in short:
            given[tier] = least[tier]
            left -= least[tier]
            open_tiers.remove(tier)
    return {tier: given[tier] for tier in least}


def _size_database(share: int, alone: bool, clients: int) -> dict[str, int]:
    """PostgreSQL's own advice for a host of its own is a quarter of the memory in shared buffers and the rest as page cache."""
    # Fixed steps, since a changed max_connections is a restart: POOL_LIMIT for each pool, and room for people and backups.
    connections = max(100, -(-(clients * POOL_LIMIT + 20) // 50) * 50)
    buffers = max(64, int(share * (0.30 if alone else 0.45)))
    return {
        "memory_mb": share,
        "shared_buffers_mb": buffers,
        "effective_cache_size_mb": max(buffers, int(share * 0.80)),
        # If a quarter of the connections sort at the same time, that takes a quarter of the share.
        "work_mem_mb": min(64, max(2, share // connections)),
        "maintenance_work_mem_mb": min(1024, max(16, share // 12)),
        "max_connections": connections,
        "max_wal_size_mb": min(16384, max(512, share * 2)),
    }


def _size_web(share: int, cores: int, sites: int, pool: int) -> dict[str, int]:
    per_site = share // sites
    workers = max(1, min(cores + 1, (per_site - WEB_BASE_MB) // WORKER_MB))
    return {
        "memory_mb": share,
        "memory_per_site_mb": per_site,
        "workers": workers,
        "threads": THREADS,
        "pool_size": min(pool, workers * THREADS),
    }
