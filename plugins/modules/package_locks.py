#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Wait until no other process installs packages on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: package_locks
short_description: Who holds the locks of dpkg and apt
version_added: 1.2.0
author: ntier.django maintainers (@ntier)
description:
  - Looks who holds the locks of dpkg and apt, as the first upgrade of a new machine does for some minutes, and whether cloud-init is at work still. Takes no
    lock and changes nothing.
options:
  seconds:
    description: Seconds to wait for them at the most. With 0 it looks once.
    type: int
    default: 0
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
"""

EXAMPLES = r"""
- name: Wait for other package installations
  ntier.django.package_locks:
    seconds: 30
"""

RETURN = r"""
holders:
  description: The processes that hold the package locks; empty when there are none.
  type: list
  elements: str
  returned: success
"""

import time  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ansible_collections.ntier.django.plugins.module_utils import locks  # noqa: E402


def main():
    """Run the module."""
    module = AnsibleModule(argument_spec={"seconds": {"type": "int", "default": 0}}, supports_check_mode=True)
    end = time.monotonic() + module.params["seconds"]
    holders = locks.held()
    while holders and time.monotonic() < end:
        time.sleep(1)
        holders = locks.held()
    module.exit_json(changed=False, holders=holders)


if __name__ == "__main__":
    main()
