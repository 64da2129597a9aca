# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the topology to the roles' arguments."""

from __future__ import annotations

import typing as t

from ansible_collections.ntier.django.plugins.plugin_utils import sources
from ansible_collections.ntier.django.plugins.plugin_utils import wiring as wires


def with_revisions(sites: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return release sites with C(source.revision) set where the controller knows it: content of a folder, version of a package."""
    result = []
    for site in sites:
        source = dict(site["source"])
        if source["kind"] == "path":
            source["revision"] = sources.digest(source["location"])
        elif source["kind"] == "package":
            source["revision"] = source["location"].split("==")[1]
        result.append({**site, "source": source})
    return result


def environment_file(site: t.Mapping[str, t.Any]) -> str:
    """Return a site's environment variables as a file for systemd."""
    return wires.environment_file(wires.site_environment(site))


class FilterModule:
    """Offer the filters to Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name → function."""
        return {
            "wiring": wires.wire,
            "with_revisions": with_revisions,
            "environment_file": environment_file,
            "site_settings": wires.site_settings,
        }
