# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the hosts say of themselves beside what the inventory says of them. Pure functions.

Each host keeps a record of what it served when C(site) last ended there, in C(/etc/ansible/facts.d/ntier.fact). It names all
members of the cluster, so that a host that vanished from the inventory is still known by the others.
"""

from __future__ import annotations

import typing as t

from .faults import Faults, listed

RECORD = "/etc/ansible/facts.d/ntier.fact"
#: Tiers that keep what can't be made again, and what that is.
KEEPERS = {"database": "the sites' rows", "media": "the sites' uploads"}


def record(topology: t.Mapping[str, t.Any], cluster: str, host: str) -> dict[str, t.Any]:
    """Return what a host is to remember.

    :arg topology: the value of C(topology.build).
    :arg cluster: the cluster's id.
    :return: C(cluster), C(figure), C(serves) (tiers), C(members) (tier → names of all its hosts).
    """
    return {
        "cluster": cluster,
        "figure": topology["figure"],
        "serves": topology["hosts"].get(host, {}).get("tiers", []),
        "members": {tier: entry["hosts"] for tier, entry in topology["tiers"].items() if entry["hosts"]},
    }


def check(
    topology: t.Mapping[str, t.Any],
    cluster: str,
    records: t.Mapping[str, t.Mapping[str, t.Any]],
    faults: Faults,
) -> None:
    """Note in *faults* what would lose data: hosts of another cluster, and data that the inventory leaves behind.

    :arg cluster: the id of the inventory's cluster; empty when it has none yet.
    :arg records: host → the record that it keeps, for hosts that have one.
    """
    own = {}
    for host, found in records.items():
        if cluster and found.get("cluster") == cluster:
            own[host] = found
        elif not found.get("cluster"):
            faults.add(
                f"host {host}",
                f"has a {RECORD} in which nothing can be read, as a power failure leaves it",
                "If the host belongs to this inventory, remove that file there, and the next run writes it anew",
            )
        else:
            faults.add(
                f"host {host}",
                f"belongs to another cluster: its {RECORD} names {found['cluster']}, and this inventory's secrets"
                f" {cluster or 'none yet'}",
                "Use the inventory, with the secrets file, that built the host; or, if nothing on it is needed, remove that file there",
            )
    for tier, what in KEEPERS.items():
        keepers = dict.fromkeys(host for found in own.values() for host in found.get("members", {}).get(tier, []))
        wanted = topology["tiers"][tier]["hosts"]
        left = [host for host in keepers if host not in wanted]
        if not left:
            continue
        new = [host for host in wanted if host not in keepers]
        instead = f", and {listed(new)} would start without any" if new else ""
        faults.add(
            f"group {tier}",
            f"is without {listed(left)} now, where {what} of this cluster are{instead}",
            f"Put {listed(left)} back into the group {tier}: this version builds every figure, and does not move data yet",
        )
