# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check the role variables that a user has set against the roles' argument_specs, all of them at once and before any host."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from .commandline import written
from .faults import Faults, did_you_mean, listed, shown, type_name

_WORDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a dictionary",
    "path": "a path",
    "raw": "anything",
}
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str, int, float),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list, tuple),
    "dict": (dict,),
    "path": (str,),
    "raw": (object,),
}


def load_specs(roles: pathlib.Path) -> dict[str, dict[str, t.Any]]:
    """Return variable → its argument spec, of the entry point C(main) of every role below *roles*."""
    specs: dict[str, dict[str, t.Any]] = {}
    for path in sorted(roles.glob("*/meta/argument_specs.yml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        specs.update(content["argument_specs"]["main"].get("options") or {})
    return specs


def check_value(variable: str, value: t.Any, spec: t.Mapping[str, t.Any]) -> tuple[str, str] | None:
    """Return what is wrong with a value and how to mend it, or None."""
    kind = spec.get("type", "str")
    if value is None:
        return "is empty", f"Give it {_WORDS[kind]}, or leave it out"
    # Ansible's own check takes "no" for a boolean and "80" for a number, and leaves them the texts that they are: true in a template.
    slip = isinstance(value, bool) and kind != "bool" and "choices" not in spec
    fits = isinstance(value, _TYPES[kind])
    if slip or not fits:
        fix = f"It has to be {_WORDS[kind]}{_unquoted(variable, value, kind)}"
        return f"is {shown(value)}, {type_name(value)}", fix
    if kind == "list" and spec.get("elements", "dict") != "dict":
        for item in value:
            wrong = check_value(variable, item, {"type": spec["elements"]})
            if wrong:
                return f"has an item that {wrong[0]}", wrong[1]
    result = ArgumentSpecValidator({variable: {**spec, "required": False, "default": None}}).validate({variable: value})
    if not result.error_messages:
        return None
    choices = spec.get("choices")
    if choices and value not in choices:
        return (
            f"is {shown(value)}",
            f"Use {' or '.join(map(str, choices)) if len(choices) < 3 else 'one of ' + listed(choices)}",
        )
    return f"is {shown(value)}", "; ".join(message.rstrip(".") for message in result.error_messages)


#: Texts that mean a boolean, whatever their case: those that the filter C(bool) reads.
BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def from_text(value: str, spec: t.Mapping[str, t.Any]) -> t.Any:
    """Return what a text from the command line means for a variable; the text itself when that is not clear.

    C(-e NAME=VALUE) can give nothing but texts. Whoever reads a boolean or a number converts it: C(bool) and C(int) do with each text what this does.
    """
    kind = spec.get("type", "str")
    if kind == "bool":
        return BOOLEANS.get(value.lower(), value)
    if kind in ("int", "float") and re.fullmatch(r"-?(0|[1-9][0-9]*)", value):
        return int(value)
    if kind == "float" and re.fullmatch(r"-?(0|[1-9][0-9]*)\.[0-9]+", value):
        return float(value)
    return value


def _unquoted(variable: str, value: t.Any, kind: str) -> str:
    """Return how to write what came as a text, as all of the form NAME=VALUE does."""
    if not isinstance(value, str):
        return ""
    if kind in ("list", "dict"):
        return _container(variable, value, kind)
    if kind not in ("int", "float", "bool") or not re.fullmatch(r"[\w.+-]+", value):
        return ""
    meant = yaml.safe_load(value)
    if not isinstance(meant, _TYPES[kind]) or isinstance(meant, bool) != (kind == "bool"):
        return ""
    return f": leave its quotes out, and on the command line write -e '{json.dumps({variable: meant})}'"


def _container(variable: str, value: str, kind: str) -> str:
    """Return how to write a list or a dictionary that came as a text."""
    try:
        meant = yaml.safe_load(value)
    except yaml.YAMLError:
        return ""
    if kind == "list" and isinstance(meant, str) and re.fullmatch(r"[\w.:-]+(, ?[\w.:-]+)*", value):
        meant = [item.strip() for item in value.split(",")]
    if not isinstance(meant, _TYPES[kind]):
        return ""
    return f": on the command line write {written({variable: meant})}"


def hosts_of(names: t.Sequence[str]) -> str:
    """Return hosts as a message names them."""
    return f"host {names[0]}" if len(names) == 1 else f"hosts {listed(names)}"


def check_variables(
    hosts: t.Mapping[str, t.Mapping[str, t.Any]],
    specs: t.Mapping[str, t.Any],
    origin: t.Callable[[t.Any], str | None],
    faults: Faults,
) -> set[str]:
    """Note in *faults* every role variable that has a wrong type or choice, and return their names.

    :arg hosts: host → the variables that the user has set for it.
    :arg specs: the value of L(load_specs).
    :arg origin: tells from which file and line a value comes, or None.
    """
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for host, variables in hosts.items():
        for variable, value in variables.items():
            wrong = check_value(variable, value, specs[variable]) if variable in specs else None
            if wrong:
                found.setdefault((variable, *wrong, origin(value) or ""), []).append(host)
    for (variable, what, fix, place), names in found.items():
        where = f"{place}: variable {variable}" if place else f"variable {variable} ({hosts_of(names)})"
        faults.add(where, what, fix)
    return {variable for variable, *_rest in found}


def check_agreement(hosts: t.Mapping[str, t.Mapping[str, t.Any]], names: t.Iterable[str], faults: Faults) -> None:
    """Note in *faults* variables that reach other hosts, too, and are not the same for all of them.

    :arg hosts: host → the variables that the user has set for it.
    :arg names: the variables in question.
    """
    for name in names:
        values = {host: variables.get(name) for host, variables in hosts.items()}
        if len({repr(value) for value in values.values()}) < 2:
            continue
        first, *_others = values
        other = next(host for host in values if repr(values[host]) != repr(values[first]))
        said = [f"{'not set' if values[host] is None else shown(values[host])} for {host}" for host in (first, other)]
        faults.add(
            f"variable {name}",
            f"is {said[0]} and {said[1]}, and reaches more hosts than the one that it is set for",
            "Set it for all hosts, in group_vars/all.yml",
        )


def misspelt(names: t.Iterable[str], specs: t.Mapping[str, t.Any], public: t.Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of a variable that nothing reads and the one that it most likely was meant to be.

    Looked at are only names that are nearly those of a role's or the cluster's variables.
    """
    known = {*specs, *public}
    prefixes = tuple({name.split("_")[0] + "_" for name in known})
    pairs = []
    for name in names:
        if name not in known and name.startswith(prefixes):
            better = did_you_mean(name, known)
            if better:
                pairs.append((name, better))
    return pairs
