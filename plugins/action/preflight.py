# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check everything that the controller can know, before any host is contacted."""

from __future__ import annotations

import os
import pathlib
import re
import typing as t

import yaml
from ansible import constants, context
from ansible.errors import AnsibleActionFail, AnsibleError, AnsibleTemplateSyntaxError
from ansible.plugins.action import ActionBase
from ansible.release import __version__ as core_version
from ansible.utils.display import Display

from ansible_collections.ntier.django.plugins.filter.topology import addresses
from ansible_collections.ntier.django.plugins.module_utils import releases, requirements
from ansible_collections.ntier.django.plugins.plugin_utils import (
    certificates,
    commandline,
    evaluation,
    private,
    rolevars,
    rollback,
    selection,
    sources,
    topology,
    wiring,
)
from ansible_collections.ntier.django.plugins.plugin_utils.faults import Faults, InventoryError, listed

try:  # where a value was written is known to ansible-core, but not offered to plugins yet
    from ansible._internal._datatag._tags import Origin
except ImportError:
    Origin = None

display = Display()

LEAST_CORE = (2, 19)
#: Variables of the cluster that a user may set, each with its argument spec. What is raw is checked by the topology.
PUBLIC: dict[str, dict[str, t.Any]] = {
    "ntier_sites": {"type": "raw"},
    "ntier_address": {"type": "raw"},
    "ntier_dns_leads_to": {"type": "list", "elements": "str"},
    "ntier_given_up": {"type": "list", "elements": "str"},
    "ntier_lock_wait_seconds": {"type": "int"},
    "ntier_lock_take_over": {"type": "str"},
    "ntier_memory_mb": {"type": "int"},
    "ntier_cores": {"type": "int"},
    "ntier_memory_shares": {"type": "dict", "options": {tier: {"type": "int"} for tier in topology.TIERS}},
    "ntier_secrets_file": {"type": "path"},
    "release_version": {"type": "str"},
    "rollback_to": {"type": "str"},
    "rollback_migrations": {"type": "str", "choices": list(rollback.MODES)},
    "diagram_file": {"type": "path"},
}
#: Variables without a prefix, which only some playbooks read; in the others they may be the user's own.
SHORT = ("site", "command")
#: Role variables that those on other hosts go by, too.
SHARED = (
    *(f"{tier}_provider" for tier in topology.TIERS),
    *("web_port", "media_port", "memcached_port", "database_port", "pooler_port", "pooler_listen_address"),
    *topology.PORT_VARIABLES.values(),
    *("handover_logical", "handover_port"),
)
ADDRESSES = ("ntier_address", "ansible_host")
#: Variables that must be known before any host is contacted, and so can't depend on facts.
BEFORE = (
    *SHARED,
    *("ntier_sites", *ADDRESSES, "ntier_dns_leads_to", "ntier_given_up", "ntier_secrets_file"),
    *("release_hooks", "release_version", "rollback_to", "rollback_migrations", "diagram_file"),
)
COLLECTION = pathlib.Path(__file__).resolve().parents[2]


def check_core(version: str, faults: Faults) -> None:
    """Note in *faults* an ansible-core that is too old."""
    match = re.match(r"(\d+)\.(\d+)", version)
    if not match or tuple(map(int, match.groups())) < LEAST_CORE:
        least = ".".join(map(str, LEAST_CORE))
        faults.add(
            "ansible-core on this controller",
            f"is {version}",
            f"ntier.django needs {least} or newer: pip install 'ansible-core>={least}'",
        )


def check_strategy(strategy: str, faults: Faults) -> None:
    """Note in *faults* a strategy that lets hosts run ahead of each other: with it a failed host does not stop the others."""
    name = strategy.rpartition(".")[2]
    if name.removeprefix("mitogen_") in ("free", "host_pinned"):
        faults.add(
            "ansible.cfg or ANSIBLE_STRATEGY",
            f"sets the strategy {name}, which lets hosts run ahead of each other and goes on when one of them fails",
            "Use linear or mitogen_linear",
        )


def check_folders(sites: t.Iterable[t.Mapping[str, t.Any]], directory: str, faults: Faults) -> None:
    """Note in *faults* every source folder and every key that is not on the controller."""
    for site in sites:
        source = site["source"]
        if source.get("key_file"):
            key = wiring.resolve_path(source["key_file"], directory)
            if not os.path.isfile(key):
                faults.add(
                    f"ntier_sites, site {site['name']}",
                    f"source.key_file is {key}, which is no file on this controller",
                    "Correct the path; a relative one starts from the inventory's folder",
                )
        if source["kind"] != "path":
            continue
        folder = wiring.resolve_path(source["location"], directory)
        if not os.path.isdir(folder):
            faults.add(
                f"ntier_sites, site {site['name']}",
                f"source.path is {folder}, which is no folder on this controller",
                "Correct the path; a relative one starts from the inventory's folder",
            )
        elif source["directory"] and not os.path.isdir(os.path.join(folder, source["directory"])):
            faults.add(
                f"ntier_sites, site {site['name']}",
                f"source.directory '{source['directory']}' is not in {folder}",
                "Name a folder inside it, or leave the key out",
            )


