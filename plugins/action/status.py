# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show how the cluster is."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.ntier.django.plugins.plugin_utils import evaluation, status

display = Display()


class ActionModule(ActionBase):
    """Collect what the hosts answered, and show it."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the result of the task, with the lines in C(status); never contacts a host."""
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        templar = self._templar.copy_with_new_env(available_variables=evaluation.on_inventory(variables, self._task))
        cluster = templar.template(variables["ntier_topology"])
        health: dict[str, t.Any] = {}
        units: dict[str, dict[str, str]] = {}
        databases: dict[str, t.Any] = {}
        for host in cluster["hosts"]:
            own = variables["hostvars"][host]
            if "__ntier_health" in own:
                health[host] = {
                    item["__ntier_site"]["name"]: _health(item) for item in own["__ntier_health"]["results"]
                }
                for link in own.get("__ntier_live", {}).get("results", []):
                    target = (link.get("stat") or {}).get("lnk_source") or ""
                    health[host][link["__ntier_site"]["name"]]["release"] = target.rpartition("/")[2]
            if "__ntier_units" in own:
                units[host] = _units(own["__ntier_units"].get("stdout_lines", []))
            rows = (own.get("__ntier_databases") or {}).get("query_result")
            if rows:
                databases[host] = {
                    "sizes": {row["name"]: int(row["size"]) for row in rows},
                    "memory": int(rows[0]["memory"]),
                }
        result.update(changed=False, status=status.render(cluster, health, databases, units))
        display.display("\n" + "\n".join(result["status"]) + "\n")
        return result


def _units(lines: t.Sequence[str]) -> dict[str, str]:
    """Return unit → state, such as C(active (running)), of what systemctl has listed."""
    columns = [line.split() for line in lines]
    return {unit: f"{active} ({sub})" for unit, _load, active, sub, *_description in columns}


def _health(item: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what a site's health page said, or why it said nothing."""
    answer = item.get("json")
    return {"answer": dict(answer) if isinstance(answer, t.Mapping) else item.get("msg", "no answer")}
