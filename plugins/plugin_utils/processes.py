# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A site's background work, ``ntier_sites[].processes``: checked, given to the hosts, and as units of systemd. Pure functions."""

from __future__ import annotations

import re
import shlex
import typing as t

from .faults import Faults, did_you_mean, listed, shown, type_name
from .sizing import WORKER_MB

#: Keys of one process: name → (type, default). ``...`` as default means that the key is required.
PROCESS_KEYS: dict[str, tuple[type, t.Any]] = {
    "name": (str, ...),
    "command": (str, ...),
    "count": (int, 1),
    "hosts": (str, "all"),
    "schedule": (str, ""),
    "memory_mb": (int, 0),
    "stop_seconds": (int, 60),
}
HOSTS = ("all", "one")
#: What a Python with Django needs to start at all.
LEAST_MB = 32
#: From this part of the limit on the kernel slows a process down and takes pages back, before it kills it at the limit.
HIGH = 0.9

_NAME = re.compile(r"^[a-z][a-z0-9_-]{0,30}$")
_PROGRAM = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: Words that only a shell understands.
_SHELL = ("|", "||", "&", "&&", ";", "<", ">", ">>", "2>&1")

# The grammar of OnCalendar=, as systemd.time(7) has it: weekdays, date, time and time zone, each of which may be left out.
_SHORTHANDS = (
    "minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "semiannually", "semi-annually", "biannually", "bi-annually",
    "yearly", "annually", "anually",
)  # fmt: skip
_DAY = "(mon(day)?|tue(sday)?|wed(nesday)?|thu(rsday)?|fri(day)?|sat(urday)?|sun(day)?)"
_DAYS = re.compile(rf"^{_DAY}((\.\.|-|,){_DAY})*,?$", re.IGNORECASE)
_PART = r"(\*|\d+(\.\.\d+)?)(/\d+)?"
_PARTS = rf"{_PART}(,{_PART})*"
_SECOND = r"(\*|\d+(\.\d+)?(\.\.\d+(\.\d+)?)?)(/\d+(\.\d+)?)?"
_DATE = re.compile(rf"^(?:(?P<year>{_PARTS})-)?(?P<month>{_PARTS})[-~](?P<day>{_PARTS})$")
_TIME = re.compile(rf"^(?P<hour>{_PARTS}):(?P<minute>{_PARTS})(?::(?P<second>{_SECOND}(,{_SECOND})*))?$")
_ZONE = re.compile(r"^(UTC|[A-Z][A-Za-z_]+(/[A-Za-z0-9_+-]+)+)$")
_RANGES = {
    "year": (1970, 2199),
    "month": (1, 12),
    "day": (1, 31),
    "hour": (0, 23),
    "minute": (0, 59),
    "second": (0, 59),
}


def normalise_processes(given: t.Any, site: str, faults: Faults) -> list[dict[str, t.Any]]:
    """Return every process with all keys of L(PROCESS_KEYS) set; note what is wrong in *faults*.

    :arg given: the value of the site's key ``processes``, a list.
    :arg site: how a message names the site.
    """
    result: list[dict[str, t.Any]] = []
    names: set[str] = set()
    for number, raw in enumerate(given or [], 1):
        if not isinstance(raw, dict):
            faults.add(
                site, f"the process number {number} is {type_name(raw)}, not a dictionary", "Start it with '- name: …'"
            )
            continue
        process = _normalise(raw, f"{site}, process {raw.get('name') or f'number {number}'}", faults)
        if process["name"] and process["name"] in names:
            faults.add(site, f"two processes have the name '{process['name']}'", "Give each a name of its own")
        names.add(process["name"])
        result.append(process)
    return result


