# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to go back when a web host fails in its turn, from what the hosts have registered."""

from __future__ import annotations

import typing as t

from ansible_collections.ntier.django.plugins.plugin_utils import journal, turns

Hostvars = t.Mapping[str, t.Mapping[str, t.Any]]


def failed_sites(hosts: t.Sequence[str], hostvars: Hostvars) -> dict[str, str]:
    """Return site → what a user reads, of the sites whose release has failed on any host, and goes live on none."""
    found: dict[str, list[str]] = {}
    for host in hosts:
        state = hostvars[host].get("__release_state") or {}
        for failures in (state.get("failures"), hostvars[host].get("__release_failures")):
            for name, text in (failures or {}).items():
                if text not in found.setdefault(name, []):
                    found[name].append(text)
    return {name: "\n".join(texts) for name, texts in found.items()}


def sites_part(hosts: t.Sequence[str], hostvars: Hostvars, names: t.Sequence[str]) -> bool:
    """Return whether sites, some of C(names) at least, go on without those that have failed.

    Another web server takes the place of the old one for all sites of a host at once.
    """
    swapping = any(hostvars[host].get(key) for host in hosts for key in ("web_swap_due", "web_swapped_from"))
    return not swapping and bool(set(names) - set(failed_sites(hosts, hostvars)))


def release_report(hosts: t.Sequence[str], hostvars: Hostvars, names: t.Sequence[str]) -> str:
    """Return what a user reads at the end of a run in which sites have failed; nothing when none has."""
    failed = failed_sites(hosts, hostvars)
    late = {name: text for host in hosts for name, text in (hostvars[host].get("__release_late") or {}).items()}
    parting = sites_part(hosts, hostvars, names)
    return turns.reported(failed, late, [name for name in names if name not in failed], parting)


def weak_answers(hosts: t.Sequence[str], hostvars: Hostvars, sites: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """Return a warning for each site that has gone live in this run by an answer that proves little."""
    known = {site["name"]: site for site in sites}
    switched = [entry for entries in switched_in(hostvars, hosts).values() for entry in entries]
    answers = {entry["name"]: (entry.get("status") or 200, entry.get("location") or "") for entry in switched}
    warnings = [turns.weak_answer(known[name], *answer) for name, answer in sorted(answers.items()) if name in known]
    return [warning for warning in warnings if warning]


def switched_in(hostvars: Hostvars, hosts: t.Sequence[str]) -> dict[str, list[t.Any]]:
    """Return host → what has gone live there in this run, and has not gone back since on all of them."""
    failed = failed_sites(hosts, hostvars)
    found = {host: hostvars[host].get("__release_switched") or [] for host in hosts}
    return {host: [entry for entry in entries if entry["name"] not in failed] for host, entries in found.items()}


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


def switched_back(hosts: t.Sequence[str], hostvars: Hostvars, host: str, site: str, alone: bool = False) -> list[t.Any]:
    """Return what has to go back; see C(plugin_utils/turns.py). With C(alone) the other sites go on."""
    if alone:
        return turns.site_back(list(hosts), switched_in(hostvars, hosts), host, site)
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
    alone: bool = False,
) -> str:
    """Return what a user reads when a host fails in its turn, or with C(alone) one site of it; see C(plugin_utils/turns.py)."""
    todos, switched, swapped = todos_in(hostvars, hosts), switched_in(hostvars, hosts), swapped_in(hostvars, hosts)
    if alone:
        todos = {name: [entry for entry in todo if entry["name"] == failure["site"]] for name, todo in todos.items()}
        return turns.told(failure, host, list(hosts), todos, switched, back, stuck, swapped)
    text = turns.told(failure, host, list(hosts), todos, switched, back, stuck, swapped)
    fallen = [turns.headline(other, host) for other in hostvars[host].get("__release_fallen") or []]
    return "\n".join([text, *(line for lines in fallen for line in lines), *failed_sites(hosts, hostvars).values()])


class FilterModule:
    """Offer the filters to Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name → function."""
        return {
            "failed_sites": failed_sites,
            "release_report": release_report,
            "sites_part": sites_part,
            "staying": turns.staying,
            "weak_answers": weak_answers,
            "switched_back": switched_back,
            "failure_text": failure_text,
            "not_released": turns.not_released,
            "failure_reason": turns.reason,
            "journal_reason": journal.reason,
            "switched_sites": switched_sites,
        }
