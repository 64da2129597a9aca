# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Media types and error pages: the same for every web server and balancer."""

from __future__ import annotations

import typing as t

from ansible_collections.ntier.django.plugins.plugin_utils import media_types, pages


def serving(folder: str) -> dict[str, t.Any]:
    """Return C(pages): status → page; C(files): path → text of the same pages; C(types): extension → media type; C(compressed) and C(utf8): types.

    :arg folder: where the pages lie on the host.
    """
    texts = {status: pages.page(status) for status in pages.PAGES}
    return {
        "pages": texts,
        "files": {f"{folder}/{status}.html": f"{text}\n" for status, text in texts.items()},
        "types": media_types.by_extension(),
        "compressed": list(media_types.COMPRESSED),
        "utf8": media_types.with_charset(),
    }


class FilterModule:
    """Offer the filter to Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name → function."""
        return {"serving": serving}