def check_requirements(folder: str, site: t.Mapping[str, t.Any]) -> None:
    """Read the requirement file that the release will be built of, if it is one.

    :raises RequirementError: when it can't be used as it is.
    """
    places = [os.path.join(folder, site["source"].get("directory") or ""), folder]

    def find(name: str) -> str | None:
        return next((path for path in (os.path.join(place, name) for place in places) if os.path.isfile(path)), None)

    named = site.get("requirements")
    if not named and find("uv.lock") and find("pyproject.toml"):
        return
    path = next((path for path in map(find, [named] if named else releases.REQUIREMENT_FILES) if path), None)
    if path and not path.endswith((".toml", ".py", ".cfg")):
        requirements.hashes_of(requirements.read(path, folder))


def check_sources(
    sites: t.Iterable[t.Mapping[str, t.Any]], directory: str, known: t.Mapping[str, str], faults: Faults
) -> list[str]:
    """Note in *faults* every source folder that can't be released as it is; return what a user should hear of the others.

    :arg known: what never belongs to a release, the value of the lookup C(private_paths).
    """
    warnings = []
    for site in sites:
        folder = wiring.resolve_path(site["source"]["location"], directory)
        if site["source"]["kind"] != "path" or not os.path.isdir(folder):
            continue
        where = f"ntier_sites, site {site['name']}"
        try:
            content = sources.look(folder, known)
        except sources.SourceError as error:
            faults.add(where, f"source.path can't be released: {error.what}", error.fix)
            continue
        except OSError as error:
            faults.add(where, f"source.path {folder} can't be read: {error}", "Correct its permissions")
            continue
        try:
            check_requirements(folder, site)
        except requirements.RequirementError as error:
            faults.sentences.append(f"{where}: {error}.")
        by_kind: dict[str, list[str]] = {}
        for name, what in content.guessed.items():
            by_kind.setdefault(what, []).append(name)
        for what, names in by_kind.items():
            shown = ", ".join(names[:3]) + f" and {len(names) - 3} more" if len(names) > 3 else listed(names)
            warnings.append(f"{where}: the release leaves out {shown} of {folder}: {what}")
    return warnings


def origin_of(value: t.Any) -> str | None:
    """Return file and line of a value from the inventory, or None."""
    tag = Origin.get_tag(value) if Origin is not None else None
    if tag is None or not getattr(tag, "path", None):
        return None
    path = os.path.relpath(tag.path)
    path = tag.path if path.startswith("../..") else path
    return f"{path}:{tag.line_num}" if getattr(tag, "line_num", None) else path


