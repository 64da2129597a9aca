# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the topology to the roles' arguments."""

from __future__ import annotations

import hashlib
import json
import pathlib
import typing as t

from ansible_collections.ntier.django.plugins.plugin_utils import processes, sources
from ansible_collections.ntier.django.plugins.plugin_utils import wiring as wires

OVERLAY = pathlib.Path(__file__).resolve().parents[2] / "roles/release/files/overlay"


def with_revisions(
    sites: t.Sequence[t.Mapping[str, t.Any]], private: t.Mapping[str, str] | None = None
) -> list[dict[str, t.Any]]:
    """Return release sites as the module C(release_state) compares them: without secrets.

    C(source.revision) is set where the controller knows it: content of a folder, version of a package. C(configuration)
    stands for settings, environment and the collection's own settings overlay, which are part of a release as its code is.

    :arg private: what never belongs to a release, the value of the lookup C(private_paths).
    """
    overlay = sources.plain_digest(str(OVERLAY))
    result = []
    for site in sites:
        source = dict(site["source"])
        if source["kind"] == "path":
            source["revision"] = sources.digest(source["location"], private)
        elif source["kind"] == "package":
            source["revision"] = source["location"].split("==")[1]
        content = json.dumps([site.get("runtime"), site.get("environment"), overlay], sort_keys=True, default=dict)
        configuration = hashlib.sha256(content.encode()).hexdigest()[:16]
        public = {key: value for key, value in site.items() if key not in ("runtime", "environment")}
        result.append({**public, "source": source, "configuration": configuration})
    return result


class FilterModule:
    """Offer the filters to Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name → function."""
        return {
            "wiring": wires.wire,
            "with_revisions": with_revisions,
            "environment_file": wires.environment_file,
            "health": wires.health,
            "needs": wires.needs,
            "place": wires.place,
            "worker_units": processes.units,
        }
