# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Install packages; wait while another process holds the locks of apt and dpkg."""

from __future__ import annotations

import time
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.ntier.django.plugins.plugin_utils.faults import listed

display = Display()

#: The variable that says how long to wait, and the default that the role host documents.
VARIABLE, SECONDS = "host_apt_lock_timeout_seconds", 600
#: Seconds of one call: a connection that is silent for long may be cut.
PART = 20
#: Messages of apt when another process took the locks in between.
LOCKED = (
    "could not get lock",
    "unable to acquire the dpkg",
    "failed to lock",
    "unable to lock",
    "is another process using it",
)


class ActionModule(ActionBase):
    """Run the module apt when its locks are free."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the result of the module apt."""
        result = super().run(tmp, task_vars)
        _spec, arguments = self.validate_argument_spec(
            {"name": {"type": "list", "elements": "str", "required": True}, "policy_rc_d": {"type": "int"}}
        )
        variables = task_vars or {}
        arguments = {key: value for key, value in arguments.items() if value is not None}
        arguments |= {"update_cache": True, "cache_valid_time": 3600, "install_recommends": False}
        if self._task.check_mode:
            result.update(self._execute_module("ansible.builtin.apt", arguments, task_vars=task_vars))
            return result
        host = variables.get("inventory_hostname", "")
        seconds = int(self._templar.template(variables.get(VARIABLE, SECONDS)))
        end = time.monotonic() + seconds
        said = False
        while True:
            left = max(0, round(end - time.monotonic()))
            looked = self._execute_module(
                "ntier.django.package_locks", {"seconds": min(left, PART) if said else 0}, task_vars=task_vars
            )
            if looked.get("failed") or looked.get("unreachable"):
                result.update(looked)
                return result
            holders = looked["holders"]
            if holders and left:
                if not said:
                    display.display(
                        f"host {host}: {listed(holders)} is installing packages there. Waiting for it, {left} seconds at the most ..."
                    )
                said = True
                continue
            if [holder for holder in holders if holder != "cloud-init"]:
                raise AnsibleActionFail(
                    f"Host {host}: {listed(holders)} has held dpkg's lock for {seconds} seconds. See what it does there; if it needs longer, set {VARIABLE}."
                )
            installed = self._execute_module(
                "ansible.builtin.apt", {**arguments, "lock_timeout": max(5, left)}, task_vars=task_vars
            )
            message = str(installed.get("msg", "")).lower()
            if installed.get("failed") and left and any(words in message for words in LOCKED):
                continue
            result.update(installed)
            return result
