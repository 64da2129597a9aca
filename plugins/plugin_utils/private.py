# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the controller keeps for itself: inventories, secrets, keys, passwords. None of it belongs to a release."""

from __future__ import annotations

import os
import re
import typing as t

from ansible import constants, context
from ansible.errors import AnsibleError

from .sources import INVENTORY
from .wiring import resolve_path

_PASSWORD = "a file with a password"
_KEY = "a private key"
#: Options of the command line that name files.
_OPTIONS = {
    "vault_password_files": _PASSWORD,
    "become_password_file": _PASSWORD,
    "connection_password_file": _PASSWORD,
    "private_key_file": _KEY,
}
#: The same in the configuration: F(ansible.cfg) or the environment.
_SETTINGS = {
    "CONFIG_FILE": "Ansible's configuration",
    "DEFAULT_VAULT_PASSWORD_FILE": _PASSWORD,
    "BECOME_PASSWORD_FILE": _PASSWORD,
    "CONNECTION_PASSWORD_FILE": _PASSWORD,
    "DEFAULT_PRIVATE_KEY_FILE": _KEY,
    "DEFAULT_LOG_PATH": "Ansible's log",
    "CACHE_PLUGIN_CONNECTION": "facts of hosts",
    "GALAXY_TOKEN_PATH": _PASSWORD,
}
#: Variables of connections that may name files, some of them amid other options.
_CONNECTION = re.compile(r"ansible_\w*(?:file|key|args|cert|pem|pass)\w*")
_VARIABLE_FOLDERS = ("group_vars", "host_vars")


class Paths(dict[str, str]):
    """Path → what it is, for what exists on this controller."""

    def note(self, path: t.Any, what: str, *bases: str) -> None:
        """Note a file or folder; a relative one is looked for from the current folder on, and from each of *bases*."""
        if not path or not isinstance(path, (str, os.PathLike)):
            return
        for base in dict.fromkeys((os.getcwd(), *bases)):
            full = resolve_path(str(path), base)
            try:
                if os.path.lexists(full):
                    self.setdefault(full, what)
            except ValueError:  # no path at all
                return

    def note_variables(self, folder: str) -> None:
        """Note the folders with variables beside an inventory or a playbook, and what their links lead to."""
        for name in _VARIABLE_FOLDERS:
            top = os.path.join(folder, name)
            self.note(top, INVENTORY)
            for path, folders, files in os.walk(top):
                for entry in (*folders, *files):
                    if os.path.islink(os.path.join(path, entry)):
                        self.note(os.path.join(path, entry), INVENTORY)

    def note_inventory(self, source: t.Any) -> None:
        """Note one source of an inventory: a file or a folder."""
        source = str(source)
        if "," in source or not os.path.lexists(source):
            return
        self.note(source, INVENTORY)
        folder = source
        if os.path.isdir(source):
            for name in os.listdir(source):
                if os.path.islink(os.path.join(source, name)):
                    self.note(os.path.join(source, name), INVENTORY)
        else:
            folder = os.path.dirname(os.path.abspath(source))
            self.note(os.path.realpath(source), INVENTORY)
        self.note_variables(folder)

    def note_words(self, text: t.Any, what: str, *bases: str) -> None:
        """Note every file that a line of options names; never a folder, since any word may be the name of one."""
        if isinstance(text, str):
            for word in (text, *re.split(r"[\s=\"']+", text)):
                named = Paths()
                named.note(word, what, *bases)
                for path in named:
                    if os.path.isfile(path):
                        self.setdefault(path, what)


def default_picture(sources: t.Sequence[t.Any]) -> t.Iterator[str]:
    """Return where the playbook C(diagram) draws, for each source of the inventory."""
    for source in map(str, sources):
        if os.path.isdir(source):
            yield os.path.normpath(source) + ".svg"
            yield os.path.join(source, "cluster.svg")
        elif os.path.isfile(source):
            yield os.path.splitext(os.path.normpath(source))[0] + ".svg"
            yield os.path.join(os.path.dirname(source), "cluster.svg")


def paths(variables: t.Mapping[str, t.Any], evaluate: t.Callable[[str], t.Any]) -> dict[str, str]:
    """Return what this controller keeps for itself, absolute path → what it is.

    :arg variables: those of the task, with C(hostvars) and C(ansible_inventory_sources).
    :arg evaluate: gives a variable's value; None where there is none, or where it can't be evaluated.
    """
    found = Paths()
    options = context.CLIARGS
    directory = str(evaluate("ntier_inventory_directory") or evaluate("inventory_dir") or os.getcwd())
    sources = [
        *(variables.get("ansible_inventory_sources") or ()),
        *(options.get("inventory") or constants.DEFAULT_HOST_LIST or ()),
    ]
    for source in dict.fromkeys(map(str, sources)):
        found.note_inventory(source)
    for path in default_picture(sources):
        found.note(path, "the cluster's picture")
    _note_hosts(found, variables, directory)
    for name in ("ntier_secrets_path", "ntier_secrets_file"):
        found.note(evaluate(name), "the secrets", directory)
    _note_sites(found, evaluate("ntier_sites") or evaluate("release_sites"), directory)
    for name, what in _OPTIONS.items():
        value = options.get(name)
        for path in value if isinstance(value, (list, tuple)) else [value]:
            found.note(path, what)
    for label in (*(options.get("vault_ids") or ()), *(constants.DEFAULT_VAULT_IDENTITY_LIST or ())):
        found.note(str(label).rpartition("@")[2], _PASSWORD)
    for extra in options.get("extra_vars") or ():
        if str(extra).startswith("@"):
            found.note(str(extra)[1:], "variables of the command line")
    for name in ("ssh_common_args", "ssh_extra_args", "sftp_extra_args", "scp_extra_args"):
        found.note_words(options.get(name), _KEY)
    for name, what in _SETTINGS.items():
        found.note(getattr(constants, name, None), what)
    _note_playbooks(found, variables, options)
    return dict(found)


def _note_hosts(found: Paths, variables: t.Mapping[str, t.Any], directory: str) -> None:
    """Note what hosts' variables name: the file that a host stands in, and keys of connections."""
    hosts = variables.get("hostvars") or {}
    for host in hosts:
        own = hosts[host]
        if own.get("inventory_file"):
            found.note_inventory(own["inventory_file"])
        for name in own:
            if not _CONNECTION.fullmatch(name):
                continue
            try:
                found.note_words(own[name], _KEY, directory)
            except AnsibleError:  # waits for facts
                continue


def _note_sites(found: Paths, sites: t.Any, directory: str) -> None:
    for site in sites if isinstance(sites, (list, tuple)) else ():
        for part in ("source", "certificate"):
            keys = site.get(part) if isinstance(site, t.Mapping) else None
            for name, what in (("key_file", _KEY), ("file", "a certificate")):
                if isinstance(keys, t.Mapping) and name in keys:
                    found.note(keys[name], what, directory)


def _note_playbooks(found: Paths, variables: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> None:
    for playbook in options.get("args") or ():
        if os.path.isfile(str(playbook)):
            found.note(str(playbook), "a playbook")
            found.note_variables(os.path.dirname(os.path.abspath(str(playbook))))
    for folder in (variables.get("playbook_dir"), options.get("basedir")):
        if folder:
            found.note_variables(str(folder))
