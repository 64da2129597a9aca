# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lock a host for this run, wait for another run or refuse, and keep the lock while the run is alive."""

from __future__ import annotations

import os
import time
import typing as t

from ansible import context
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.ntier.django.plugins.module_utils import lock
from ansible_collections.ntier.django.plugins.plugin_utils import runs
from ansible_collections.ntier.django.plugins.plugin_utils.faults import Faults, InventoryError

display = Display()
#: Seconds between two looks at a lock.
PAUSE = 2


class ActionModule(ActionBase):
    """Take the lock by way of the module, which knows nothing of the controller's processes."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the result of the task."""
        result = super().run(tmp, task_vars)
        _spec, arguments = self.validate_argument_spec(
            {
                "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                "wait_seconds": {"type": "int", "default": 0},
                "take_over": {"type": "str", "default": ""},
                "facts": {"type": "bool", "default": False},
                "again": {"type": "bool", "default": False},
                "folder": {"type": "path", "default": lock.FOLDER},
            }
        )
        result.update(changed=False, waited=False)
        if self._task.check_mode:
            return result
        # A task runs in a child of ansible-playbook.
        main = os.getppid()
        claim = runs.claim(main, context.CLIARGS.get("args") or ())
        if arguments["state"] == "absent":
            result.update(self._call(task_vars, state="absent", claim=claim, folder=arguments["folder"]))
            return result
        host = self._task.delegate_to or (task_vars or {}).get("inventory_hostname")
        result["waited"] = self._take(str(host), claim, arguments, task_vars)
        self._keep(claim["run"], main, arguments["folder"])
        if (result["waited"] or arguments["again"]) and arguments["facts"]:
            facts = self._execute_module("ntier.django.host_facts", {}, task_vars=task_vars)
            result.update(
                {key: facts[key] for key in ("ansible_facts", "failed", "msg", "unreachable") if key in facts}
            )
        return result

    def _take(self, host: str, claim: dict[str, t.Any], arguments: dict[str, t.Any], task_vars: t.Any) -> bool:
        """Take the lock; return whether another run had to be waited for."""
        begin, told, over = time.monotonic(), False, ""
        while True:
            answer = self._call(task_vars, claim=claim, over=over, folder=arguments["folder"])
            holder = answer.get("holder")
            if not holder:
                return told
            why = runs.dead(holder, claim, arguments["take_over"])
            if why:
                display.display(f"The lock of host {host} is taken over: {runs.named(holder)}, and {why}.")
                over = holder["run"]
                continue
            waited = round(time.monotonic() - begin)
            if waited >= arguments["wait_seconds"]:
                faults = Faults()
                faults.add(f"host {host}", *runs.refusal(holder, claim, arguments["wait_seconds"] and waited))
                raise AnsibleActionFail(str(InventoryError(faults.sentences, "Another run is under way")))
            if not told:
                left = runs.minutes(arguments["wait_seconds"])
                display.display(f"Host {host} is locked: {runs.named(holder)}. Waiting for its end, for up to {left}.")
                told = True
            time.sleep(min(PAUSE, max(0.1, arguments["wait_seconds"] - waited)))

    def _call(self, task_vars: t.Any, **arguments: t.Any) -> dict[str, t.Any]:
        """Run the module; raise when it fails."""
        answer: dict[str, t.Any] = self._execute_module("ntier.django.lock", arguments, task_vars=task_vars)
        if answer.get("failed"):
            raise AnsibleActionFail(str(answer.get("msg") or "the lock can't be read"), result=answer)
        return answer

    def _keep(self, run: str, main: int, folder: str) -> None:
        """Start the process that gives signs of life on this host and releases its lock in the end."""
        if type(self._connection).__module__.startswith("ansible_mitogen"):
            return
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return
        # Nothing may be raised from here on: it would go on as a second copy of the task.
        try:
            os.setsid()
            if os.fork() == 0:
                self._detach()
                runs.watch(run, main, self._execute, folder=folder)
        finally:
            os._exit(0)

    @staticmethod
    def _detach() -> None:
        """Keep no file of the run open, so that who reads its output sees its end, and write nothing to where it wrote."""
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        os.closerange(3, 65536)
        Display.display = lambda *_words, **_more: None  # type: ignore[assignment, method-assign]

    def _execute(self, command: str) -> int:
        """Run a shell command on the host as the task's user; return its exit status, or -1 when the host can't be asked."""
        try:
            return int(self._low_level_execute_command(command, sudoable=True).get("rc", -1))
        except Exception:
            return -1  # it is asked again, and a run that can't be renewed ends as one that gives no signs
