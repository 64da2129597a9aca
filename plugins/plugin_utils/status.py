# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a running cluster is, as a person reads it. Pure functions over what the hosts answered."""

from __future__ import annotations

import typing as t

from . import processes
from .plan import table

_MB = 2**20
#: The parts of a site's health page, in the order of a request's way.
_PARTS = ("app", "database", "cache")


def render(
    topology: t.Mapping[str, t.Any],
    health: t.Mapping[str, t.Mapping[str, t.Any]],
    databases: t.Mapping[str, t.Mapping[str, t.Any]],
    units: t.Mapping[str, t.Mapping[str, str]] | None = None,
) -> list[str]:
    """Return the status as lines.

    :arg topology: the value of C(topology.build).
    :arg health: web host → site → C(release), the name of the live release, and C(answer): the health page as a dictionary, or a text that says
        why there is none. Hosts that were not asked are missing.
    :arg databases: database host → C(sizes), database → bytes, and C(memory), the bytes that PostgreSQL reckons to have for caching them.
    :arg units: web host → unit of a background process → its state, such as C(active (running)).
    """
    lines = [f"Figure {topology['figure']}: {topology['figure_title']}"]
    scheme = "https" if topology["tiers"]["load_balancer"]["hosts"] else "http"
    for site in topology["sites"]:
        lines += ["", f"Site {site['name']}  {scheme}://{site['domains'][0]}{site['prefix']}/"]
        rows = []
        for host in topology["tiers"]["web"]["hosts"]:
            found = health.get(host, {}).get(site["name"])
            rows.append([host, *(_answer(found) if found else ["not asked", ""])])
        lines += table(rows)
        lines += _work(topology, site["name"], units or {})
    for host, found in databases.items():
        lines += ["", f"Database on {host}"]
        lines += table([[name, f"{_mb(size)} MB"] for name, size in found["sizes"].items()])
        lines.append("  " + _fits(sum(found["sizes"].values()), found["memory"]))
    return lines


def _answer(found: t.Mapping[str, t.Any]) -> list[str]:
    release = f"release {found['release']}" if found.get("release") else "no live release"
    answer = found["answer"]
    if not isinstance(answer, dict):
        return [release, str(answer)]
    return [release, ", ".join(f"{part} {answer[part]}" for part in _PARTS if part in answer)]


def _work(topology: t.Mapping[str, t.Any], site: str, units: t.Mapping[str, t.Mapping[str, str]]) -> list[str]:
    rows = []
    for host in topology["tiers"]["web"]["hosts"]:
        for process in processes.units(
            [entry for entry in processes.sites_on(topology, host) if entry["name"] == site]
        ):
            state = _process(process, units[host]) if host in units else "not asked"
            rows.append([process["name"], host, state])
    return ["  Background work", *(f"  {line}" for line in table(sorted(rows)))] if rows else []


def _process(process: t.Mapping[str, t.Any], states: t.Mapping[str, str]) -> str:
    """Return how a process is, and of one that is not as it should be the units to look at."""
    wanted = "active (waiting)" if process["timer"] else "active (running)"
    # A timer whose command runs right now is active, too.
    others = [wanted, "active (running)"]
    wrong = [
        f"{unit} is {states.get(unit, 'not there')}" for unit in process["units"] if states.get(unit) not in others
    ]
    if process["timer"] and states.get(process["file"], "").startswith("failed"):
        wrong.append(f"the last run failed: journalctl -u {process['file']}")
    if process["timer"]:
        return "; ".join([process["schedule"], *wrong])
    count = len(process["units"])
    return "; ".join([f"{count - len(wrong)} of {count} running", *wrong])


def _mb(size: int) -> int:
    return -(-size // _MB)


def _fits(size: int, memory: int) -> str:
    if size <= memory:
        return f"All of it, {_mb(size)} MB, fits the {memory // _MB} MB of memory that PostgreSQL has for it: pages are read from memory."
    return (
        f"It is {_mb(size)} MB and does not fit the {memory // _MB} MB of memory that PostgreSQL has for it: what is asked for seldom is"
        f" read from disk. Give the host about {_mb((size - memory) * 5 // 4)} MB more, or a larger share (ntier_memory_shares)."
    )
