#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""See whether a service works with files as they were before they were written last."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stale_service
short_description: Whether a service has read its files since they were written
version_added: 1.2.0
author: ntier.django maintainers (@ntier)
description:
  - A handler that reloads a service runs once, at the end. When a run is killed between the file and the handler, the next run finds the file as it should
    be and notifies nobody, and the service goes on with what it read before.
  - This module compares when the files were written with when systemd has started or reloaded the service last. It reports a change when one of them is
    newer, so that its task notifies the handler that the task of the file would have notified. It changes nothing itself.
  - A service that does not run, or is not there, has nothing to read again.
options:
  name:
    description: Units, such as C(nginx.service).
    type: list
    elements: str
    required: true
  files:
    description:
      - Files that the units read, also as patterns such as C(/etc/ssl/*.pem). A folder stands for itself, because a file may have gone out of it, and for the
        files in it.
      - One that is not there is left out.
    type: list
    elements: path
    required: true
  since:
    description:
      - What has the units read the files. V(reload) is a reload or a start, V(start) a start alone, as for a unit's own settings.
      - A reload that failed has read nothing.
    type: str
    choices: [reload, start]
    default: reload
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
notes:
  - When a program reads its files without systemd, as C(RELOAD) at PgBouncer's console does, systemd does not know.
seealso:
  - module: ansible.builtin.systemd_service
"""

EXAMPLES = r"""
- name: See whether nginx has read its files
  ntier.django.stale_service:
    name: nginx.service
    files: [/etc/nginx/conf.d]
  notify: Reload nginx
"""

RETURN = r"""
stale:
  description: The units that have not read the newest of the files.
  type: list
  elements: str
  returned: success
newest:
  description: The file that was written last; empty when there is none.
  type: str
  returned: success
"""

import time  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ansible_collections.ntier.django.plugins.module_utils.units import read_at, show, written  # noqa: E402


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "list", "elements": "str", "required": True},
            "files": {"type": "list", "elements": "path", "required": True},
            "since": {"type": "str", "choices": ["reload", "start"], "default": "reload"},
        },
        supports_check_mode=True,
    )
    at, newest = written(module.params["files"])
    booted = time.time() - time.monotonic()
    systemctl = module.get_bin_path("systemctl", required=True)
    stale = []
    for name in module.params["name"]:
        read = read_at(module.run_command(show(systemctl, name), check_rc=True)[1], module.params["since"], booted)
        if read is not None and read < at:
            stale.append(name)
    module.exit_json(changed=bool(stale), stale=stale, newest=newest)


if __name__ == "__main__":
    main()
