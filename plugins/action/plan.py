# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check what the hosts reported, and show the plan."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.ntier.django.plugins.filter.sizing import size_in
from ansible_collections.ntier.django.plugins.module_utils import accounts
from ansible_collections.ntier.django.plugins.plugin_utils import asis, evaluation, plan, restarts
from ansible_collections.ntier.django.plugins.plugin_utils.faults import Faults, InventoryError, listed
from ansible_collections.ntier.django.plugins.plugin_utils.sizing import TooLittleMemory

display = Display()

#: Distribution → the versions that the roles were written for.
SUPPORTED: dict[str, tuple[str, ...]] = {"Debian": ("12", "13"), "Ubuntu": ("22.04", "24.04")}


def check_system(host: str, distribution: str, version: str, faults: Faults) -> None:
    """Note in *faults* a host whose operating system the roles don't know."""
    names = [f"{name} {listed(versions)}" for name, versions in SUPPORTED.items()]
    if version not in SUPPORTED.get(distribution, ()):
        faults.add(f"host {host}", f"runs {distribution} {version}", f"ntier.django supports {listed(names)}")


def check_route(cluster: t.Mapping[str, t.Any], host: str, address: str, reason: str, faults: Faults) -> None:
    """Note in *faults* a host that has no way to another that it needs."""
    other = next(name for name, entry in cluster["hosts"].items() if entry["address"] == address)
    serves = listed(tier for tier in cluster["hosts"][other]["tiers"] if tier != "web") or "web"
    faults.add(
        f"host {host}",
        f"has no way to {other} ({serves}) at {address}: {reason}",
        f"Connect their networks, or set ntier_address of {other} to an address that {host} reaches",
    )


def check_accounts(
    cluster: t.Mapping[str, t.Any], host: str, found: t.Mapping[str, t.Mapping[str, t.Any]], faults: Faults
) -> None:
    """Note in *faults* accounts and groups of a host that are not the sites' own, and which the sites would take over.

    :arg found: C(accounts) of what the module C(media_state) has found there.
    """
    fixed = host in [cluster["uploads"]["server"], *cluster["uploads"]["clients"]]
    for site in cluster["sites"]:
        if site["name"] in found:
            for what, fix in accounts.faults_of(site["name"], site["uid"], found[site["name"]], fixed):
                faults.add(f"host {host}", what, fix)


def check_built(cluster: t.Mapping[str, t.Any], without: t.Iterable[str], faults: Faults) -> None:
    """Note in *faults* web hosts that have no record, so that site has not ended there yet."""
    for host in without:
        if host in cluster["tiers"]["web"]["hosts"]:
            faults.add(
                f"host {host}", "has not been built yet, so no release can go live there", "Run ntier.django.site first"
            )


#: Tier → how it is said that it has not moved yet.
MOVING = {"database": "the databases are still on", "media": "the uploads are still on"}


def check_moved(moves: t.Mapping[str, t.Mapping[str, t.Any]], faults: Faults) -> None:
    """Note in *faults* moves that have to be done before anything else is."""
    for tier, move in moves.items():
        if move:
            faults.add(
                f"group {tier}",
                f"{MOVING[tier]} {move['from']}, and have to move to {move['to']} first",
                "Run ntier.django.site, which moves them",
            )


def check_one_at_a_time(
    moves: t.Mapping[str, t.Mapping[str, t.Any]], doors: t.Mapping[str, t.Any], faults: Faults
) -> None:
    """Note in *faults* uploads that move while visitors come elsewhere than they shall: both change who asks for the files."""
    old = [*doors["passing"], *doors["staying"]]
    if moves["media"] and old:
        faults.add(
            "group media",
            f"moves from {moves['media']['from']} to {moves['media']['to']} while visitors come to {listed(old)}",
            f"Do one after the other: leave the uploads where they are until DNS leads to {listed(doors['to'])}",
        )


