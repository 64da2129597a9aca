# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run a management command of a site, and show what it writes."""

from __future__ import annotations

import shlex
import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()


def words_of(command: str) -> list[str]:
    """Return the words of a command; C(manage.py) in front is what it is run with anyway."""
    words = shlex.split(command)
    return words[1:] if words and words[0] in ("manage.py", "./manage.py") else words


class ActionModule(ActionBase):
    """Run the command on the host."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the result of the command."""
        result = super().run(tmp, task_vars)
        required = {"type": "str", "required": True}
        _checked, arguments = self.validate_argument_spec({"site": required, "command": required})
        words = words_of(arguments["command"])
        if self._task.check_mode:
            result.update(changed=True, msg=f"would run {shlex.join(words)} for site {arguments['site']}")
            return result
        given = {"argv": ["/usr/local/bin/ntier-manage", arguments["site"], *words], "expand_argument_vars": False}
        result.update(self._execute_module("ansible.legacy.command", module_args=given, task_vars=task_vars))
        for key, stream in (("stdout", False), ("stderr", True)):
            text = str(result.get(key) or "").rstrip()
            if text:
                display.display(f"\n{text}\n", stderr=stream)
        if result.get("failed") and "rc" in result:
            host = (task_vars or {}).get("inventory_hostname")
            said = str(result.get("stderr") or result.get("stdout") or result.get("msg") or "").rstrip().splitlines()
            result["msg"] = "\n".join(
                [
                    f"Site {arguments['site']} on host {host}: {shlex.join(words)} ended with exit status {result['rc']}.",
                    *(f"  {line}" for line in said[-20:]),
                ]
            )
        return result