def _normalise(raw: dict[str, t.Any], where: str, faults: Faults) -> dict[str, t.Any]:
    for key in raw:
        if key not in PROCESS_KEYS:
            better = did_you_mean(str(key), PROCESS_KEYS)
            fix = f"Did you mean '{better}'?" if better else f"A process has the keys {listed(PROCESS_KEYS)}"
            faults.add(where, f"has the unknown key '{key}'", fix)
    process: dict[str, t.Any] = {}
    for key, (kind, default) in PROCESS_KEYS.items():
        value = raw.get(key, None if default is ... else default)
        if value is None or value == "":
            if default is ...:
                faults.add(where, f"has no '{key}'", _REQUIRED_FIX[key])
            elif key in raw:
                faults.add(where, f"'{key}' is empty", "Give it a value, or leave the key out")
            value = "" if kind is str else default
        elif not isinstance(value, kind) or isinstance(value, bool):
            faults.add(where, f"'{key}' is {shown(value)}, {type_name(value)}", f"It has to be {type_name(kind())}")
            value = "" if default is ... else default
        process[key] = value
    _check(process, raw, where, faults)
    return process


_REQUIRED_FIX = {
    "name": "Give it a short name, such as worker",
    "command": "Say what it runs, such as command: celery -A mysite worker",
}


def _check(process: dict[str, t.Any], raw: dict[str, t.Any], where: str, faults: Faults) -> None:
    name = process["name"]
    if name and not _NAME.fullmatch(name):
        faults.add(
            where,
            f"the name {shown(name)} can't be part of a unit's name",
            "Use 1 to 31 lower-case letters, digits, '_' and '-', a letter first",
        )
    if process["command"]:
        _check_command(process["command"], where, faults)
    if process["hosts"] not in HOSTS:
        faults.add(
            where,
            f"hosts is {shown(process['hosts'])}",
            "Write 'all' for every web host, or 'one' for the first of them alone",
        )
    for key, least in (("count", 1), ("memory_mb", 0), ("stop_seconds", 1)):
        if process[key] < least:
            faults.add(where, f"'{key}' is {process[key]}", f"The least is {least}")
    if 0 < process["memory_mb"] < LEAST_MB:
        faults.add(
            where,
            f"{process['memory_mb']} MB are too few for a Python to start",
            f"Give it {LEAST_MB} at the least, or leave memory_mb out for no limit",
        )
    if process["schedule"]:
        for key in ("count", "hosts"):
            if key in raw:
                faults.add(
                    where, f"has a schedule and '{key}'", "What runs at times runs once, on one host: leave the key out"
                )
        if not is_schedule(process["schedule"]):
            faults.add(
                where,
                f"systemd would not take the schedule {shown(process['schedule'])}",
                "Write it as OnCalendar of systemd, such as daily, '*-*-* 03:00' or 'Mon..Fri 08..18:00/15'",
            )


def _check_command(command: str, where: str, faults: Faults) -> None:
    if _CONTROL.search(command):
        faults.add(
            where, f"the command {shown(command)} is no single line", "Write it in one line, as with '>-' in YAML"
        )
        return
    try:
        words = shlex.split(command)
    except ValueError:
        faults.add(where, f"the command {shown(command)} has a quote that does not end", "Close it, or take it out")
        return
    if not words or not _PROGRAM.fullmatch(words[0]):
        faults.add(
            where,
            f"the command {shown(command)} does not start with the name of a program",
            "Name one of the site's virtual environment, without its path, such as celery, or manage.py",
        )
    elif words == ["manage.py"]:
        faults.add(where, "the command is manage.py alone", "Say which command of it, such as manage.py clearsessions")
    for word in words:
        if word in _SHELL:
            faults.add(
                where,
                f"the command has '{word}', and no shell reads it",
                "Start one program; several steps go into a management command of the project's own",
            )


def is_schedule(text: str) -> bool:
    """Return whether systemd takes a text for C(OnCalendar=)."""
    words = text.split()
    if not words or _CONTROL.search(text):
        return False
    if len(words) > 1 and _ZONE.fullmatch(words[-1]):
        words.pop()
    if len(words) == 1 and words[0].lower() in _SHORTHANDS:
        return True
    found = False
    for pattern in (_DAYS, _DATE, _TIME):
        match = pattern.fullmatch(words[0]) if words else None
        if match:
            if not all(_in_range(kind, value) for kind, value in match.groupdict().items() if value):
                return False
            words.pop(0)
            found = True
    return found and not words


