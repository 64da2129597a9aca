# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Refuse to go on without the hosts that can't be reached, and say what each of them keeps."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.ntier.django.plugins.plugin_utils import asis
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
            if isinstance(record, dict):
                records[host] = record
        faults = Faults()
        said = self._templar.template(variables[asis.GIVING_UP]) if asis.GIVING_UP in variables else []
        asis.check_answers(cluster, records, silent, refusing, faults, [str(host) for host in said])
        if faults:
            raise AnsibleActionFail(str(InventoryError(faults.sentences, "Not every host can be asked")))
        result.update(changed=False)
        return result
