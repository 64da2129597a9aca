#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write and remove several small files in one task."""

from __future__ import annotations

DOCUMENTATION = r"""
module: text_files
short_description: Write and remove several small files in one task
version_added: 1.2.0
author: ntier.django maintainers (@ntier)
description:
  - Writes text files with owner root and mode 0644, and creates their folders.
  - One task in place of a loop over M(ansible.builtin.copy), which takes several round trips for each file.
options:
  files:
    description: Path of each file, and its text.
    type: dict
    required: true
  absent:
    description: Paths of files and links that are removed.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    description: Reports the files that would change.
    support: full
  diff_mode:
    description: Shows each file before and after.
    support: full
seealso:
  - module: ansible.builtin.copy
"""

EXAMPLES = r"""
- name: Install the error pages
  ntier.django.text_files:
    files: "{{ ('/etc/ntier/pages' | ntier.django.serving).files }}"
"""

RETURN = r"""
written:
  description: Paths of the files that were written, or would be in check mode.
  type: list
  elements: str
  returned: success
removed:
  description: Paths of the files that were removed, or would be in check mode.
  type: list
  elements: str
  returned: success
"""

import os  # noqa: E402
import stat  # noqa: E402
import tempfile  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

MODE = 0o644


def state(path):
    """Return the text of a file, and whether type, owner and mode are right. The text of a missing file, or of a link, is empty."""
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode):
            return "", False
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(), stat.S_IMODE(found.st_mode) == MODE and found.st_uid == os.geteuid()
    except FileNotFoundError:
        return "", False


def shown(text):
    """Return a text of any encoding as UTF-8, for the diff."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def write(module, path, text):
    """Write a file atomically, and create its folder."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=module.tmpdir, delete=False, encoding="utf-8", errors="surrogateescape"
    ) as file:
        file.write(text)
    os.chmod(file.name, MODE)
    module.atomic_move(file.name, path)
    os.chmod(path, MODE)
    os.chown(path, os.geteuid(), os.getegid())


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "dict", "required": True},
            "absent": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    written, diffs = [], []
    for path, text in module.params["files"].items():
        if not os.path.isabs(path):
            module.fail_json(msg=f"files: {path} is not an absolute path.")
        if not isinstance(text, str):
            module.fail_json(
                msg=f"files: the content of {path} is of type {type(text).__name__}. It has to be a string."
            )
        before, fits = state(path)
        if before == text and fits:
            continue
        written.append(path)
        diffs.append({"before": shown(before), "after": shown(text), "before_header": path, "after_header": path})
        if not module.check_mode:
            write(module, path, text)
    removed = [path for path in module.params["absent"] if os.path.lexists(path)]
    for path in removed:
        diffs.append({"before": f"{path}\n", "after": "", "before_header": path, "after_header": "absent"})
        if not module.check_mode:
            os.unlink(path)
    module.exit_json(
        changed=bool(written or removed),
        written=written,
        removed=removed,
        diff=diffs,
        # In place of the arguments, which contain all texts.
        invocation={"module_args": {"files": list(module.params["files"]), "absent": module.params["absent"]}},
    )


if __name__ == "__main__":
    main()
