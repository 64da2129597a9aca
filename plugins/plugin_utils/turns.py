# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The web hosts take turns in bringing releases live. What has to go back when one of them fails, and what to say then. Pure functions.

A turn's entry is a dictionary with C(name) of the site, C(release) that shall be live, and C(live), the one that was, or None.
"""

from __future__ import annotations

import re
import typing as t
from urllib.parse import urlsplit

from ansible_collections.ntier.django.plugins.module_utils.requirements import masked

from . import journal
from .faults import listed

#: What programs say when something fails that has a remedy, and the remedy.
ADVICE = (
    (
        r"No space left on device|Disk quota exceeded",
        "The disk is full. Make room on it; release_keep says how many releases stay",
    ),
    (
        r"(?i)Invalid HTTP_HOST header|ALLOWED_HOSTS|Status code was 400",
        "The site refuses its own host name. Have ALLOWED_HOSTS name its domains",
    ),
    (r"No solution found when resolving", "Correct the requirements, or give the site another python"),
    (
        r"Failed to build|Failed building wheel|error: command '?\S*(gcc|cc|g\+\+)'? failed|\bPython\.h\b|pg_config",
        "Name what of the distribution the package needs to be compiled in release_system_packages",
    ),
    (
        r"PermissionError: \[Errno 13\]|\[Errno 30\] Read-only file system",
        "The site can't write there. Have the project log to the console, and keep files below MEDIA_ROOT or in /var/lib/django/SITE",
    ),
    (r"No module named|ImproperlyConfigured", "Correct settings, requirements or environment of the site"),
    (
        r"missing from offline manifest|OfflineGenerationError",
        "Have release_hooks run manage.py compress --force after_collectstatic",
    ),
    (r"failed to look up user", "Run ntier.django.site first: the site is new on this host"),
)
Entry = t.Mapping[str, t.Any]


def staying(
    sites: t.Sequence[t.Mapping[str, t.Any]], todo: t.Sequence[Entry], found: t.Mapping[str, t.Mapping[str, t.Any]]
) -> list[dict[str, t.Any]]:
    """Return an entry for each site whose live release stays, for a host on which it has to be started anew.

    :arg sites: the sites, with what their entries have beside the release.
    :arg todo: the entries of the sites that get another release.
    :arg found: site → C(live) and C(complete), its releases on the host.
    """
    due = {entry["name"] for entry in todo}
    result = []
    for site in sites:
        state = found.get(site["name"]) or {}
        if state.get("live") and site["name"] not in due:
            record = state["complete"].get(state["live"]) or {}
            known = {key: record.get(key) for key in ("revision", "inputs")}
            result.append({**site, **known, "release": state["live"], "live": state["live"], "present": True})
    return result


def to_switch_back(
    hosts: t.Sequence[str],
    switched: t.Mapping[str, t.Sequence[Entry]],
    host: str,
    todo: t.Sequence[Entry],
    site: str,
    swapped: t.Collection[str] = (),
) -> list[dict[str, t.Any]]:
    """Return what this run has brought live and is not live on every host, now that *host* has failed.

    :arg hosts: the hosts of the run in the order of their turns.
    :arg switched: host → what has gone live there in this run.
    :arg todo: what had to go live on *host*.
    :arg site: the site that failed; empty when it was none alone, such as a balancer.
    :arg swapped: the hosts whose web server this run has changed. The old one comes back on all of them, and with it every site.
    :return: C(host) and C(sites) (entries): this host first, then the latest one before it.
    """
    kept: set[str] = set()
    if site and host == hosts[-1] and not swapped:
        done = {entry["name"] for entry in switched.get(host, [])}
        failed = {entry["name"] for entry in todo} - done
        kept = {entry["name"] for entries in switched.values() for entry in entries} - failed
    result = []
    for name in reversed(hosts[: hosts.index(host) + 1]):
        sites = [
            {key: entry[key] for key in ("name", "release", "live")}
            for entry in (todo if name == host and name in swapped else switched.get(name, []))
            if entry["name"] not in kept
        ]
        if sites or name in swapped:
            result.append({"host": name, "sites": sites})
    return result


def site_back(
    hosts: t.Sequence[str], switched: t.Mapping[str, t.Sequence[Entry]], host: str, site: str
) -> list[dict[str, t.Any]]:
    """Return the hosts on which a site goes back that has failed on *host*, where it has its old release again.

    The arguments and the value are those of L(to_switch_back).
    """
    result = []
    for name in reversed(hosts[: hosts.index(host)]):
        entries = [entry for entry in switched.get(name, []) if entry["name"] == site]
        sites = [{key: entry[key] for key in ("name", "release", "live")} for entry in entries]
        result += [{"host": name, "sites": sites}] if sites else []
    return result


def reported(
    failed: t.Mapping[str, str], late: t.Mapping[str, str], others: t.Sequence[str], parting: bool = True
) -> str:
    """Return what a user reads at the end of a run in which sites have failed.

    :arg failed: site → text, of the releases that have failed.
    :arg late: site → text, of the sites that are live, and whose hooks have failed afterwards.
    :arg others: the sites that have not failed.
    :arg parting: whether these went on.
    """
    parts = [*failed.values(), *late.values()]
    if failed and others and parting:
        word = "site is" if len(others) == 1 else "sites are"
        parts.append(f"The other {word} not affected: {listed(sorted(others))}.")
    elif failed and others:
        parts.append(
            "The web server changes for all sites at once, so no site has been switched. Correct this one first."
        )
    return "\n".join(parts)


def weak_answer(site: t.Mapping[str, t.Any], status: int, location: str = "") -> str:
    """Return what a user reads when a site's health_path has answered with something that proves little; else nothing.

    :arg site: C(name), C(health_url) and C(runtime), of which C(prefix) counts.
    :arg status: the status code of the answer.
    :arg location: where a redirect leads, as an absolute address.
    """
    if 200 <= status < 300:
        return ""
    prefix = (site.get("runtime") or {}).get("prefix") or ""
    asked, target = urlsplit(site["health_url"]), urlsplit(location)
    said = f"redirects to {location}" if location else f"answers {status}"
    example = ""
    same = target.hostname in (asked.hostname, site.get("health_host"))
    if location and same and target.path.startswith(f"{prefix}/") and target.path != asked.path:
        path = target.path.removeprefix(prefix)
        example = f", such as {path}, if that page shows what visitors see"
    return (
        f"WARNING: Site {site['name']}: its health_path {asked.path.removeprefix(prefix)} {said}. This proves that the application has started, and not"
        " that any page works: a release whose pages all fail would go live. Set health_path of the site to a page that answers 200 without"
        f" signing in and reads the database{example}."
    )


def headline(failure: t.Mapping[str, t.Any], host: str) -> list[str]:
    """Return which step of what has failed, and why."""
    where = f"Site {failure['site']} on host {host}" if failure["site"] else f"Host {host}"
    reasons = [f"  {line}".rstrip() for line in str(failure["reason"]).splitlines() if line.strip()]
    return [f"{where}: {failure['step']} failed.", *reasons]


def told(
    failure: t.Mapping[str, t.Any],
    host: str,
    hosts: t.Sequence[str],
    todos: t.Mapping[str, t.Sequence[Entry]],
    switched: t.Mapping[str, t.Sequence[Entry]],
    back: t.Sequence[t.Mapping[str, t.Any]],
    stuck: t.Mapping[str, str],
    swapped: t.Mapping[str, str] | None = None,
) -> str:
    """Return what a user reads when a host fails in its turn.

    :arg failure: C(site) (empty when it was none alone), C(step), C(reason) (lines of a program), C(gone), whether the host
        can't be reached, C(balanced), whether there are balancers.
    :arg todos: host → entries that had to go live there; a host that has a release already has no entry for it.
    :arg back: the value of L(to_switch_back).
    :arg stuck: host → why it could not be switched back.
    :arg swapped: host → the web provider that it had before this run changed it.
    """
    lines = headline(failure, host)
    reverted = {(entry["host"], site["name"]) for entry in back for site in entry["sites"]}
    unknown = [*stuck, *([host] if failure.get("gone") and host not in stuck else [])]
    entries = {entry["name"]: entry for name in reversed(hosts) for entry in todos.get(name, [])}
    for name in sorted(entries, key=lambda name: (name != failure["site"], name)):
        by_release: dict[str | None, list[str]] = {}
        for member in hosts:
            own = next((entry for entry in todos.get(member, []) if entry["name"] == name), None)
            new = any(entry["name"] == name for entry in switched.get(member, [])) and (member, name) not in reverted
            if member not in unknown:
                live = own["live"] if own and not new else entries[name]["release"]
                by_release.setdefault(live, []).append(member)
        lines += _lived(name, by_release, len(hosts), failure["site"], entries[name]["release"])
    went = [entry["host"] for entry in back if entry["host"] != host and entry["host"] not in stuck]
    if went:
        lines.append(f"{listed(reversed(went))} had the new release already, and went back.")
    again = [name for name in hosts if name in (swapped or {}) and name not in unknown]
    if again:
        lines.append(f"The web provider is {(swapped or {})[again[0]]} again on {listed(again)}.")
    for name, reason in stuck.items():
        lines.append(f"{name} could not be switched back: {reason}")
    if unknown:
        them = "it" if len(unknown) == 1 else "them"
        lines.append(f"What is live on {listed(unknown)} is not certain. Mend {them}, and release again.")
    if failure.get("gone") and failure.get("balanced"):
        lines.append(f"Until then the balancers send {host} no visitors.")
    return "\n".join(lines)


def not_released(
    site: t.Mapping[str, t.Any],
    host: str,
    hosts: t.Sequence[str],
    step: str,
    why: str,
    applied: t.Sequence[str] = (),
    breaking: t.Sequence[str] = (),
) -> str:
    """Return what a user reads when a site's release can't be built or installed: nothing of it is live on any host.

    :arg site: C(name) and C(live), the release that is live, or None.
    :arg why: lines of a program.
    :arg applied: the migrations of the release that have run.
    :arg breaking: those of them that the live release can't work with, and why.
    """
    lines = headline({"site": site["name"], "step": step, "reason": why}, host)
    if applied:
        shown = [*applied[:12], *([f"{len(applied) - 12} more"] if len(applied) > 12 else [])]
        lines.append(f"Its migrations have run, and stay applied: {listed(shown)}.")
    if not site.get("live"):
        return "\n".join([*lines, "The site has no live release yet."])
    place = "" if len(hosts) == 1 else ". Nothing of the site has been switched on any host"
    lines.append(f"Release {site['live']} stays live{place}.")
    if applied and breaking:
        lines.append("It can't fully work with these migrations. Correct the project, and release again soon:")
        lines += [f"  {line}" for line in breaking[:12]]
    elif applied:
        lines.append("It works with these migrations.")
    return "\n".join(lines)


def reason(result: t.Mapping[str, t.Any], count: int = 20) -> str:
    """Return why a task failed: the last lines of its program, else its message; of a loop, those of the items that failed.

    A remedy follows where the program's words name a fault that has one. Addresses are without their passwords.

    :arg result: the result of the task.
    """
    lines: list[str] = []
    everything = ""
    for item in [entry for entry in result.get("results") or [] if entry.get("failed")] or [result]:
        command = item.get("cmd") if "results" in result else None
        lines += [" ".join(command) if isinstance(command, (list, tuple)) else str(command)] if command else []
        output = "\n".join(text for text in (str(item.get(key) or "").strip() for key in ("stderr", "stdout")) if text)
        said = [line for line in (output or str(item.get("msg") or "")).splitlines() if line.strip()]
        lines += said[-count:]
        # What led to the exception at the end may be far above it.
        chains = journal.tracebacks([line.rstrip() for line in output.splitlines()])[-1:]
        lines += [
            line for chain in chains for line in chain.causes() if line.removeprefix("caused by ") not in said[-count:]
        ]
        everything += output or str(item.get("msg") or "")
    remedy = next((sentence for symptom, sentence in ADVICE if re.search(symptom, everything)), None)
    return masked("\n".join([*lines, *([f"{remedy}."] if remedy else [])]))


def _lived(name: str, by_release: t.Mapping[str | None, t.Sequence[str]], count: int, failed: str, new: str) -> list[str]:  # fmt: skip
    """Return for one site which release is live on which hosts, in a sentence each."""
    lines = []
    for release, members in by_release.items():
        site = "" if name == failed else f"Site {name}: "
        place = "" if count == 1 else f" on {listed(members)}"
        if release is None:
            lines.append(f"{site or 'The site '}{'it ' if site else ''}has no live release yet{place}.")
        else:
            word = "release" if site else "Release"
            lines.append(f"{site}{word} {release} {'is' if release == new else 'stays'} live{place}.")
    return lines