def _in_range(kind: str, value: str) -> bool:
    least, most = _RANGES[kind]
    # What stands behind a slash is a step, and what stands behind a point a part of a second: both are no moments.
    moments = [int(moment) for moment in re.findall(r"\d+", re.sub(r"/[\d.]+|(?<=\d)\.\d+", "", value))]
    return all(least <= moment <= most or (kind == "year" and moment < 100) for moment in moments)


# --- who runs what ------------------------------------------------------------------------------------------------


def sites_on(topology: t.Mapping[str, t.Any], host: str) -> list[dict[str, t.Any]]:
    """Return the sites that have background work on a host: C(name), and C(processes) with what runs there."""
    web = topology["tiers"]["web"]
    if host not in web["hosts"]:
        return []
    found = [
        {
            "name": site["name"],
            "processes": [
                {key: process[key] for key in ("name", "command", "count", "schedule", "memory_mb", "stop_seconds")}
                for process in site["processes"]
                if host == web["leader"] or (process["hosts"] == "all" and not process["schedule"])
            ],
        }
        for site in topology["sites"]
    ]
    return [site for site in found if site["processes"]]


def memory_on(topology: t.Mapping[str, t.Any], host: str) -> int:
    """Return the MB that the processes of a host may take. What runs at times only does so in what stays free."""
    return sum(
        process["count"] * (process["memory_mb"] or WORKER_MB)
        for site in sites_on(topology, host)
        for process in site["processes"]
        if not process["schedule"]
    )


# --- as units -----------------------------------------------------------------------------------------------------


def units(sites: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return what the units of systemd say, for each process of each site.

    :arg sites: the value of C(worker_sites): C(name) and C(processes), with C(name), C(command) and further keys of L(PROCESS_KEYS).
    :return: for each process C(site), C(name), C(file) (of the service), C(timer) (empty without a schedule), C(units) (what is
        switched on), C(exec_start), C(schedule), C(memory_mb), C(memory_high_mb) and C(stop_seconds).
    """
    result = []
    for site in sites:
        for process in site["processes"]:
            unit = f"django-{site['name']}-{process['name']}"
            schedule = process.get("schedule") or ""
            memory = process.get("memory_mb") or 0
            timer = f"{unit}.timer" if schedule else ""
            instances = [f"{unit}@{number}.service" for number in range(1, (process.get("count") or 1) + 1)]
            result.append(
                {
                    "site": site["name"],
                    "name": process["name"],
                    "file": f"{unit}.service" if schedule else f"{unit}@.service",
                    "timer": timer,
                    "units": [timer] if schedule else instances,
                    "exec_start": exec_start(site["name"], process["command"], "1" if schedule else "%i"),
                    "schedule": schedule,
                    "memory_mb": memory,
                    "memory_high_mb": int(memory * HIGH),
                    "stop_seconds": process.get("stop_seconds") or PROCESS_KEYS["stop_seconds"][1],
                }
            )
    return result


def exec_start(site: str, command: str, number: str = "%i") -> str:
    """Return a command as C(ExecStart=) takes it: run by ntier-manage, every word as it was written.

    :arg command: as the user writes it, with quotes as in a shell; C({number}) stands for the number of the process.
    :arg number: what takes its place, as systemd reads it.
    """
    words = shlex.split(command)
    way = [site, *words[1:]] if words[0] == "manage.py" else ["--program", site, *words]
    return " ".join(["/usr/local/bin/ntier-manage", *(_quoted(word).replace("{number}", number) for word in way)])


def _quoted(word: str) -> str:
    for character, escaped in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(character, escaped)
    return f'"{word}"'
