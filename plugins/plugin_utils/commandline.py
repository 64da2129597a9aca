# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What C(-e) on the command line says, and what Ansible would drop of it. Pure functions.

Ansible splits C(-e NAME=VALUE) at spaces once more, after the shell. Of C(-e command="migrate polls 0002") it keeps C(command=migrate), and puts the
rest into a variable that nobody reads.
"""

from __future__ import annotations

import json
import re
import shlex
import typing as t

from ansible.parsing.splitter import parse_kv, split_args

from .faults import Faults, listed

#: The name under which Ansible keeps the words that are no assignment.
DROPPED = "_raw_params"
#: Names of variables whose values no message shows.
SECRET = re.compile(r"pass|secret|token|key|credential", re.IGNORECASE)


def assigned(option: str) -> dict[str, str]:
    """Return the variables of one C(-e NAME=VALUE …), each a text, with dropped words as C(_raw_params); nothing for files, YAML and JSON."""
    if not option or option[0] in "@[{/.":
        return {}
    return {str(name): str(value) for name, value in parse_kv(option).items()}


def texts(options: t.Iterable[str]) -> dict[str, str]:
    """Return the variables that come as text from all options C(-e); the last one wins, as it does for Ansible."""
    return {name: value for option in options for name, value in assigned(option).items() if name != DROPPED}


def written(values: t.Mapping[str, t.Any]) -> str:
    """Return how to write variables so that a shell and Ansible leave their values as they are."""
    return f"-e {shlex.quote(json.dumps(dict(values), ensure_ascii=False))}"


def check(options: t.Iterable[str], known: t.Container[str], command: bool, faults: Faults) -> None:
    """Note in *faults* every C(-e) of which Ansible would drop words, or take words of a value for variables.

    :arg options: the arguments of all C(-e).
    :arg known: the names of the collection's variables.
    :arg command: whether the run reads the variable C(command), whose words may look like assignments.
    """
    for option in options:
        found = assigned(option)
        lost = [found[DROPPED]] if DROPPED in found else []
        names = [name for name in found if name != DROPPED]
        strange = [name for name in names if not name.isidentifier()]
        if command and "command" in names:
            strange += [
                name for name in names if name.isidentifier() and name not in known and not name.startswith("ansible_")
            ]
        if not lost and not strange:
            continue
        if SECRET.search(option):
            faults.add(
                "an option -e",
                f"Ansible ends each value at a space, and words after {listed(names) or 'it'} would be dropped",
                """Quote such a value twice, as in -e 'NAME="VALUE"'""",
            )
            continue
        what = [f"Ansible splits it at spaces, and would drop {listed(map(shlex.quote, lost))}"] if lost else []
        if strange:
            as_what = "for a variable" if len(strange) == 1 else "for variables"
            what.append(
                f"{'' if lost else 'Ansible splits it at spaces,'} and would take {listed(map(repr, strange))} {as_what}"
            )
        values = meant(option, known)
        faults.add(
            f"option -e {shlex.quote(option)}",
            "".join(what),
            f"Write {written(values)}" if values else "Write -e NAME=VALUE, without spaces around the equals sign",
        )


def meant(option: str, known: t.Container[str]) -> dict[str, str]:
    """Return the variables that an option most likely was meant to set: a value reaches up to the next variable; empty when it begins with none."""
    values: dict[str, list[str]] = {}
    current = ""
    for word in split_args(option):
        name, equals, value = word.partition("=")
        begins = bool(equals) and name.isidentifier() and (name in known or current != "command")
        if begins:
            current = name
            values[name] = [value]
        elif not current:
            return {}
        else:
            values[current].append(word)
    return {name: words[0].strip("'\"") if len(words) == 1 else " ".join(words) for name, words in values.items()}
