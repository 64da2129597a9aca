# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hand the decisions of a rollback to the role."""

from __future__ import annotations

import typing as t

from ansible_collections.ntier.django.plugins.plugin_utils import rollback


class FilterModule:
    """Offer the filters to Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name → function."""
        return {
            "rollback_targets": rollback.decide,
            "rollback_migrations": rollback.judge,
            "rollback_report": rollback.report,
        }
