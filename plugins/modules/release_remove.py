#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Remove releases, and the packages that no other one uses."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_remove
short_description: Remove releases and what only they needed
version_added: 1.2.0
author: ntier.django maintainers (@ntier)
description:
  - Removes the folders of releases, and then the packages that no release of the same sites uses any more.
options:
  folders:
    description: Folders of the releases, as M(ntier.django.release_state) returns them in C(remove).
    type: list
    elements: path
    required: true
attributes:
  check_mode:
    description: Says what it would remove.
    support: full
"""

EXAMPLES = r"""
- name: Remove the oldest releases
  ntier.django.release_remove:
    folders: "{{ __release_state.remove }}"
"""

RETURN = r"""
removed:
  description: The folders that are gone.
  type: list
  elements: str
  returned: success
"""

import os  # noqa: E402
import shutil  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ansible_collections.ntier.django.plugins.module_utils import environments  # noqa: E402


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"folders": {"type": "list", "elements": "path", "required": True}}, supports_check_mode=True
    )
    removed = [folder for folder in module.params["folders"] if os.path.isdir(folder)]
    try:
        if not module.check_mode:
            for folder in removed:
                shutil.rmtree(folder)
            for site in sorted({os.path.dirname(os.path.dirname(folder)) for folder in removed}):
                for folder in environments.unused(site):
                    shutil.rmtree(folder)
                    removed.append(folder)
    except OSError as error:
        module.fail_json(msg=f"an old release can't be removed: {error}")
    module.exit_json(changed=bool(removed), removed=removed)


if __name__ == "__main__":
    main()
