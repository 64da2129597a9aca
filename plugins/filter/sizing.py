# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Share out a host's memory."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.ntier.django.plugins.plugin_utils import processes
from ansible_collections.ntier.django.plugins.plugin_utils import sizing as sizes


def sizing(
    topology: t.Mapping[str, t.Any],
    host: str,
    memory_mb: int,
    cores: int,
    shares: t.Mapping[str, int] | None = None,
) -> dict[str, t.Any]:
    """Return what each tier on *host* gets; see C(plugin_utils/sizing.py)."""
    try:
        return size_in(topology, host, memory_mb, cores, shares)
    except sizes.TooLittleMemory as error:
        raise AnsibleFilterError("The memory can't be shared out") from error  # Ansible appends the cause


def size_in(
    topology: t.Mapping[str, t.Any], host: str, memory_mb: int, cores: int, shares: t.Mapping[str, int] | None = None
) -> dict[str, t.Any]:
    """Return the sizes of a host of the topology; raises TooLittleMemory."""
    return sizes.size_host(
        int(memory_mb),
        int(cores),
        topology["hosts"][host]["tiers"],
        sites=len(topology["sites"]),
        web_hosts=len(topology["tiers"]["web"]["hosts"]),
        shares=shares,
        name=host,
        processes_mb=processes.memory_on(topology, host),
    )


class FilterModule:
    """Offer the filter to Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name → function."""
        return {"sizing": sizing}
