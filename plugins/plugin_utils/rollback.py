# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which release a rollback brings live again, and what becomes of the migrations between. Pure functions over what the hosts answered."""

from __future__ import annotations

import typing as t

from ansible_collections.ntier.django.plugins.module_utils.releases import activated, by_time

from .faults import Faults, listed

#: What may become of migrations that the older release does not know.
MODES = ("refuse", "reverse", "keep")
#: The app server of releases from before there was a choice.
FIRST_SERVER = "gunicorn"


def decide(
    found: t.Mapping[str, t.Mapping[str, t.Mapping[str, t.Any]]],
    sites: t.Sequence[t.Mapping[str, t.Any]],
    site: str = "",
    to: str = "",
) -> dict[str, t.Any]:
    """Return what each host has to switch to.

    :arg found: host → site → C(live) and C(complete), as M(ntier.django.release_state) finds them. The first host answers for the schema.
    :arg sites: the sites of the cluster, C(release_sites).
    :arg site: the name of the one to roll back; may be empty when there is one alone.
    :arg to: the release to go back to; empty for the one that was live before.
    :return: C(faults), sentences; C(targets), a list with the site, its C(release), C(by), the release that knows the schema, and
        C(since), when the older one was live last; C(todo), host → the sites that are to be switched there.
    """
    faults = Faults()
    result: dict[str, t.Any] = {"faults": faults.sentences, "targets": [], "todo": {host: [] for host in found}}
    names = [entry["name"] for entry in sites]
    if site and site not in names:
        faults.add(f"-e site={site}", "there is no such site", f"There is {listed(names) or 'none'}")
    elif not site and len(names) > 1:
        faults.add("rollback", f"the cluster serves the sites {listed(names)}", f"Name one, as in -e site={names[0]}")
    if faults:
        return result
    for entry in sites:
        if entry["name"] == (site or entry["name"]):
            _decide_site(found, entry, to, faults, result)
    return result


def _decide_site(found: t.Any, site: t.Mapping[str, t.Any], to: str, faults: Faults, result: dict[str, t.Any]) -> None:
    name, where = site["name"], f"site {site['name']}"
    states = {host: answer[name] for host, answer in found.items()}
    first = next(iter(states.values()))
    order = [one for one in by_time(first["complete"]) if all(one in state["complete"] for state in states.values())]
    live = {host: state["live"] for host, state in states.items()}
    dark = [host for host in live if not live[host]]
    if dark and not to:
        faults.add(
            where, f"no release is live on {listed(dark)}", "Name one with -e rollback_to=…, or run ntier.django.site"
        )
        return
    if len(set(live.values())) > 1 and not to:
        serve = listed(f"{release} on {host}" for host, release in live.items())
        faults.add(where, f"the hosts serve different releases, {serve}", _offer(order))
        return
    earlier = [one for one in order if one not in live.values()]
    if not to and not earlier:
        faults.add(
            where,
            f"there is no release before {first['live']} that every web host has in full",
            "Put the old version into the inventory and run ntier.django.site, which builds it anew",
        )
        return
    release = to or earlier[-1]
    lacking = [host for host, state in states.items() if release not in state["complete"]]
    if lacking:
        faults.add(where, f"release {release} is not on {listed(lacking)}, or not in full", _offer(order))
        return
    record = first["complete"][release]
    built_for, asked_for = record.get("app_server") or FIRST_SERVER, site.get("app_server") or FIRST_SERVER
    serving = (first["complete"].get(first["live"]) or {}).get("app_server") or FIRST_SERVER
    if first["live"] and serving != asked_for:
        faults.add(
            where,
            f"the hosts run {serving}, and web_provider asks for {asked_for}",
            f"Run ntier.django.site, which changes it, or set web_provider back to the one with {serving}",
        )
        return
    if built_for != serving:
        faults.add(
            where,
            f"release {release} was built for {built_for}, and the hosts run {serving}",
            "Choose a release that was built for it, or set web_provider back and run ntier.django.site",
        )
        return
    others = [one for one in live.values() if one and one != release and one in first["complete"]]
    others = others or [one for one in by_time(first["complete"]) if one != release]
    target = {**site, **{key: record.get(key) for key in ("revision", "inputs")}, "release": release, "present": True}
    result["targets"].append(
        {
            "name": name,
            "kind": site["source"]["kind"],
            "release": release,
            "revision": record.get("revision"),
            "by": others[-1] if others else release,
            "since": activated(release, record),
        }
    )
    for host in states:
        if live[host] != release:
            result["todo"][host].append({**target, "live": live[host]})


