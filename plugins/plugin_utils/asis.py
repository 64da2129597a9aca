# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the hosts say of themselves beside what the inventory says of them. Pure functions.

Each host keeps a record of what it served when C(site) last ended there, in C(/etc/ansible/facts.d/ntier.fact). It names all
members of the cluster, so that a host that vanished from the inventory is still known by the others.
"""

from __future__ import annotations

import shlex
import types
import typing as t

from .faults import Faults, listed

RECORD = "/etc/ansible/facts.d/ntier.fact"
#: Tiers that keep what can't be made again, and what that is.
KEEPERS = {"database": "the sites' rows", "media": "the sites' uploads"}


def record(
    topology: t.Mapping[str, t.Any], cluster: str, host: str, doors: t.Mapping[str, t.Any] | None = None
) -> dict[str, t.Any]:
    """Return what a host is to remember.

    :arg topology: the value of C(topology.build).
    :arg cluster: the cluster's id.
    :arg doors: where visitors come to, the value of L(doors).
    :return: C(name) of the host, C(cluster), C(figure), C(serves) (tiers), C(members) (tier → names of all its hosts), C(doors) (names of the hosts that
        visitors come to).
    """
    doors = doors or {"at": entrances(topology), "staying": []}
    hosts = {tier: list(entry["hosts"]) for tier, entry in topology["tiers"].items()}
    # A balancer that stays in service until visitors come elsewhere.
    hosts["load_balancer"] += doors["staying"]
    return {
        "name": host,
        "cluster": cluster,
        "figure": topology["figure"],
        "serves": [tier for tier, names in hosts.items() if host in names],
        "members": {tier: names for tier, names in hosts.items() if names},
        "doors": doors["at"],
    }


def heard(records: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, t.Mapping[str, t.Any]]:
    """Return the records of the hosts that serve something; all of them, where none does.

    A host that has left is told nothing any more while it is out of the inventory, and what it remembers may be long past.
    """
    return {host: found for host, found in records.items() if found.get("serves")} or dict(records)


def entrances(topology: t.Mapping[str, t.Any]) -> list[str]:
    """Return the hosts that visitors shall come to: the outermost tier's."""
    return list(topology["tiers"]["load_balancer"]["hosts"] or topology["tiers"]["web"]["hosts"])


#: Says where visitors come to by now; nobody but the user knows it.
SAYING = "ntier_dns_leads_to"


def doors(
    topology: t.Mapping[str, t.Any],
    records: t.Mapping[str, t.Mapping[str, t.Any]],
    said: t.Sequence[str],
    faults: Faults,
) -> dict[str, t.Any]:
    """Return where visitors come to, beside where they shall; note in *faults* hosts at which nobody would answer them.

    DNS follows nobody at once. A host that visitors come to goes on answering until the user says that they come elsewhere.

    :arg records: host → the record that it keeps, of hosts of this cluster.
    :arg said: the value of C(ntier_dns_leads_to).
    :return: C(at), the hosts that visitors come to; C(to), those that they shall come to; C(passing), web hosts among the first that pass visitors on
        to the balancers among the second; C(begun), whether they do already; C(staying), balancers that stay in service meanwhile.
    """
    new = entrances(topology)
    records = heard(records)
    members = [found.get("members", {}) for found in records.values()]
    balancers = {host for entry in members for host in entry.get("load_balancer", [])}
    kept = list(
        dict.fromkeys(
            host
            for found, entry in zip(records.values(), members, strict=True)
            for host in found.get("doors") or entry.get("load_balancer") or entry.get("web") or []
        )
    )
    at = list(said) or kept or new
    result: dict[str, t.Any] = {"at": at, "to": new, "passing": [], "begun": False, "staying": []}
    for host in at:
        strange = host not in [*kept, *new, *topology["tiers"]["web"]["hosts"]]
        if host in new:
            continue
        gone = host not in topology["hosts"]
        until = f"until DNS leads to {listed(new)}; then say {SAYING}: [{', '.join(new)}]"
        if strange:
            faults.add(
                f"variable {SAYING}",
                f"names {host}, and no visitor came there or shall come there",
                f"Name {listed(dict.fromkeys([*kept, *new]))}, where they come to by now",
            )
        elif host in balancers and host in topology["retired"]:
            result["staying"].append(host)
        elif host in balancers:
            what = "is not in the inventory any more" if gone else "leaves the group load_balancer"
            faults.add(
                f"host {host}",
                f"{what}, and visitors come to its address, where nobody would answer",
                f"Put it into the group retired, where it stays in service {until}",
            )
        elif host in topology["tiers"]["web"]["hosts"]:
            result["passing"].append(host)
        else:
            what = "is not in the inventory any more" if gone else "leaves the group web"
            behind = f"Keep it in the group web {until}"
            alone = f"Put it back into the group web; behind a balancer it may go. If DNS leads to {listed(new)} already, say {SAYING}: [{', '.join(new)}]"
            faults.add(
                f"host {host}",
                f"{what}, and visitors come to its address, where nobody would answer",
                behind if topology["tiers"]["load_balancer"]["hosts"] else alone,
            )
    onward = topology["tiers"]["load_balancer"]["hosts"]
    passed = [
        host
        for host in at
        if host in kept and host in topology["tiers"]["web"]["hosts"] and host not in [*balancers, *onward]
    ]
    lost = sorted(balancers.difference(onward))
    if passed and lost and (onward or not said):
        back = f"Keep {listed(lost)} in the group load_balancer until DNS leads there; then say {SAYING}: [{', '.join(lost)}]"
        faults.add(
            f"host {', '.join(passed)}",
            f"passes visitors on to {listed(lost)}, which would not answer any more, and addresses that begin with https would lead nowhere",
            back if onward else f"{back}. To give https up, say {SAYING}: [{', '.join(passed)}]",
        )
    result["begun"] = bool(result["passing"]) and not balancers.isdisjoint(new)
    return result


