# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The secrets of sites and cluster: made once, checked always. Pure functions; the lookup plugin reads and writes the file."""

from __future__ import annotations

import functools
import secrets as random
import string
import typing as t
import uuid

import yaml

from .faults import Faults, listed, shown, type_name

#: Secret → its length in characters. Letters and digits only, so that no configuration file needs to escape one; 62**40 is 238 bits.
KEYS: dict[str, int] = {"database_password": 40, "secret_key": 60}
#: What stands for a secret in check mode on a cluster that has none yet.
PLACEHOLDER = "made-by-the-first-run"
TOP = "ntier_secrets"
#: The other dictionary of the file: the cluster's name for itself, and the authority that signs its hosts' certificates.
CLUSTER = "ntier_cluster"
CLUSTER_KEYS = ("id", "authority_key", "authority_certificate")
#: What stands for the id in check mode on a cluster that has none yet.
PLACEHOLDER_ID = str(uuid.UUID(int=0))
HEADING = """\
---
# The secrets of this inventory's sites and of their cluster, made by ntier.django. Keep this file, and keep it to
# yourself: without it the next run makes new ones, and everybody is signed out. Encrypt it with `ansible-vault
# encrypt`; where a vault password is configured, ntier.django does that itself.
"""
_MAKE_CLUSTER = (
    "Add id (as uuidgen prints one), authority_key and authority_certificate (the two files, as text, of openssl req -x509 "
    "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 7300 -subj /CN=cluster -keyout authority.key -out authority.crt)"
)
_NEW_CLUSTER = (
    "Put it back from a copy of the file, or take {} out: a new one is made, and every host gets a new certificate"
)


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


def check_cluster(content: t.Any, path: str, supplied: bool, faults: Faults, thorough: bool = False) -> dict[str, str]:
    """Return what a file holds of the cluster, with the keys of C(CLUSTER_KEYS), and note in *faults* what is wrong with it.

    :arg content: the parsed file, or None when there is none; what L(check) says of it is not said again.
    :arg path: the file, for messages.
    :arg supplied: whether the user keeps the file; then the cluster has to be in it. Otherwise it is made when it is missing.
    :arg thorough: whether to try out that key and certificate are an authority, too. That costs each process a slow import.
    :return: an empty dictionary when there is nothing, or a fault.
    """
    if not isinstance(content, dict) or not isinstance(content.get(TOP), dict):
        return {}
    where = f"file {path}"
    entry = content.get(CLUSTER)
    if entry is None:
        if supplied:
            faults.add(where, f"has no '{CLUSTER}' beside '{TOP}'", _MAKE_CLUSTER)
        return {}
    fix = _MAKE_CLUSTER if supplied else _NEW_CLUSTER.format(CLUSTER)
    if not isinstance(entry, dict):
        faults.add(where, f"{CLUSTER} is {type_name(entry)}", fix)
        return {}
    before = len(faults)
    for key in entry:
        if key not in CLUSTER_KEYS:
            faults.add(where, f"{CLUSTER} has the unknown key {shown(key)}", f"It has {listed(CLUSTER_KEYS)}")
    for key in CLUSTER_KEYS:
        value = entry.get(key)
        if value is None or str(value) == "":
            faults.add(where, f"{CLUSTER} has no '{key}'", fix)
        elif key == "id" and not _is_uuid(str(value)):
            faults.add(where, f"{CLUSTER}.id is {shown(value)}, which is no UUID", fix)
        elif key != "id" and "-----BEGIN " not in str(value):
            faults.add(where, f"{CLUSTER}.{key} is not in PEM", fix)
    if len(faults) == before and thorough:
        from .authority import wrong

        what = wrong(str(entry["authority_key"]), str(entry["authority_certificate"]))
        if what:
            faults.add(where, f"{CLUSTER} {what}", fix)
    if len(faults) > before:
        return {}
    return {key: str(entry[key]) for key in CLUSTER_KEYS}


def _is_uuid(value: str) -> bool:
    try:
        return str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


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


def make_cluster() -> dict[str, str]:
    """Return a new cluster's id and its new authority."""
    from .authority import make

    name = str(uuid.uuid4())
    key, certificate = make(f"ntier cluster {name}")
    return {"id": name, "authority_key": key, "authority_certificate": certificate}


@functools.cache
def placeholder_cluster() -> dict[str, str]:
    """Return a stand-in for the cluster that a real run would make: its authority works, and nobody keeps it."""
    return {**make_cluster(), "id": PLACEHOLDER_ID}


class _Dumper(yaml.SafeDumper):
    """Write text of several lines as such, for the people who read the file."""


_Dumper.add_representer(
    str,
    lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None),
)


def text(sites: t.Mapping[str, t.Mapping[str, str]], cluster: t.Mapping[str, str]) -> str:
    """Return the file that holds the secrets of sites and, unless it is empty, of the cluster."""
    content = {TOP: dict(sites), **({CLUSTER: dict(cluster)} if cluster else {})}
    return HEADING + yaml.dump(content, Dumper=_Dumper, default_flow_style=False)
