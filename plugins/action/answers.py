# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Refuse to go on without the hosts that can't be reached, and say what each of them keeps."""

from __future__ import annotations

import os
import typing as t

from ansible import constants, context
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.ntier.django.plugins.plugin_utils import asis, evaluation
from ansible_collections.ntier.django.plugins.plugin_utils.faults import Faults, InventoryError


class ActionModule(ActionBase):
    """Raise when a host of the play has not answered, or has failed."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the result of the task; never contacts a host."""
        result = super().run(tmp, task_vars)
        self.validate_argument_spec({"asked": {"type": "str", "required": True}})
        variables = task_vars or {}
        cluster = self._templar.template(variables["ntier_topology"])
        cluster_id = evaluation.cluster_id(self._templar, variables)
        silent: dict[str, str] = {}
        refusing: dict[str, str] = {}
        records: dict[str, t.Any] = {}
        for host in cluster["hosts"]:
            own = variables["hostvars"][host]
            answer = own.get(self._task.args["asked"]) or {}
            if answer.get("unreachable"):
                silent[host] = str(answer.get("msg") or "no answer")
            elif answer.get("failed"):
                refusing[host] = str(answer.get("msg") or "no reason")
            record = ((own.get("ansible_facts") or {}).get("ansible_local") or {}).get("ntier")
            if isinstance(record, dict) and record.get("cluster") == cluster_id:
                records[host] = record
        faults = Faults()
        said = self._templar.template(variables[asis.GIVING_UP]) if asis.GIVING_UP in variables else []
        tests = {host: self._way(host, variables) for host in silent}
        asis.check_answers(cluster, records, silent, refusing, faults, [str(host) for host in said], tests)
        if faults:
            raise AnsibleActionFail(str(InventoryError(faults.sentences, "Not every host can be asked")))
        result.update(changed=False)
        return result

    def _way(self, host: str, variables: dict[str, t.Any]) -> str:
        """Return where Ansible looks for a host, and how to try that."""
        own = variables["hostvars"][host]

        def first(*names: str) -> str:
            """Return the first of some variables that is set, as text."""
            return next((str(own[name]) for name in names if name in own), "")

        options = [
            word for source in variables.get("ansible_inventory_sources") or [] for word in ("-i", _short(source))
        ]
        said = {"-u": context.CLIARGS.get("remote_user"), "--private-key": context.CLIARGS.get("private_key_file")}
        options += [word for option, value in said.items() if value for word in (option, str(value))]
        try:
            return asis.way(
                host,
                first("ansible_connection") or "ssh",
                first("ansible_host", "ansible_ssh_host") or host,
                first("ansible_port", "ansible_ssh_port") or constants.DEFAULT_REMOTE_PORT,
                first("ansible_user", "ansible_ssh_user") or str(said["-u"] or constants.DEFAULT_REMOTE_USER or ""),
                options,
            )
        except AnsibleError:
            return asis.way(host, "ssh", host, "", "", options)


def _short(source: str) -> str:
    """Return an inventory as one would type it."""
    path = os.path.relpath(source) if os.path.isabs(source) else source
    return source if path.startswith("../..") else path