#: Names hosts whose data is lost for good; nobody but the user knows it.
GIVING_UP = "ntier_given_up"
#: The answers of hosts none of which has answered.
NOBODY: t.Mapping[str, t.Any] = types.MappingProxyType({})
#: Bytes of a copy in a second, as slow as disks and networks are that one meets.
COPIED = 50 * 10**6
#: The same of rows without their files, whose indexes are made anew.
COPIED_ROWS = 10 * 10**6
#: Seconds of a handover beside the copy: preparing hosts, checkpoints, cleaning up.
AROUND = 60


#: The major version of PostgreSQL that a system packages, as in the role database.
PACKAGED: t.Mapping[str, str] = types.MappingProxyType(
    {"Debian 12": "15", "Debian 13": "17", "Ubuntu 22.04": "14", "Ubuntu 24.04": "16"}
)


def needed(size: int) -> int:
    """Return the room that a copy of a server's data needs: itself, and what is written while it is made."""
    return size + size // 10 + (512 << 20)


def leaving(
    topology: t.Mapping[str, t.Any],
    records: t.Mapping[str, t.Mapping[str, t.Any]],
    staying: t.Sequence[str] = (),
) -> dict[str, list[str]]:
    """Return what hosts serve and shall not any more: host → tiers, those of hosts that are in the inventory.

    :arg records: host → the record that it keeps, of hosts of this cluster.
    :arg staying: balancers that stay in service, see L(doors).
    """
    found = {}
    for host, kept in records.items():
        tiers = [*topology["hosts"].get(host, {}).get("tiers", []), *(["load_balancer"] if host in staying else [])]
        left = [tier for tier in kept.get("serves", []) if tier not in tiers]
        if left and host in topology["hosts"]:
            found[host] = left
    return found


