# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Draw the cluster into a file on the controller."""

from __future__ import annotations

import os
import tempfile
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.ntier.django.plugins.plugin_utils import diagram, evaluation
from ansible_collections.ntier.django.plugins.plugin_utils.faults import Faults, InventoryError, shown

display = Display()


def default_path(sources: t.Iterable[str], directory: str) -> str:
    """Return where the picture goes: beside the inventory, under its name.

    Not into an inventory's folder, where Ansible would read it as one more source of hosts.

    :arg sources: what C(--inventory) named, as in C(ansible_inventory_sources).
    :arg directory: where to put it when that is no file and no folder, but a list of hosts.
    """
    for source in sources:
        if os.path.isdir(source):
            return os.path.normpath(source) + ".svg"
        if os.path.isfile(source):
            return os.path.splitext(os.path.normpath(source))[0] + ".svg"
    return os.path.join(directory, "cluster.svg")


def read(path: str, faults: Faults) -> str | None:
    """Return what is in the file, or None when there is none; note in *faults* what can't be a picture's place."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        faults.add("variable diagram_file", f"{folder} is no folder on this controller", "Make it, or correct the path")
        return None
    try:
        with open(path, encoding="utf-8") as file:
            content = file.read()
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        faults.add("variable diagram_file", f"{path} is a folder", "Name a file in it, such as cluster.svg")
        return None
    except OSError as error:
        faults.add("variable diagram_file", f"{path} can't be read: {error.strerror}", "Correct path or permissions")
        return None
    except ValueError:
        content = "no text"
    if content and "<svg" not in content[:1000]:
        faults.add("variable diagram_file", f"{path} is there and is no SVG", "Name another file, or remove this one")
    return content


def write(path: str, content: str) -> None:
    """Replace the file in one step, so that nobody sees half of a picture."""
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".diagram-", suffix=".svg")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


class ActionModule(ActionBase):
    """Write the picture unless it is there, and say where it is."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the result of the task, with the file in C(path); never contacts a host."""
        result = super().run(tmp, task_vars)
        self.validate_argument_spec({"file": {"type": "str"}})
        variables = task_vars or {}
        named = self._task.args.get("file")
        templar = self._templar.copy_with_new_env(available_variables=evaluation.on_inventory(variables, self._task))
        directory = str(templar.template(variables["ntier_inventory_directory"]))
        path = str(named or default_path(variables.get("ansible_inventory_sources") or [], directory))
        path = os.path.abspath(os.path.expanduser(path))
        faults = Faults()
        before = read(path, faults)
        if faults:
            raise AnsibleActionFail(str(InventoryError(faults.sentences, "There is no place for the picture")))
        after = diagram.draw(templar.template(variables["ntier_topology"]))
        result.update(changed=before != after, path=path)
        if self._task.diff:
            result["diff"] = {
                "before": before or "",
                "after": after,
                "before_header": path if before is not None else "no file",
                "after_header": path,
            }
        if result["changed"] and not self._task.check_mode:
            try:
                write(path, after)
            except OSError as error:
                raise AnsibleActionFail(f"{shown(path)} can't be written: {error.strerror}.") from error
        said = "The picture would be" if result["changed"] and self._task.check_mode else "The picture is"
        display.display(f"\n{said} {path}\n")
        return result