class ActionModule(ActionBase):
    """Raise when a host can't serve what it shall; otherwise show the plan."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the result of the task, with the plan's lines in C(plan); never contacts a host."""
        result = super().run(tmp, task_vars)
        self.validate_argument_spec(
            {
                "show": {"type": "bool", "default": True},
                "built": {"type": "bool", "default": False},
                "moves": {"type": "bool", "default": True},
                "media": {"type": "bool", "default": False},
            }
        )
        variables = task_vars or {}
        cluster = self._templar.template(variables["ntier_topology"])
        faults = Faults()
        sizes: dict[str, t.Any] = {}
        records: dict[str, t.Any] = {}
        databases: dict[str, t.Any] = {}
        media: dict[str, t.Any] = {}
        moves: dict[str, dict[str, t.Any]] = {"database": {}, "media": {}}
        leaving: dict[str, list[str]] = {}
        doors: dict[str, t.Any] = {}
        asked = []
        packages: dict[str, t.Any] = {}
        for host in cluster["hosts"]:
            own = variables["hostvars"][host]
            facts = own.get("ansible_facts") or {}
            memory = _number(own.get("ntier_memory_mb", facts.get("memtotal_mb")))
            cores = _number(own.get("ntier_cores", facts.get("processor_vcpus")))
            if "distribution" in facts:
                asked.append(host)
                packages[host] = facts.get("packages") or {}
                check_system(host, facts["distribution"], _release(facts), faults)
            for address, reason in ((own.get("__ntier_routes") or {}).get("missing") or {}).items():
                check_route(cluster, host, address, reason, faults)
            if "found" in (own.get("__ntier_database") or {}):
                databases[host] = dict(own["__ntier_database"]["found"])
                databases[host]["logical"] = boolean(own.get("handover_logical", False), strict=False)
                if not databases[host]["version"] and "distribution" in facts:
                    packaged = asis.PACKAGED.get(f"{facts['distribution']} {_release(facts)}", "")
                    databases[host]["version"] = str(own.get("database_version") or packaged)
            if "found" in (own.get("__ntier_media") or {}):
                media[host] = own["__ntier_media"]["found"]
                check_accounts(cluster, host, media[host].get("accounts") or {}, faults)
            record = (facts.get("ansible_local") or {}).get("ntier")
            if isinstance(record, dict):
                records[host] = record
            if memory is None or cores is None or not cluster["hosts"][host]["tiers"]:
                continue  # not asked, because of --limit, or about to leave
            try:
                sizes[host] = size_in(cluster, host, memory, cores, own.get("ntier_memory_shares"))
            except TooLittleMemory as error:
                faults.sentences.append(str(error))
        if self._task.args.get("built", False):
            check_built(cluster, [host for host in asked if host not in records], faults)
        may_move = self._task.args.get("moves", True)
        found = databases if may_move or databases else None
        files = media if self._task.args.get("media", False) else None
        silent = [host for host in cluster["hosts"] if host not in asked]
        given_up = self._listed(variables, asis.GIVING_UP)
        moves = asis.check(
            cluster, evaluation.cluster_id(self._templar, variables), records, faults, found, files, given_up, silent
        )
        if records:
            doors = asis.doors(cluster, records, self._listed(variables, asis.SAYING), faults)
            check_one_at_a_time(moves, doors, faults)
            leaving = asis.leaving(cluster, records, doors["staying"])
        if not may_move:
            check_moved(moves, faults)
        if faults:
            raise AnsibleActionFail(
                str(InventoryError(faults.sentences, "The hosts can't serve what the inventory says"))
            )
        waiting = self._poolers(cluster, leaving, packages, databases)
        restarting = self._restarts(cluster, variables, sizes, databases) if not moves["database"] else {}
        caches = asis.cache_change(cluster, records)
        empty = asis.beginning(cluster, {"database": databases, "media": media}, moves)
        lines = plan.render(
            cluster, sizes, moves["database"], moves["media"], leaving, doors, caches, empty, restarting, waiting
        )
        result.update(changed=False, plan=lines, move=moves["database"], media_move=moves["media"], empty=empty)
        result.update(leaving=leaving, doors=doors, poolers=waiting)
        if self._task.args.get("show", True):
            display.display("\n" + "\n".join(result["plan"]) + "\n")
        return result

    def _poolers(
        self,
        cluster: dict[str, t.Any],
        leaving: dict[str, list[str]],
        packages: dict[str, t.Any],
        databases: dict[str, t.Any],
    ) -> list[str]:
        """Return the hosts whose clients wait when PostgreSQL restarts; none while there is no site's database."""
        built = any(found["ours"] and found["databases"] for found in databases.values())
        return restarts.poolers(cluster, leaving, packages) if built else []

    def _restarts(
        self,
        cluster: dict[str, t.Any],
        variables: dict[str, t.Any],
        sizes: dict[str, t.Any],
        databases: dict[str, t.Any],
    ) -> dict[str, list[tuple[str, str, str]]]:
        """Return what PostgreSQL restarts for, host → the value of C(restarts.changes)."""
        result = {}
        for host in cluster["tiers"]["database"]["hosts"]:
            found = databases.get(host, {}).get("settings") or {}
            own = variables["hostvars"][host]
            plain = {name: own[name] for name in restarts.VARIABLES if found and name in own}
            new = restarts.wanted(sizes.get(host, {}).get("database", {}), plain)
            changes = restarts.changes(found, new)
            if changes:
                result[host] = changes
        return result

    def _listed(self, variables: dict[str, t.Any], name: str) -> list[str]:
        """Return the hosts that a variable of the user's names; none when nothing is said."""
        said = self._templar.template(variables[name]) if name in variables else []
        return [str(host) for host in said]


def _number(value: t.Any) -> t.Any:
    """Return a number that the command line gives as text as one."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _release(facts: t.Mapping[str, t.Any]) -> str:
    """Return the version as a distribution counts: Debian by majors, Ubuntu by year and month."""
    return str(
        facts["distribution_major_version"] if facts["distribution"] == "Debian" else facts["distribution_version"]
    )