def _offer(names: t.Sequence[str]) -> str:
    return (
        f"Choose with -e rollback_to=… one that they all have: {listed(names)}" if names else "They have none in common"
    )


def judge(looked: t.Sequence[t.Mapping[str, t.Any]], mode: str, allowed: bool) -> dict[str, t.Any]:
    """Return what becomes of the migrations between the schema and the older releases.

    The code that is live while something changes has to work with it. An older release that can work with the schema goes live first, and
    then what it does not know is undone. One that can't has to find the schema as it was, so there the migrations are undone first, and
    the code that is still live may fail meanwhile.

    :arg looked: of each site C(name), C(release), and C(pending), C(newer), C(breaking), C(one_way), C(lost), as ntier_migrations.py finds them.
    :arg mode: one of C(MODES).
    :arg allowed: whether visitors may see errors meanwhile.
    :return: C(faults), sentences; C(first) and C(last), names of the sites whose migrations are undone before and after the switch.
    """
    faults = Faults()
    result: dict[str, t.Any] = {"faults": faults.sentences, "first": [], "last": []}
    if mode not in MODES:
        faults.add(f"-e rollback_migrations={mode}", "there is no such way", f"There is {listed(MODES)}")
        return result
    for entry in looked:
        where, release = f"site {entry['name']}", entry["release"]
        breaks = f"Release {release} can't work with them: {'; '.join(entry['breaking'])}" if entry["breaking"] else ""
        unknown = [*entry["newer"], *entry["lost"]]
        if entry["pending"]:
            fix = "A rollback does not migrate: put its version into the inventory and run ntier.django.site"
            faults.add(where, f"release {release} has migrations that are not applied: {listed(entry['pending'])}", fix)
            continue
        if mode == "refuse" and unknown:
            ways = "-e rollback_migrations=reverse undoes them, and with them goes what was stored in what they added; =keep leaves them"
            what = f"release {release} does not know the migrations that are applied: {listed(unknown)}"
            faults.add(where, what, f"{ways}. {breaks}" if breaks else ways)
        elif mode == "reverse" and entry["one_way"]:
            fix = "Choose another release, or with -e rollback_migrations=keep leave them"
            faults.add(where, f"these migrations can't be undone: {'; '.join(entry['one_way'])}", fix)
        elif mode == "reverse" and entry["lost"]:
            fix = "Leave them with -e rollback_migrations=keep"
            faults.add(where, f"no release here has the migrations {listed(entry['lost'])}, which ran since", fix)
        elif mode != "refuse" and breaks and not allowed:
            seen = (
                "that is still live may fail until the last host has switched"
                if mode == "reverse"
                else "that goes live will fail"
            )
            fix = f"{breaks}. If that may be, add -e release_allow_breaking_migrations=true"
            faults.add(where, f"the code {seen}", fix)
        elif mode == "reverse" and entry["newer"]:
            result["first" if breaks else "last"].append(entry["name"])
    return result


def report(
    decided: t.Mapping[str, t.Any], looked: t.Sequence[t.Mapping[str, t.Any]], undone: t.Sequence[str]
) -> list[str]:
    """Return what has been done, and what to do before the next release, as lines."""
    lines = []
    asked = {entry["name"]: entry for entry in looked}
    for target in decided["targets"]:
        name, release = target["name"], target["release"]
        switched = [host for host, sites in decided["todo"].items() if name in [site["name"] for site in sites]]
        says = f"is live again on {listed(switched)}" if switched else "was live already on all hosts"
        lines.append(f"Site {name}: release {release} {says}.")
        between = [*asked[name]["newer"], *asked[name]["lost"]] if name in asked else []
        if between:
            lines.append(f"  Migrations {listed(between)}: {'undone' if name in undone else 'left as they are'}.")
        fix = {
            "git": f"set source.version to {target['revision']}",
            "package": "set source.package to that version",
        }.get(target["kind"], "put the folder back as it was")
        lines.append(
            "  The inventory does not say so: the next run of site or release brings live what it says. To stay here,"
        )
        lines.append(f"  {fix}, and what else was changed since.")
        if target["by"] != release and name not in undone:
            lines.append(f"  To go forward again: -e rollback_to={target['by']}")
    return lines