def check(
    topology: t.Mapping[str, t.Any],
    cluster: str,
    records: t.Mapping[str, t.Mapping[str, t.Any]],
    faults: Faults,
    databases: t.Mapping[str, t.Mapping[str, t.Any]] | None = NOBODY,
    media: t.Mapping[str, t.Mapping[str, t.Any]] | None = None,
    given_up: t.Sequence[str] = (),
    silent: t.Sequence[str] = (),
) -> dict[str, dict[str, t.Any]]:
    """Note in *faults* what would lose data: hosts of another cluster, data that the inventory leaves behind, and hosts that should have data and have none.

    :arg cluster: the id of the inventory's cluster; empty when it has none yet.
    :arg records: host → the record that it keeps, for hosts that have one.
    :arg databases: host → what the module C(database_state) has found there, for the hosts that were asked; None for a playbook
        that moves nothing and has not asked.
    :arg media: host → what the module C(media_state) has found there; None where the media may not move.
    :arg given_up: the value of C(ntier_given_up).
    :arg silent: hosts of the inventory that were not asked, because of C(--limit).
    :return: C(database), see L(database_move), and C(media), see L(media_move); each empty where nothing moves. Without *databases* that of the database
        has C(from) and C(to) alone.
    """
    own = {}
    for host, found in records.items():
        if cluster and found.get("cluster") == cluster:
            own[host] = found
            check_name(topology, host, found, faults)
        elif not found.get("cluster"):
            faults.add(
                f"host {host}",
                f"has a {RECORD} in which nothing can be read, as a power failure leaves it",
                "If the host belongs to this inventory, remove that file there, and the next run writes it anew",
            )
        else:
            faults.add(
                f"host {host}",
                f"belongs to another cluster: its {RECORD} names {found['cluster']}, and this inventory's secrets"
                f" {cluster or 'none yet'}",
                "Use the inventory, with the secrets file, that built the host; or, if nothing on it is needed, remove that file there",
            )
    members = [found.get("members", {}) for found in heard(own).values()]
    check_given_up(topology, given_up, {"database": databases or {}, "media": media or {}}, faults)
    moves: dict[str, dict[str, t.Any]] = {"database": {}, "media": {}}
    for tier, what in KEEPERS.items():
        known = (host for entry in members for host in entry.get(tier, []))
        found = (databases if tier == "database" else media) or {}
        # What a host has counts, whoever has given it up.
        lost = [host for host in given_up if not holds(tier, found.get(host, {}))]
        keepers = dict.fromkeys(host for host in known if host not in lost)
        wanted = topology["tiers"][tier]["hosts"]
        left = [host for host in keepers if host not in wanted]
        if not left:
            if tier == "database" and databases is not None:
                check_rows(wanted, keepers, databases, silent, lost, faults)
            elif tier == "media" and media is not None:
                check_uploads(wanted, keepers, media, silent, lost, faults)
            continue
        alone = len(left) == len(wanted) == 1 and (tier == "database" or media is not None)
        # Where the run that moved them was cut off as the hosts were about to remember it, some name the new host.
        alone = alone and {*keepers} <= {*left, *wanted} and all(len(entry.get(tier, [])) <= 1 for entry in members)
        if alone and left[0] in topology["hosts"]:
            webs = dict.fromkeys(host for entry in members for host in entry.get("web", []))
            if tier == "media":
                moves[tier] = media_move(topology, left[0], wanted[0], list(webs), media or {}, faults, silent, lost)
            elif databases is None:
                moves[tier] = {"from": left[0], "to": wanted[0]}
            else:
                moves[tier] = database_move(topology, left[0], wanted[0], list(webs), databases, faults, silent)
            continue
        new = [host for host in wanted if host not in keepers]
        instead = f", and {listed(new)} would start without any" if new else ""
        gone = f"is without {listed(left)} now, where {what} of this cluster are{instead}"
        if alone:
            faults.add(f"group {tier}", gone, f"Put {left[0]} into the group retired, and they move off it; or back into the group {tier}")  # fmt: skip
        else:
            faults.add(f"group {tier}", gone, f"Put {listed(left)} back into the group {tier}: this version does not move them yet")  # fmt: skip
    check_room(moves, databases or {}, media or {}, faults)
    return moves


def check_room(
    moves: t.Mapping[str, t.Mapping[str, t.Any]],
    databases: t.Mapping[str, t.Mapping[str, t.Any]],
    media: t.Mapping[str, t.Mapping[str, t.Any]],
    faults: Faults,
) -> None:
    """Note in *faults* a disk that has room for the rows and for the uploads, and not for both."""
    rows, uploads = moves["database"], moves["media"]
    if not rows.get("bytes") or not uploads or uploads["moved"] or rows["to"] != uploads["to"]:
        return
    host = rows["to"]
    there, files = databases[host], media[host]
    if there["system"] == databases[rows["from"]]["system"] or there.get("disk") != files.get("disk"):
        return
    need = needed(rows["bytes"]) + uploads["bytes"] + uploads["bytes"] // 10 + uploads["files"] * 4096
    if files["free"] + files["bytes"] < need:
        faults.add(
            f"host {host}",
            f"has {files['free'] >> 20} MB free for the databases and the uploads together, and they need {need >> 20} MB",
            "Free some, give the host a larger disk, or move one of them to another host",
        )


