# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the inventory to the topology."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.ntier.django.plugins.plugin_utils import topology as topologies
from ansible_collections.ntier.django.plugins.plugin_utils.faults import InventoryError


def topology(
    groups: t.Mapping[str, t.Sequence[str]],
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]],
    sites: t.Any,
    providers: t.Mapping[str, t.Any] | None = None,
    ports: t.Mapping[str, t.Any] | None = None,
) -> dict[str, t.Any]:
    """Return the cluster as one value; see C(plugin_utils/topology.py)."""
    names = dict.fromkeys(name for members in groups.values() for name in members)
    try:
        hosts = {name: addresses(hostvars[name]) for name in names if name in hostvars}
        return topologies.build(groups, hosts, sites, providers, ports)
    except InventoryError as error:
        raise AnsibleFilterError("There is no topology") from error  # Ansible appends the cause


def addresses(variables: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return of a host's variables those that the topology reads."""
    return {key: variables[key] for key in ("ntier_address", "ansible_host", "ansible_port") if key in variables}


class FilterModule:
    """Offer the filter to Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name → function."""
        return {"topology": topology}
