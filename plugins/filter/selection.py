# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which sites a release is for."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.ntier.django.plugins.plugin_utils import selection
from ansible_collections.ntier.django.plugins.plugin_utils.faults import Faults


def selected(sites: t.Sequence[t.Mapping[str, t.Any]], site: t.Any = "", version: t.Any = "") -> list[dict[str, t.Any]]:
    """Return the sites that are meant, at the version that is meant; see C(plugin_utils/selection.py)."""
    faults = Faults()
    chosen = selection.select(sites, site, version, faults)
    if faults:
        raise AnsibleFilterError(" ".join(faults.sentences))
    return chosen


class FilterModule:
    """Offer the filters to Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name → function."""
        return {"selected": selected, "hooks_of": selection.hooks_of}