class ActionModule(ActionBase):
    """Raise with every fault, or do nothing."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the result of the task; never contacts a host."""
        result = super().run(tmp, task_vars)
        self.validate_argument_spec(
            {
                "build": {"type": "bool", "default": True},
                "releases": {"type": "bool", "default": False},
                "command": {"type": "bool", "default": False},
                "sources": {"type": "bool", "default": True},
                "rollback": {"type": "bool", "default": False},
            }
        )
        variables = task_vars or {}
        faults = Faults()
        check_core(core_version, faults)
        check_strategy(str(constants.DEFAULT_STRATEGY), faults)
        options = [str(option) for option in context.CLIARGS.get("extra_vars") or ()]
        self._check_command_line(options, faults)
        self._variables = evaluation.Variables(variables, evaluation.play_variables(self._task))
        variables = self._variables.of(evaluation.first_host(variables["groups"]))
        missing, mistyped = self._check_variables(variables, options, faults)
        cluster = self._topology(variables, missing, mistyped, faults)
        if cluster:
            check_folders(cluster["sites"], str(self._value("ntier_inventory_directory", variables)), faults)
            chosen = cluster["sites"]
            if "release_version" not in missing:
                chosen = self._check_selection(chosen, variables, options, faults)
            if self._task.args.get("sources", True):
                self._check_sources(chosen, variables, faults)
            if "release_hooks" not in missing:
                hooks = evaluation.plain(self._value("release_hooks", variables))
                selection.check_hooks(hooks, [site["name"] for site in cluster["sites"]], faults)
            self._check_certificates(cluster, str(self._value("ntier_inventory_directory", variables)), faults)
            if self._task.args.get("build", True):
                faults.sentences += topology.not_runnable(cluster)
            if "ntier_secrets_file" not in missing | mistyped:
                self._check_secrets({**variables, "ansible_check_mode": True}, faults)
            if not faults and self._task.args.get("build", True):
                self._check_secrets(variables, faults)  # makes what is missing, here and once
        if faults:
            raise AnsibleActionFail(str(InventoryError(faults.sentences)))
        result.update(changed=False)
        return result

    def _templating(self, variables: dict[str, t.Any]) -> t.Any:
        return self._templar.copy_with_new_env(available_variables=variables)

    def _value(self, name: str, variables: dict[str, t.Any]) -> t.Any:
        return self._templating(variables).template(variables[name]) if name in variables else None

    def _values(self, name: str, variables: dict[str, t.Any]) -> dict[str, t.Any]:
        """Return the values of a dictionary of the wiring, without those whose variables can't be evaluated, which are noted as such."""
        templar, result = self._templating(variables), {}
        for key, template in (variables.get(name) or {}).items():
            try:
                result[key] = templar.template(template)
            except AnsibleError:
                continue
        return result

    def _check_command_line(self, options: list[str], faults: Faults) -> None:
        """Note in *faults* options C(-e) that Ansible reads in another way than they were meant."""
        known = {*rolevars.load_specs(COLLECTION / "roles"), *PUBLIC, *SHORT}
        commandline.check(options, known, bool(self._task.args.get("command", False)), faults)

    def _topology(
        self, variables: dict[str, t.Any], missing: t.Container[str], mistyped: t.Container[str], faults: Faults
    ) -> dict[str, t.Any] | None:
        groups = variables["groups"]
        if any(name in missing for name in ("ntier_sites", *ADDRESSES)):
            return None
        hosts: dict[str, dict[str, t.Any]] = {}
        for name in dict.fromkeys(name for members in groups.values() for name in members):
            hosts[name] = addresses(variables["hostvars"][name])
        sites = evaluation.plain(self._value("ntier_sites", variables) or [])
        providers = {
            tier: value
            for tier, value in self._values("ntier_providers", variables).items()
            if f"{tier}_provider" not in mistyped
        }
        ports = self._values("ntier_ports", variables)
        try:
            return topology.build(groups, hosts, sites, providers, ports)
        except InventoryError as error:
            faults.sentences += error.faults
            return None

    def _check_certificates(self, cluster: dict[str, t.Any], directory: str, faults: Faults) -> None:
        def read(path: str) -> bytes:
            return self._loader.get_text_file_contents(path).encode()

        given = [site["name"] for site in cluster["sites"] if site["certificate"]]
        if given and not cluster["tiers"]["load_balancer"]["hosts"]:
            display.warning(
                f"The certificates of {listed(given)} wait for a host in load_balancer: without one there is no TLS"
            )
        for sentence in certificates.check(cluster["sites"], directory, faults, read=read):
            display.warning(sentence)

    def _check_sources(self, sites: list[dict[str, t.Any]], variables: dict[str, t.Any], faults: Faults) -> None:
        """Check that what would be sent of each folder is the project's and nothing else."""

        def evaluate(name: str) -> t.Any:
            try:
                return self._value(name, variables)
            except AnsibleError:
                return None

        if any(site["source"]["kind"] == "path" for site in sites):
            known = private.paths(variables, evaluate)
            for sentence in check_sources(
                sites, str(self._value("ntier_inventory_directory", variables)), known, faults
            ):
                display.warning(sentence)

    def _check_selection(
        self, sites: list[dict[str, t.Any]], variables: dict[str, t.Any], options: list[str], faults: Faults
    ) -> list[dict[str, t.Any]]:
        """Check what the command line says of a release: the one site, and another version than the inventory's.

        :return: the sites that the run is about.
        """
        version = self._value("release_version", variables)
        said = {}
        try:
            if any(self._task.args.get(name, False) for name in ("command", "releases", "rollback")):
                said = {name: self._value(name, variables) for name in SHORT}
        except AnsibleError as error:
            faults.add("variables site and command", f"can't be evaluated: {evaluation.reason(error)}", "Correct them")
            return sites
        if self._task.args.get("command", False):
            selection.check_command(sites, said["site"], said["command"], faults)
            return sites
        if self._task.args.get("rollback", False):
            selection.check_site(sites, said["site"], faults)
            return sites
        if not self._task.args.get("releases", False):
            if version:
                display.warning("Only the playbook release reads release_version; this run goes by the inventory")
            if "site" in commandline.texts(options):
                display.warning("Only release, rollback and release_command read site; this run is one of all sites")
            return sites
        chosen = selection.select(sites, said["site"], version, faults)
        usual = {site["name"]: selection.version_of(site) for site in sites}
        for site in chosen:
            if selection.version_of(site) != usual[site["name"]]:
                display.warning(
                    f"Site {site['name']} is released at {version}. Its inventory says {usual[site['name']]}, and the next run without"
                    f" release_version goes back to that, unless you write {version} there"
                )
        return chosen

    def _check_secrets(self, variables: dict[str, t.Any], faults: Faults) -> None:
        """Read the secrets; outside check mode that makes those that are missing."""
        try:
            self._templating(variables).template(variables["ntier_secrets"])
        except AnsibleError as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, InventoryError):
                cause = cause.__cause__
            if cause is None:
                faults.add(
                    f"file {self._value('ntier_secrets_path', variables)}",
                    f"can't be read: {evaluation.reason(error)}",
                    "Correct it, or give the vault password that it was encrypted with",
                )
            else:
                faults.sentences += cause.faults

    def _check_variables(
        self, variables: dict[str, t.Any], options: list[str], faults: Faults
    ) -> tuple[set[str], set[str]]:
        """Check the variables of every host, and return the names of those that can't be evaluated, and of those of a wrong type.

        What is read before any host is contacted can't wait for facts. Of the rest each role checks on the host what depends on them.
        """
        roles = rolevars.load_specs(COLLECTION / "roles")
        specs = {**roles, **{name: spec for name, spec in PUBLIC.items() if spec["type"] != "raw"}}
        texts = commandline.texts(options)
        hosts: dict[str, dict[str, t.Any]] = {}
        names: dict[str, None] = {}
        wrong: dict[tuple[str, str, str, str], list[str]] = {}
        apart = set(variables["groups"].get("ungrouped", []))
        for host in variables["groups"]["all"] or ["localhost"]:
            own = self._variables.of(host)
            names.update(dict.fromkeys(variables["hostvars"].raw_get(host)))
            hosts[host] = {}
            for name in own:
                if name not in specs and name not in BEFORE:
                    continue
                try:
                    # As the topology reads addresses: without the variables of a task.
                    value = variables["hostvars"][host][name] if name in ADDRESSES else self._value(name, own)
                    evaluation.plain(value)  # evaluates what is in it
                except AnsibleError as error:
                    if host not in apart or name in ADDRESSES:
                        problem = self._problem(name, own, error, roles)
                        if problem:
                            wrong.setdefault(problem, []).append(host)
                    continue
                if name in texts and name in specs and value == texts[name]:
                    value = rolevars.from_text(value, specs[name])
                hosts[host][name] = value
        for (name, what, fix, place), members in wrong.items():
            faults.add(
                f"{place}: variable {name}" if place else f"variable {name} ({rolevars.hosts_of(members)})", what, fix
            )
        missing = {name for name, *_rest in wrong}
        mistyped = rolevars.check_variables(hosts, specs, origin_of, faults)
        alike = ("ntier_sites", *SHARED, "ntier_dns_leads_to", "ntier_given_up", "ntier_secrets_file")
        rolevars.check_agreement(hosts, [name for name in alike if name not in missing], faults)
        derived = yaml.safe_load((COLLECTION / "playbooks/group_vars/all.yml").read_text(encoding="utf-8"))
        own_names = [name for name in derived if name.startswith("ntier_")]  # and not what the playbooks tell Ansible
        for name, better in rolevars.misspelt(names, roles, (*PUBLIC, *own_names)):
            display.warning(f"Nothing reads the variable {name}; did you mean {better}?")
        return missing, mistyped

    def _problem(
        self, name: str, variables: dict[str, t.Any], error: AnsibleError, roles: t.Container[str]
    ) -> tuple[str, str, str, str] | None:
        """Return variable, what is wrong, how to correct it and where it was written, for one that can't be evaluated; None where the role may."""
        reason = evaluation.reason(error)
        place = origin_of(variables[name]) or ""
        fix = "Correct the template, or set what it refers to"
        waits = evaluation.later(variables[name], variables, roles)
        if isinstance(error, AnsibleTemplateSyntaxError) or not waits:
            return name, f"can't be evaluated: {reason}", fix, place
        if name not in BEFORE:
            return None
        what = f"can't be evaluated: {reason}. It depends on {waits}, which is not known before hosts are contacted"
        return name, what, "Give it a value that does not", place
