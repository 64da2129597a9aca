# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to go back when a web host fails in its turn, from what the hosts have registered."""

from __future__ import annotations

import typing as t

from ansible_collections.ntier.django.plugins.plugin_utils import journal, turns

Hostvars = t.Mapping[str, t.Mapping[str, t.Any]]


def switched_in(hostvars: Hostvars, hosts: t.Sequence[str]) -> dict[str, list[t.Any]]:
    """Return host → what has gone live there in this run."""
    return {host: list(hostvars[host].get("__release_switched") or []) for host in hosts}


def switched_sites(hosts: t.Sequence[str], hostvars: Hostvars) -> list[dict[str, t.Any]]:
    """Return name and release of the sites that have gone live on any host in this run, each once."""
    found = {entry["name"]: entry["release"] for entries in switched_in(hostvars, hosts).values() for entry in entries}
    return [{"name": name, "release": release} for name, release in found.items()]


def todos_in(hostvars: Hostvars, hosts: t.Sequence[str]) -> dict[str, list[t.Any]]:
    """Return host → what had to go live there in this run."""
    return {host: list(hostvars[host].get("__release_due") or []) for host in hosts}


def swapped_in(hostvars: Hostvars, hosts: t.Sequence[str]) -> dict[str, str]:
    """Return host → the web provider that it had, for those whose web server this run has changed."""
    before = {host: str(hostvars[host].get("web_swapped_from") or "") for host in hosts}
    return {host: provider for host, provider in before.items() if provider}


def switched_back(hosts: t.Sequence[str], hostvars: Hostvars, host: str, site: str) -> list[t.Any]:
    """Return what has to go back; see C(plugin_utils/turns.py)."""
    todo = todos_in(hostvars, hosts)[host]
    switched, swapped = switched_in(hostvars, hosts), swapped_in(hostvars, hosts)
    return turns.to_switch_back(list(hosts), switched, host, todo, site, swapped)


def failure_text(
    failure: t.Mapping[str, t.Any],
    host: str,
    hosts: t.Sequence[str],
    hostvars: Hostvars,
    back: t.Sequence[t.Mapping[str, t.Any]],
    stuck: t.Mapping[str, str],
) -> str:
    """Return what a user reads when a host fails in its turn; see C(plugin_utils/turns.py)."""
    todos, switched, swapped = todos_in(hostvars, hosts), switched_in(hostvars, hosts), swapped_in(hostvars, hosts)
    return turns.told(failure, host, list(hosts), todos, switched, back, stuck, swapped)


class FilterModule:
    """Offer the filters to Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name → function."""
        return {
            "staying": turns.staying,
            "switched_back": switched_back,
            "failure_text": failure_text,
            "not_released": turns.not_released,
            "failure_reason": turns.reason,
            "journal_reason": journal.reason,
            "switched_sites": switched_sites,
        }
