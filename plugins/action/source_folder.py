# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bring a project folder of the controller to a host."""

from __future__ import annotations

import os
import tempfile
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.ntier.django.plugins.plugin_utils import sources


class ActionModule(ActionBase):
    """Pack the folder's own files, send them in one piece and unpack them."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the result of the task."""
        result = super().run(tmp, task_vars)
        _spec, arguments = self.validate_argument_spec(
            {
                "src": {"type": "path", "required": True},
                "dest": {"type": "path", "required": True},
                "private": {"type": "dict", "default": {}},
            }
        )
        if self._task.check_mode:
            result.update(changed=True)
            return result
        handle, name = tempfile.mkstemp(suffix=".tar.gz")
        try:
            with os.fdopen(handle, "wb") as archive:
                try:
                    count = sources.pack(arguments["src"], archive, arguments["private"])
                except sources.SourceError as error:
                    raise AnsibleActionFail(str(error)) from error
                except OSError as error:
                    raise AnsibleActionFail(f"The source folder {arguments['src']} can't be read: {error}") from error
            self._make_tmp_path()
            remote = self._transfer_file(
                name, self._connection._shell.join_path(self._connection._shell.tmpdir, "source.tar.gz")
            )
            self._fixup_perms2((self._connection._shell.tmpdir, remote))
            unpacked = self._execute_module(
                "ansible.builtin.unarchive",
                {"src": remote, "dest": arguments["dest"], "remote_src": True},
                task_vars=task_vars,
            )
            result.update(unpacked)
            result.update(files=count)
        finally:
            os.unlink(name)
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result
