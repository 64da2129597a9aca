"""Write docs/variables.md and the README of each role from its argument_specs and defaults: variables.py [--check]."""

from __future__ import annotations

import ast
import json
import re
import sys
import textwrap
import typing as t
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "variables.md"

HEAD = """\
# Variables

<!-- Written by tools/variables.py; the tables of the roles come from roles/*/meta/argument_specs.yml and defaults. -->

Most inventories need one variable: `ntier_sites`. Everything below has a default, or one that is worked out for the
host.
Set a variable where Ansible looks for variables anyway: `group_vars/all.yml`, `group_vars/web.yml`,
`host_vars/box1.yml`. Types are checked for all roles at once, before any host is contacted.

## Of the cluster

| Variable | Type | Default | Meaning |
| --- | --- | --- | --- |
| `ntier_sites` | list of dict | required | The sites to serve. Every key: [A site](../README.md#a-site). |
| `ntier_address` | text, of a host | `ansible_host`, else the host's name | Address at which the other hosts reach this one. \
Firewall, NFS and PostgreSQL let a host in by it, so it has to be the one that its connections come from. |
| `ntier_dns_leads_to` | list of hosts | where visitors came until now | The hosts that the names of the sites lead to. \
Set it when that changes: [The address that visitors come to](../README.md#the-address-that-visitors-come-to). |
| `ntier_given_up` | list of hosts | none | Hosts whose rows or uploads are lost for good. Nobody waits for them any more, and the sites begin \
without, or with what you have put back from a backup. |
| `ntier_lock_wait_seconds` | int | `0` | How long a run waits for another one that holds the lock of the cluster. \
By default it stops at once: [One run at a time](../README.md#one-run-at-a-time). |
| `ntier_lock_take_over` | text, on the command line | none | The id of a run whose lock this run takes over, as the \
message of the refusal names it. Two runs at once break releases, so be sure that it is dead. |
| `ntier_memory_mb` | int, of a host | what the host reports | Memory to share out, in MB. A container sees the memory of the \
whole machine, so say it there. |
| `ntier_cores` | int, of a host | what the host reports | Processors to count with; they decide the number of workers. |
| `ntier_memory_shares` | dict, of a host | `{shares}` | Weights by which the tiers of a host share its memory. Only the \
weights that you name are replaced. |
| `ntier_secrets_file` | path on the controller | none | A file of secrets that you keep yourself; it is only read. \
Without it they are made: [Secrets](../README.md#secrets). |
| `release_version` | text, on the command line | none | Branch, tag or commit, or version of a package, that the playbook \
`release` goes by in the place of the inventory's: [Releases](../README.md#releases). |
| `rollback_to` | text, on the command line | the release before the live one | Name of the release that \
the playbook `rollback` goes to: [Roll back](../README.md#roll-back). |
| `rollback_migrations` | text, on the command line | `refuse` | What `rollback` does with \
migrations that the older release does not know: `refuse`, `reverse` or `keep`. |
| `diagram_file` | path on the controller | beside the inventory | File that the playbook `diagram` draws into. |

The collection's playbooks derive further variables with names `ntier_*`. They outrank those of `group_vars/all.yml`;
leave them alone and set the variables of the roles instead.

## Of the roles

**the cluster's** means: the playbooks hand over what follows from inventory, sites and memory. The value after *alone*
holds when the role is used by hand, without them.

`load_balancer_http_port`, `load_balancer_https_port`, `web_port`, `media_port`, `database_port`, `memcached_port`,
`pooler_port`, `pooler_listen_address` and the variables `…_provider` also reach other hosts than the one that they
are set for. Set them for all hosts, in `group_vars/all.yml`; what differs from host to host is refused.
`pooler_listen_address` has to be an address that the sites can connect to, so not `*`.

The firewall follows these ports, and `load_balancer_stats_port` with `load_balancer_stats_clients`.
"""


def plain(text: str | list[str]) -> str:
    """Return a description with Ansible's markup as Markdown, fit for a cell of a table."""
    text = " ".join([text] if isinstance(text, str) else text)
    text = re.sub(r"\b[CVOFMP]\(([^)#]*)(?:#[^)]*)?\)", r"`\1`", text)
    return " ".join(text.split()).replace("|", r"\|")


