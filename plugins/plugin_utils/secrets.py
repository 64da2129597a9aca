# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The sites' secrets: made once, checked always. Pure functions; the lookup plugin reads and writes the file."""

from __future__ import annotations

import secrets as random
import string
import typing as t

from .faults import Faults, listed, shown, type_name

#: Secret → its length in characters. Letters and digits only, so that no configuration file needs to escape one; 62**40 is 238 bits.
KEYS: dict[str, int] = {"database_password": 40, "secret_key": 60}
#: What stands for a secret in check mode on a cluster that has none yet.
PLACEHOLDER = "made-by-the-first-run"
TOP = "ntier_secrets"
HEADING = """\
---
# The secrets of this inventory's sites, made by ntier.django. Keep this file, and keep it to yourself:
# without it the next run makes new ones, and everybody is signed out. Encrypt it with `ansible-vault encrypt`;
# where a vault password is configured, ntier.django does that itself.
"""


def check(
    content: t.Any, sites: t.Sequence[str], path: str, supplied: bool, faults: Faults
) -> dict[str, dict[str, str]]:
    """Return the secrets that a file holds, site → key → value, and note in *faults* what is wrong with them.

    :arg content: the parsed file, or None when there is none.
    :arg sites: names of the sites that need secrets.
    :arg path: the file, for messages.
    :arg supplied: whether the user keeps the file; then every site has to be in it. Otherwise a site that is not in it
        at all is new, and gets its secrets from L(complete).
    """
    if content is None:
        if supplied:
            faults.add(
                f"file {path}", "does not exist", "Write it, or leave ntier_secrets_file out to have the secrets made"
            )
        return {}
    if not isinstance(content, dict) or not isinstance(content.get(TOP), dict):
        faults.add(
            f"file {path}", f"has no dictionary '{TOP}'", f"Start it with '{TOP}:' and a key for each site below it"
        )
        return {}
    result: dict[str, dict[str, str]] = {}
    for site in sites:
        entry = content[TOP].get(site)
        if entry is None:
            if supplied:
                faults.add(f"file {path}", f"has no secrets for site {site}", f"Add {listed(KEYS)} below {TOP}.{site}")
            continue
        if not isinstance(entry, dict):
            faults.add(f"file {path}", f"{TOP}.{site} is {type_name(entry)}", f"Give it the keys {listed(KEYS)}")
            continue
        result[site] = {}
        for key in KEYS:
            value = entry.get(key)
            if value is None or str(value) == "":
                faults.add(
                    f"file {path}",
                    f"{TOP}.{site} has no '{key}'",
                    "Put it back from a copy of the file, or choose a new one",
                )
            elif any(letter in str(value) for letter in "\n\r\0"):
                faults.add(f"file {path}", f"{TOP}.{site}.{key} has a line break", "Write it on one line")
            else:
                result[site][key] = str(value)
        unknown = [key for key in entry if key not in KEYS]
        if unknown:
            faults.add(
                f"file {path}", f"{TOP}.{site} has the unknown key {shown(unknown[0])}", f"It has {listed(KEYS)}"
            )
    return result


def complete(
    present: t.Mapping[str, t.Mapping[str, str]], sites: t.Sequence[str]
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return the secrets of all sites, and the names of those for which new ones were made."""
    made = [site for site in sites if site not in present]
    result = {site: dict(values) for site, values in present.items()}
    alphabet = string.ascii_letters + string.digits
    for site in made:
        result[site] = {
            key: "".join(random.choice(alphabet) for _letter in range(length)) for key, length in KEYS.items()
        }
    return result, made


def placeholders(present: t.Mapping[str, t.Mapping[str, str]], sites: t.Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the secrets of all sites with a stand-in for those that a real run would make."""
    return {site: dict(present.get(site) or dict.fromkeys(KEYS, PLACEHOLDER)) for site in sites}
