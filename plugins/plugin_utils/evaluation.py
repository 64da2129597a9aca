# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Evaluate the inventory's variables as its hosts do, and say in plain words what can't be evaluated."""

from __future__ import annotations

import re
import typing as t

from ansible.errors import AnsibleError

from .secrets import PLACEHOLDER_ID
from .topology import TIERS

#: Variables by which Ansible finds a host: no facts.
_CONNECTION = re.compile(r"ansible_(host|port|user|password|connection|ssh_|become|python_|private_|shell_|remote_)")
_KINDS = {
    "dict": "a dictionary",
    "list": "a list",
    "tuple": "a list",
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "a boolean",
    "NoneType": "nothing",
}


def first_host(groups: t.Mapping[str, t.Sequence[str]]) -> str | None:
    """Return the first host of the inventory that serves a tier; without one the first of all, and None of an empty inventory."""
    names = list(groups.get("all", []))
    serving = {name for tier in TIERS for name in groups.get(tier, [])}
    return next((name for name in names if name in serving), names[0] if names else None)


class Variables:
    """The variables that each host of the inventory would have in a task.

    The checks run on C(localhost), which does not have those of the inventory's groups, nor C(inventory_dir).
    """

    def __init__(self, variables: t.Mapping[str, t.Any], play: t.Iterable[str]) -> None:
        """Prepare for C(of).

        :arg variables: those of the task.
        :arg play: the names of those that its play sets, which outrank the inventory's.
        """
        self._hostvars = variables["hostvars"]
        own = self._hostvars.raw_get(variables["inventory_hostname"])
        self._common = {name: value for name, value in variables.items() if name not in own}
        self._play = {name: variables[name] for name in play if name in variables}
        self._found: dict[str | None, dict[str, t.Any]] = {None: dict(variables)}

    def of(self, host: str | None) -> dict[str, t.Any]:
        """Return the variables of a host, not evaluated yet; those of the task for None."""
        if host not in self._found:
            self._found[host] = {**self._common, **self._hostvars.raw_get(host), **self._play}
        return self._found[host]


def on_inventory(variables: t.Mapping[str, t.Any], task: t.Any) -> dict[str, t.Any]:
    """Return the variables of the first host that serves a tier, for a task that may run on C(localhost)."""
    return Variables(variables, play_variables(task)).of(first_host(variables["groups"]))


def play_variables(task: t.Any) -> list[str]:
    """Return the names of the variables that the play of a task sets."""
    play = getattr(task, "play", None)
    return list(play.get_vars()) if play else []


def cluster_id(templar: t.Any, variables: t.Mapping[str, t.Any]) -> str:
    """Return the id of the inventory's cluster, empty when none has been made; makes none."""
    looking = templar.copy_with_new_env(available_variables={**variables, "ansible_check_mode": True})
    found = str(looking.template(variables["ntier_secrets"])["cluster"]["id"])
    return "" if found == PLACEHOLDER_ID else found


def plain(value: t.Any) -> t.Any:
    """Return lists and dictionaries that evaluate lazily as plain ones."""
    if isinstance(value, t.Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def reason(error: AnsibleError) -> str:
    """Return Ansible's words for why a template can't be evaluated, in one line and without names of Python."""
    said = " ".join(str(error.message).split()).rstrip(".")
    if "Recursive loop" in said:
        return "the template refers to itself"
    said = re.sub(r" Use -v+ to see paths searched", "", said).rstrip(".")
    said = re.sub(r"^(Error rendering template|Syntax error in template): ", "", said)
    said = re.sub(r"^object of type '(?:dict|\w*Vars\w*)' has no attribute ", "a dictionary has no key ", said)
    said = re.sub(r"^object of type '(?:list|tuple)' has no attribute ", "a list has no item ", said)
    said = re.sub(r"^object of type '(\w+)'", lambda found: _KINDS.get(found[1], "a value"), said)
    if said.startswith(("unsupported operand", "can only", "must be", "'")) and " is undefined" not in said:
        said = re.sub(
            r"""['"]?\b(dict|list|tuple|str|int|float|bool|NoneType)\b['"]?""", lambda found: _KINDS[found[1]], said
        )
        said = said.replace("unsupported operand type(s) for", "no value comes of")
    return said


def later(value: t.Any, variables: t.Mapping[str, t.Any], roles: t.Container[str]) -> str:
    """Return what a template refers to that only is there on a host or in a role: a fact, or a variable of a role that is not set; else an empty text.

    Variables that it refers to are looked through, too.

    :arg value: the template, or a container of some.
    :arg variables: the variables that it is evaluated with.
    :arg roles: the names of the roles' variables.
    """
    seen: set[str] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, t.Mapping):
            waiting += list(item.values())
        elif isinstance(item, (list, tuple)):
            waiting += list(item)
        elif isinstance(item, str) and "{" in item:
            for name in re.findall(r"[A-Za-z_]\w*", item):
                if name in seen:
                    continue
                seen.add(name)
                if name in ("ansible_facts", "ansible_local") or (
                    name.startswith("ansible_") and name not in variables
                ):
                    return name
                if name not in variables and (name in roles or name.startswith("__")):
                    return name
                if name in variables and name != "hostvars":
                    waiting.append(variables[name])
    return ""
