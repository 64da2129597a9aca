# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates of the cluster's own authority."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.ntier.django.plugins.plugin_utils import authority as authorities


def certified(
    public_key: str,
    subjects: t.Sequence[str],
    authority: t.Mapping[str, str],
    days: int,
    renew_days: int,
    ahead_days: int = 0,
) -> dict[str, str]:
    """Return a certificate, and the text of the file with those that follow it; see C(plugin_utils/authority.py)."""
    try:
        made = authorities.series(
            str(public_key),
            [str(subject) for subject in subjects],
            str(authority["key"]),
            str(authority["certificate"]),
            int(days),
            int(renew_days),
            int(ahead_days),
        )
    except (ValueError, TypeError) as error:
        # Its text names no key.
        raise AnsibleFilterError(f"No certificate for {', '.join(subjects)} can be made: {error}") from None
    series = "".join(f"{start} {end}\n{certificate}" for start, end, certificate in made)
    return {"certificate": made[0][2], "series": series if ahead_days else ""}


class FilterModule:
    """Offer the filter to Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name → function."""
        return {"certified": certified}
