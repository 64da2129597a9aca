# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which sites a release is for, and at which version, as the command line says. Pure functions."""

from __future__ import annotations

import re
import shlex
import typing as t

from .faults import Faults, did_you_mean, listed, shown

#: What git and package indexes take for a version; see C(source) in plugin_utils/sites.py.
VERSIONS = {
    "git": re.compile(r"^[A-Za-z0-9_][\w./@+-]*$"),
    "package": re.compile(r"^[A-Za-z0-9][A-Za-z0-9._!+-]*$"),
}


def select(sites: t.Iterable[t.Mapping[str, t.Any]], site: t.Any, version: t.Any, faults: Faults) -> list[dict[str, t.Any]]:  # fmt: skip
    """Return the sites that are meant, each with the version that is meant; note in *faults* what can't be.

    :arg sites: sites with C(name) and C(source), which has C(kind), C(location) and, of git, C(version).
    :arg site: name of the only site; empty for all.
    :arg version: branch, tag, commit or the version of a package; empty for what the inventory says.
    """
    sites = list(sites)
    names = [entry["name"] for entry in sites]
    if site and site not in names:
        better = did_you_mean(str(site), names)
        fix = f"Did you mean '{better}'?" if better else f"The inventory has {listed(names)}"
        faults.add("variable site", f"there is no site {shown(site)} in ntier_sites", fix)
        return []
    chosen = [dict(entry) for entry in sites if not site or entry["name"] == site]
    return [at_version(entry, str(version), faults) for entry in chosen] if version else chosen


def at_version(site: dict[str, t.Any], version: str, faults: Faults) -> dict[str, t.Any]:
    """Return a site with another version of its source."""
    source = dict(site["source"])
    where = f"variable release_version, site {site['name']}"
    if source["kind"] not in VERSIONS:
        faults.add(
            where,
            f"its source is a folder, {source['location']}, which has no versions",
            "Leave release_version out, or name another site with -e site=NAME",
        )
    elif not VERSIONS[source["kind"]].fullmatch(version):
        kind = "branch, tag or commit" if source["kind"] == "git" else "version of a package"
        faults.add(where, f"{shown(version)} is no {kind}", "Write one, such as v1.2")
    elif source["kind"] == "git":
        source["version"] = version
    else:
        source["location"] = f"{source['location'].split('==')[0]}=={version}"
    return {**site, "source": source}


def check_site(sites: t.Sequence[t.Mapping[str, t.Any]], site: t.Any, faults: Faults) -> None:
    """Note in *faults* why it can't be told which site is meant."""
    select(sites, site, "", faults)
    if not site and len(sites) > 1:
        faults.add(
            "variable site",
            f"is missing, and there are the sites {listed(entry['name'] for entry in sites)}",
            "Name the one that is meant with -e site=NAME",
        )


def check_command(sites: t.Sequence[t.Mapping[str, t.Any]], site: t.Any, command: t.Any, faults: Faults) -> None:
    """Note in *faults* why a management command can't be run as the command line says it."""
    check_site(sites, site, faults)
    fix = "Write it as in -e 'command=\"clearsessions --verbosity 2\"'"
    if not isinstance(command, str) or not command.strip():
        faults.add("variable command", "is missing, or no text", fix)
        return
    try:
        shlex.split(command)
    except ValueError:
        faults.add("variable command", f"the command {shown(command)} has a quote without its second one", fix)


def hooks_of(hooks: t.Iterable[t.Mapping[str, t.Any]], site: str, when: str) -> list[dict[str, list[str]]]:
    """Return the hooks of a site as ntier-manage takes them.

    :arg hooks: C(release_hooks), each with C(when), C(command) and perhaps C(site).
    :return: C(options) of ntier-manage, and C(words), the command and its arguments.
    """
    result = []
    for hook in hooks:
        if hook["when"] == when and (hook.get("site") or site) == site:
            words = shlex.split(hook["command"])
            own = re.fullmatch(r"(\./)?manage\.py", (words[1:] if re.fullmatch(r"python3?", words[0]) else words)[0])
            start = 1 + (words[0] in ("python", "python3"))
            result.append({"options": [] if own else ["--program"], "words": words[start:] if own else words})
    return result


def check_hooks(hooks: t.Any, names: t.Sequence[str], faults: Faults) -> None:
    """Note in *faults* hooks of sites that are not there, and commands that are none; their types are checked with those of all variables.

    :arg names: the names of the sites.
    """
    for number, hook in enumerate(hooks if isinstance(hooks, (list, tuple)) else [], 1):
        where = f"variable release_hooks, item {number}"
        if not isinstance(hook, t.Mapping):
            continue
        site, command = hook.get("site"), hook.get("command")
        if site and site not in names:
            better = did_you_mean(str(site), names)
            fix = f"Did you mean '{better}'?" if better else f"The inventory has {listed(names)}"
            faults.add(where, f"there is no site {shown(site)} in ntier_sites", fix)
        if isinstance(command, str):
            try:
                words = shlex.split(command)
            except ValueError:
                faults.add(where, f"the command {shown(command)} has a quote without its second one", "Close it")
                continue
            if not words or words in (["python"], ["python3"]):
                faults.add(
                    where, f"the command {shown(command)} is none", "Write one, such as manage.py createcachetable"
                )


def version_of(site: t.Mapping[str, t.Any]) -> str:
    """Return the version that a site's source names."""
    source = site["source"]
    return str(source["location"].split("==")[-1] if source["kind"] == "package" else source.get("version", ""))