def check_name(topology: t.Mapping[str, t.Any], host: str, found: t.Mapping[str, t.Any], faults: Faults) -> None:
    """Note in *faults* a host that answers from another one's machine, or whose name has changed although others go by it.

    :arg found: the record that the host keeps. Older ones have no name.
    """
    was = found.get("name") or host
    serves = [tier for tier in found.get("serves", []) if tier in KEEPERS]
    if was == host or not (was in topology["hosts"] or serves or was in found.get("doors", [])):
        return
    if was in topology["hosts"]:
        faults.add(
            f"host {host}",
            f"answers from the machine that was {was} when site ended there last",
            f"See that ansible_host of {host} and of {was} lead where they led to before; if the machine is a copy of {was}, remove {RECORD} on it",
        )
    else:
        faults.add(
            f"host {host}",
            f"is the machine that was {was} when site ended there last, and what the hosts know of each other goes by names",
            f"Call it {was} again",
        )


def holds(tier: str, found: t.Mapping[str, t.Any]) -> bool:
    """Return whether a host has what a tier keeps.

    :arg found: what the tier's module has found there; empty when the host was not asked.
    """
    if tier == "media":
        return bool(found.get("sites"))
    return found.get("what", "none") != "none" and bool(found["databases"])


def check_given_up(
    topology: t.Mapping[str, t.Any],
    given_up: t.Sequence[str],
    found: t.Mapping[str, t.Mapping[str, t.Mapping[str, t.Any]]],
    faults: Faults,
) -> None:
    """Note in *faults* hosts that are given up and lack nothing: when they go one day, nobody would look for what they have.

    :arg found: tier → host → what the tier's module has found there.
    """
    for host in given_up:
        tiers = [tier for tier in KEEPERS if host in topology["tiers"][tier]["hosts"] and host in found[tier]]
        if tiers and all(holds(tier, found[tier][host]) for tier in tiers):
            faults.add(
                f"variable {GIVING_UP}",
                f"names {host}, which has all that it shall keep",
                "Take the host out of it: what it has would not be looked for any more when it goes",
            )


def beginning(
    topology: t.Mapping[str, t.Any],
    found: t.Mapping[str, t.Mapping[str, t.Mapping[str, t.Any]]],
    moves: t.Mapping[str, t.Mapping[str, t.Any]],
) -> dict[str, list[str]]:
    """Return the hosts that begin without what they shall keep: tier → hosts.

    On a new cluster that is as it should be. Where every host is another one than before, nobody is left to say that it is not.

    :arg found: tier → host → what the tier's module has found there, of the hosts that were asked.
    :arg moves: the value of L(check): what moves to a host is not missing there.
    """
    empty = {
        tier: [
            host
            for host in topology["tiers"][tier]["hosts"]
            if host in found[tier] and not moves[tier] and not holds(tier, found[tier][host])
        ]
        for tier in KEEPERS
    }
    return {tier: hosts for tier, hosts in empty.items() if hosts}


#: What to do where data is gone that hosts remember.
LOST = "When it is lost for good, say {variable}: [{host}], and the sites begin without it"