def literal(value: t.Any) -> str:
    """Return a value as one would write it in YAML."""
    return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(value, ensure_ascii=False)}`"


def type_of(option: dict[str, t.Any]) -> str:
    """Return an option's type, with that of its elements."""
    kind = option.get("type", "str")
    kind = f"{kind} of {option['elements']}" if "elements" in option else kind
    return kind + (f": {', '.join(f'`{choice}`' for choice in option['choices'])}" if "choices" in option else "")


def default_of(value: t.Any, internal: dict[str, t.Any]) -> str:
    """Return a default as the table shows it; *value* stands in the role's defaults, *internal* are its vars."""
    if not isinstance(value, str) or "{{" not in value:
        return literal(value)
    if "ntier_" not in value:
        choice = re.fullmatch(r"\{\{ (\w+)\[\w+\] \}\}", value)
        values = internal.get(choice[1]) if choice else None
        return ", ".join(f"{key}: {literal(item)}" for key, item in values.items()) if values else "see the meaning"
    fallback = re.search(r"\| default\((?P<value>.*)\) \}\}$", value.rpartition("ntier_")[2])
    # The innermost default() is that of the attribute, which follows the one of the cluster's variable.
    text = fallback["value"].rpartition("default(")[2] if fallback else "null"
    if "inventory_hostname" in text:
        return "the cluster's; alone the host's name"
    return f"the cluster's; alone {literal(yaml.safe_load(text))}"


def keys_of(options: dict[str, t.Any]) -> list[str]:
    """Return the table of a dictionary's keys."""
    lines = ["| Key | Type | Default | Meaning |", "| --- | --- | --- | --- |"]
    for name, option in options.items():
        default = (
            "required" if option.get("required") else literal(option["default"]) if "default" in option else "none"
        )
        lines.append(f"| `{name}` | {type_of(option)} | {default} | {plain(option['description'])} |")
    return lines


def specs_of(folder: Path) -> dict[str, t.Any]:
    """Return what a role says of its main entry point."""
    return yaml.safe_load((folder / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]["main"]


def role_section(folder: Path) -> list[str]:
    """Return the lines about one role on the page of variables."""
    return ["", f"### {folder.name}", "", plain(specs_of(folder)["short_description"]), "", *role_tables(folder)]


def role_readme(folder: Path) -> str:
    """Return the README of one role."""
    specs = specs_of(folder)
    description = specs.get("description", [])
    lines = [
        f"# ntier.django.{folder.name}",
        "",
        "<!-- Written by tools/variables.py from meta/argument_specs.yml. -->",
    ]
    for text in [specs["short_description"], *([description] if isinstance(description, str) else description)]:
        lines += ["", *textwrap.wrap(plain(text), 118, break_long_words=False, break_on_hyphens=False)]
    lines += ["", "The playbooks of the collection call this role. To use it in a play of your own, see"]
    lines += ["[A role alone](../../README.md#a-role-alone). The documentation starts at the collection's"]
    lines += ["[README](../../README.md).", "", "## Variables", ""]
    lines += [
        "**the cluster's** means: the playbooks set it from inventory, sites and memory. The value after *alone* is the"
    ]
    lines += ["default without them.", "", *role_tables(folder), "", "## License", "", "GPL-3.0-or-later"]
    return "\n".join(lines) + "\n"


def role_tables(folder: Path) -> list[str]:
    """Return the tables of a role's variables and of their keys."""
    specs = specs_of(folder)
    defaults = yaml.safe_load((folder / "defaults/main.yml").read_text(encoding="utf-8")) or {}
    file = folder / "vars/main.yml"
    internal = yaml.safe_load(file.read_text(encoding="utf-8")) or {} if file.exists() else {}
    lines = ["| Variable | Type | Default | Meaning |", "| --- | --- | --- | --- |"]
    inner: list[str] = []
    for name, option in specs["options"].items():
        default = "required" if option.get("required") else default_of(defaults[name], internal)
        lines.append(f"| `{name}` | {type_of(option)} | {default} | {plain(option['description'])} |")
        for path, keys in dictionaries(name, option):
            inner += ["", f"Keys of `{path}`:", "", *keys_of(keys)]
    return lines + inner


def dictionaries(path: str, option: dict[str, t.Any]) -> t.Iterator[tuple[str, dict[str, t.Any]]]:
    """Yield path and keys of every dictionary that an option describes."""
    if "options" in option:
        yield path, option["options"]
        for name, inner in option["options"].items():
            yield from dictionaries(f"{path}.{name}", inner)


def shares() -> str:
    """Return the weights of plugin_utils/sizing.py, without importing it: it needs no Ansible, but lives in a collection."""
    tree = ast.parse((ROOT / "plugins/plugin_utils/sizing.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "SHARES" and node.value:
            weights = ast.literal_eval(node.value)
            return "{" + ", ".join(f"{tier}: {weight}" for tier, weight in weights.items()) + "}"
    raise LookupError("plugins/plugin_utils/sizing.py has no SHARES any more")


def render() -> str:
    """Return the whole page of variables."""
    lines = HEAD.replace("{shares}", shares()).splitlines()
    for specs in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        lines += role_section(specs.parents[1])
    return "\n".join(lines) + "\n"


def pages() -> dict[Path, str]:
    """Return every generated page with its text."""
    roles = sorted(path.parents[1] for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"))
    return {TARGET: render(), **{folder / "README.md": role_readme(folder) for folder in roles}}


def stale() -> list[str]:
    """Return the generated pages that are missing or do not say what they should."""
    return [
        path.relative_to(ROOT).as_posix()
        for path, text in pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check say whether they are up to date."""
    if arguments == ["--check"]:
        found = stale()
        print(f"stale: {', '.join(found)}; run python tools/variables.py" if found else "all pages are up to date")
        return 1 if found else 0
    if arguments:
        sys.exit(__doc__)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