def cache_change(topology: t.Mapping[str, t.Any], records: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """Return how the memcached hosts change; nothing when they don't, or when nobody remembers any.

    Each host has its share of a ring (consistent hashing), so a key stays where it is when the next point of both rings belongs to a host of both.

    :arg records: host → the record that it keeps.
    :return: C(from), C(to), lists of hosts, and C(lost), the share of the keys that is asked for elsewhere, between 0 and 1.
    """
    before = list(
        dict.fromkeys(
            host for found in heard(records).values() for host in found.get("members", {}).get("memcached", [])
        )
    )
    after = topology["tiers"]["memcached"]["hosts"]
    if not before or {*before} == {*after}:
        return {}
    return {"from": before, "to": list(after), "lost": 1 - len({*before} & {*after}) / len({*before, *after})}


def check_answers(
    topology: t.Mapping[str, t.Any],
    records: t.Mapping[str, t.Mapping[str, t.Any]],
    silent: t.Mapping[str, str],
    refusing: t.Mapping[str, str],
    faults: Faults,
    given_up: t.Sequence[str] = (),
    tests: t.Mapping[str, str] = NOBODY,
) -> None:
    """Note in *faults* the hosts that can't be asked, and what those keep that can't be reached: nothing is changed as long as that can't be seen.

    Of lost data is talked only where a host that answers remembers that the silent one has some: a host that was never built has none.

    :arg records: host → the record that it keeps, of the hosts of this cluster that answered.
    :arg silent: host → what Ansible says of it, of the hosts that did not.
    :arg refusing: the same of the hosts that were reached, and on which the asking failed.
    :arg tests: host → where Ansible looks for it, and how to try that.
    """
    for host, reason in refusing.items():
        faults.add(
            f"host {host}",
            f"can't be asked: {_in_a_line(reason)}",
            "See that ansible_user becomes root there without a question, or give ansible_become_password, and that Ansible's modules run there",
        )
    members = [found.get("members", {}) for found in heard(records).values()]
    for host, reason in silent.items():
        keeps = [what for tier, what in KEEPERS.items() if any(host in entry.get(tier, []) for entry in members)]
        kept = [] if host in given_up else keeps
        built = any(host in names for entry in members for names in entry.values())
        reason = _in_a_line(reason)
        runs = f"See that it runs{tests.get(host, ', and that ansible_host leads to it')}"
        if kept:
            faults.add(
                f"host {host}",
                f"can't be reached, and is where {listed(kept)} are: {reason}",
                f"{runs}. Nothing is changed without it. A machine in its place needs their backup first."
                f" When it is lost for good, take it out of the inventory, and out of retired, too, and say {GIVING_UP}: [{host}]: the sites begin without it",
            )
        elif built or host in given_up:
            faults.add(
                f"host {host}",
                f"can't be reached: {reason}",
                f"{runs}. A host that is gone for good is taken out of the inventory, and out of retired, too",
            )
        else:
            faults.add(f"host {host}", f"can't be reached: {reason}", runs)


def _in_a_line(reason: str) -> str:
    """Return what Ansible says of a connection without its introductions and line breaks."""
    said = " ".join(reason.split()).removeprefix("Task failed: ")
    return said.removeprefix("EOF on stream; last 100 lines received: ").rstrip(".")


def way(
    host: str,
    connection: str,
    address: str,
    port: t.Any,
    user: str,
    options: t.Sequence[str],
) -> str:
    """Return where Ansible looks for a host, and how to try that, for L(check_answers).

    :arg port: empty for that of SSH.
    :arg user: empty for that of the controller's own SSH configuration.
    :arg options: those of the command C(ansible).
    """
    if connection in ("ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh"):
        at = f" and takes SSH connections at {address}, port {port or 22}, for {f'the user {user}' if user else 'your user'}"
    else:
        at = f" and answers by way of {connection} at {address}"
    return f"{at}: {shlex.join(['ansible', *options, host, '-m', 'ansible.builtin.ping'])} tries that"


def moved_to(host: str, handover: t.Mapping[str, str], steps: t.Container[str]) -> str:
    """Return where a host's data has gone by what it has written down of the last move; empty when it has not."""
    source, _dash, target = handover.get("id", "").partition(f"{host}-")
    return target if not source and handover.get("step") in steps else ""


def switching_to(host: str, media: t.Mapping[str, t.Mapping[str, t.Any]]) -> str:
    """Return where a host's uploads are on their way to when a move ended while hosts changed over, so that some write to the one and some to the other.

    :arg media: host → what the module C(media_state) has found there. The one that leads the move writes down how far it is: the old one, or a web host
        that gets the files.
    :return: the host's name, empty when no move ended there.
    """
    own = moved_to(host, media[host]["move"], ["switching"]) if host in media else ""
    leading = (name for name, found in media.items() if found["move"] == {"id": f"{host}-{name}", "step": "switching"})
    return own or next(leading, "")


#: What is wrong where uploads are on their way from one host to another.
BETWEEN = "is handing the uploads over to {target}, in a run that did not come to its end, and some hosts may write theirs there already"


def check_new(tier: str, host: str, elsewhere: t.Sequence[str], silent: t.Sequence[str], faults: Faults) -> None:
    """Note in *faults* a host that nobody remembers as a keeper, and that would begin with nothing although there may be something.

    :arg elsewhere: hosts out of the tier that an earlier run has made keepers.
    """
    if elsewhere:
        faults.add(
            f"host {host}",
            f"would start without {KEEPERS[tier]}, for which an earlier run has made room on {listed(elsewhere)}",
            f"Put {listed(elsewhere)} into the group {tier} until site has come to its end; they move after that. If nobody needs what is there, say"
            f" {GIVING_UP}: [{host}]",
        )
    elif silent:
        faults.add(
            f"host {host}",
            f"has none of {KEEPERS[tier]} yet, and whether {listed(silent)} has them was not asked",
            "Run it without --limit",
        )


def check_rows(
    wanted: t.Sequence[str],
    keepers: t.Container[str],
    databases: t.Mapping[str, t.Mapping[str, t.Any]],
    silent: t.Sequence[str],
    given_up: t.Sequence[str],
    faults: Faults,
) -> None:
    """Note in *faults* a database host without a database, although there is one elsewhere, or there was one.

    :arg wanted: the hosts of the group database; *keepers*, those of them that hosts remember as such. For the rest see L(check).
    """
    for host in wanted:
        found = databases.get(host)
        if found is None:
            continue
        target = moved_to(host, found["handover"], ["promoting", "promoted", "done"])
        begun = moved_to(host, found["handover"], ["pausing", "fenced", "promoting"])
        if begun and found["what"] != "primary" and databases.get(begun, {}).get("what") != "primary":
            faults.add(
                f"host {host}",
                f"is handing the databases over to {begun}, in a run that did not come to its end, and is no primary meanwhile",
                f"Put {begun} into the group database and run site to its end; they move back after that",
            )
            continue
        if holds("database", found) and (
            found["what"] == "primary" or databases.get(target, {}).get("what") != "primary"
        ):
            check_twins(host, databases, faults)
            continue
        if host in given_up:
            continue
        # A site that has a record has a database, so what has none now has lost it.
        elsewhere = [
            name for name, other in databases.items() if name not in wanted and other["ours"] and other["databases"]
        ]
        if target:
            faults.add(
                f"host {host}",
                f"has handed the databases over to {target}, in a run that did not come to its end, and would start without them",
                f"Put {target} into the group database and run site to its end; they move back after that",
            )
        elif host in keepers:
            faults.add(
                f"host {host}",
                "shall have the sites' rows, as the hosts remember, and has no database: it is another machine, or was emptied",
                f"See that ansible_host leads to the machine that has them, or put its data back. {LOST.format(variable=GIVING_UP, host=host)}",
            )
        else:
            check_new("database", host, elsewhere, silent, faults)


def check_uploads(
    wanted: t.Sequence[str],
    keepers: t.Container[str],
    media: t.Mapping[str, t.Mapping[str, t.Any]],
    silent: t.Sequence[str],
    given_up: t.Sequence[str],
    faults: Faults,
) -> None:
    """Note in *faults* a media host without the uploads, although they are elsewhere, or were here. See L(check_rows)."""
    for host in wanted:
        found = media.get(host)
        if found is None:
            continue
        remote = found["client"] and found["mounted"].startswith(("nfs4 ", "autofs "))
        halfway = switching_to(host, media)
        halfway = "" if halfway in given_up else halfway
        if halfway:
            faults.add(
                f"host {host}",
                BETWEEN.format(target=halfway),
                f"Put {halfway} into the group media and run site to its end; they move back after that. When it is lost for good, with what was written there,"
                f" say {GIVING_UP}: [{halfway}]",
            )
        if halfway or found["page"] or host in given_up:
            continue
        target = moved_to(host, found["move"], ["switched", "done"])
        elsewhere = [name for name, other in media.items() if name not in wanted and other["page"]]
        if remote and (target or host in keepers):
            faults.add(
                f"host {host}",
                f"shall have the sites' uploads, and uses those of {target or 'another host'}",
                f"Put {target or 'the host that has them'} into the group media and run site to its end; they move back after that",
            )
        elif host in keepers:
            faults.add(
                f"host {host}",
                "shall have the sites' uploads, as the hosts remember, and /srv/media is not the folder that was there: its disk is not mounted, or it is"
                " another machine",
                f"Mount the disk, or see that ansible_host leads to the machine that has them. {LOST.format(variable=GIVING_UP, host=host)}",
            )
        else:
            check_new("media", host, elsewhere, silent, faults)


def check_twins(host: str, databases: t.Mapping[str, t.Mapping[str, t.Any]], faults: Faults) -> None:
    """Note in *faults* the servers that are primaries of the same data as a host's primary.

    :arg databases: host → what the module C(database_state) has found there.
    """
    own = databases[host]
    twins = [
        name
        for name, other in databases.items()
        if name != host and other["what"] == own["what"] == "primary" and other["system"] == own["system"]
    ]
    for name in twins:
        faults.add(
            "group database",
            f"the servers of {host} and {name} are primaries of the same data, and each may hold rows that the other lacks",
            "Stop the one that no site uses, compare the two, and move its data directory away",
        )


def database_move(
    topology: t.Mapping[str, t.Any],
    old: str,
    new: str,
    webs: t.Sequence[str],
    databases: t.Mapping[str, t.Mapping[str, t.Any]],
    faults: Faults,
    silent: t.Sequence[str] = (),
) -> dict[str, t.Any]:
    """Return how the database gets from one host to another; what can't be is noted in *faults*.

    :arg webs: the web hosts of now.
    :arg silent: see L(check).
    :return: C(from), C(to), C(poolers) (the web hosts whose clients wait), C(bytes), C(seconds) (a guess), C(logical), whether rows move
        without their files; empty where the data has moved already.
    """
    missing = [host for host in (old, new) if host not in databases]
    # Their clients wait, and go on with the new server.
    missing += [host for host in webs if host in silent and host not in missing]
    if missing:
        faults.add(
            "group database",
            f"moves from {old} to {new}, and there is no answer from {listed(missing)}",
            "Run it without --limit, and see that all of them answer",
        )
        return {}
    here, there = databases[old], databases[new]
    ours = here["handover"].get("id") == f"{old}-{new}"
    step = here["handover"].get("step", "") if ours else ""
    if step == "done" and here["what"] == "none":
        return {}
    before = len(faults)
    check_twins(old, databases, faults)
    other = "" if ours else moved_to(old, here["handover"], ["pausing", "fenced", "promoting", "promoted"])
    if other and here["what"] != "primary":
        faults.add(
            f"host {old}",
            f"is handing the databases over to {other}, in a run that did not come to its end, and is no primary meanwhile",
            f"Put {other} into the group database and run site to its end; they move to {new} after that",
        )
    elif step in ("", "done") and (here["what"] != "primary" or not here.get("running", True)):
        state = {"none": "has no data", "standby": "follows another server"}.get(here["what"], "does not run")
        faults.add(
            f"host {old}",
            f"its PostgreSQL shall hand the databases over to {new}, and {state}",
            "Start it there, or put the host that has the rows into the group database",
        )
    if step in ("", "done") and there["databases"] and there["system"] != here["system"]:
        faults.add(
            f"host {new}",
            f"its PostgreSQL has {there['databases']} databases of its own, in whose place those of {old} would come",
            "Drop them if nobody needs them, or take another host",
        )
    logical = bool(here.get("logical") or there.get("logical"))
    if there["version"] and here["version"] and there["version"] != here["version"]:
        has = f"has PostgreSQL {there['version']}, and {old} has {here['version']}"
        if int(there["version"]) < int(here["version"]):
            faults.add(
                f"host {new}", f"{has}, which is newer", f"Use a host with PostgreSQL {here['version']} or a newer one"
            )
        elif not logical:
            faults.add(
                f"host {new}",
                f"{has}, whose data it can't read",
                f"Use a host with PostgreSQL {here['version']}, or set handover_logical: true, which moves rows and definitions in the place of files",
            )
    # What follows the old server already has its copy.
    if there["system"] != here["system"] and there["free"] < needed(here["bytes"]):
        faults.add(
            f"host {new}",
            f"has {there['free'] >> 20} MB free for the databases, and they need {needed(here['bytes']) >> 20} MB",
            "Free some, or give the host a larger disk",
        )
    if len(faults) > before:
        return {}
    return {
        "from": old,
        "to": new,
        "poolers": [host for host in webs if host in topology["hosts"]],
        "bytes": here["bytes"],
        "seconds": AROUND + here["bytes"] // (COPIED_ROWS if logical else COPIED),
        "logical": logical,
    }


#: Small files that are copied in a second, each written to the disk of the other host before the next.
FILES = 200


def media_move(
    topology: t.Mapping[str, t.Any],
    old: str,
    new: str,
    webs: t.Sequence[str],
    media: t.Mapping[str, t.Mapping[str, t.Any]],
    faults: Faults,
    silent: t.Sequence[str] = (),
    given_up: t.Sequence[str] = (),
) -> dict[str, t.Any]:
    """Return how the uploads and static files get from one host to another; what can't be is noted in *faults*.

    :arg webs: the web hosts of now.
    :arg media: host → what the module C(media_state) has found there.
    :arg given_up: hosts whose data is lost for good, see L(check).
    :return: C(from), C(to), C(back) (whether a web host gets the files, that uses them over the network now), C(followers) (other web hosts that do),
        C(bytes), C(files), C(seconds) (a guess), C(moved) (whether all that is left is cleaning up); empty where it can't be.
    """
    back = new in webs
    others = [host for host in webs if host in topology["hosts"] and host not in (old, new)]
    # A web host that has the files itself writes them where the new one does not see it.
    if back and (others or old in webs or topology["tiers"]["load_balancer"]["hosts"]):
        faults.add(
            "group media",
            f"would move from {old} to the web host {new}, which this version does for one web host without a balancer alone",
            f"Put {old} back into the group media, or take the balancer and the other web hosts out first, with a run of their own",
        )
        return {}
    missing = [host for host in (old, new) if host not in media]
    # Who uses the files takes part, and who asks for them is led to the new place.
    asking = [*others, *topology["tiers"]["load_balancer"]["hosts"]]
    missing += [host for host in dict.fromkeys(asking) if host in silent and host not in missing]
    if missing:
        faults.add(
            "group media",
            f"moves from {old} to {new}, and there is no answer from {listed(missing)}",
            "Run it without --limit, and see that all of them answer",
        )
        return {}
    here, there = media[old], media[new]
    leader = there if back else here
    ours = leader["move"].get("id") == f"{old}-{new}"
    led = not leader["mounted"] if back else leader["mounted"].startswith("nfs4 ")
    moved = ours and leader["move"].get("step") in ("switched", "done") and led
    begun = moved or (ours and leader["move"].get("step") in ("copying", "switching"))
    before = len(faults)
    halfway = switching_to(old, media)
    if halfway not in ("", new, *given_up):
        faults.add(
            f"host {old}",
            BETWEEN.format(target=halfway),
            f"Put {halfway} into the group media and run site to its end; they move to {new} after that. When it is lost for good, with what was written"
            f" there, say {GIVING_UP}: [{halfway}]",
        )
    elif not begun and here["mounted"]:
        faults.add(
            f"host {old}",
            f"has {here['mounted']} mounted on /srv/media, and only a plain folder can be handed over",
            "Mount a disk on /srv instead; or, if another host has the files, put that one into the group media",
        )
    elif not begun and not here["there"]:
        faults.add(
            f"host {old}",
            f"shall hand the uploads over to {new}, and has no folder /srv/media",
            "Put the host that has them into the group media",
        )
    elif not begun and not here["page"]:
        faults.add(
            f"host {old}",
            f"shall hand the uploads over to {new}, and its /srv/media is not the folder that was there: perhaps its disk is not mounted",
            "Mount it, and run it again",
        )
    strangers = [name for name in here["sites"] if name not in [site["name"] for site in topology["sites"]]]
    if not begun and strangers:
        faults.add(
            f"host {old}",
            f"has files of {listed(strangers)}, which ntier_sites does not name, and they would stay behind",
            f"Put {listed(strangers)} back into ntier_sites until the move is over, or move those folders out of /srv/media",
        )
    if not back and there["mounted"].startswith("nfs4 "):
        faults.add(
            f"host {new}",
            f"shall keep the uploads, and uses those of another host ({there['mounted']})",
            "Stop and disable srv-media.automount and srv-media.mount there, if no site runs on it, or take another host",
        )
    if not begun and there["files"]:
        faults.add(
            f"host {new}",
            f"has {there['files']} files of its own below /srv/media, among which those of {old} would come",
            "Move them away if nobody needs them there, or take another host",
        )
    room = here["bytes"] + here["bytes"] // 10 + here["files"] * 4096
    if not moved and there["free"] + there["bytes"] < room:
        faults.add(
            f"host {new}",
            f"has {there['free'] >> 20} MB free for the uploads, and they need {room >> 20} MB",
            "Free some, or give the host a larger disk",
        )
    if not moved and there["inodes"] + there["files"] < here["files"]:
        faults.add(
            f"host {new}",
            f"has room for {there['inodes']} files, and {old} has {here['files']}",
            "Make the file system anew with more inodes, or take another host",
        )
    if len(faults) > before:
        return {}
    return {
        "from": old,
        "to": new,
        "back": back,
        "followers": others,
        "bytes": here["bytes"],
        "files": here["files"],
        "seconds": AROUND + here["bytes"] // COPIED + here["files"] // FILES,
        "moved": moved,
    }
