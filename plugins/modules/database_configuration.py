#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check whether PostgreSQL runs with its configuration."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_configuration
short_description: Whether PostgreSQL runs with its configuration
version_added: 1.2.0
author: ntier.django maintainers (@ntier)
description:
  - Reports a change when the server has not read the newest of its files, or when a setting waits for a restart. The server itself is asked for the latter.
  - Removes files in which an earlier role has left settings that would override those of now.
  - Reloads and restarts nothing. A server that does not run has nothing to read again.
options:
  name:
    description: The server's unit, such as C(postgresql@15-main.service).
    type: str
    required: true
  data:
    description: The server's data directory.
    type: path
    required: true
  files:
    description: What the server reads when it is reloaded, see O(ntier.django.stale_service#module:files).
    type: list
    elements: path
    required: true
  unit_files:
    description: What takes effect only when the server starts, such as drop-ins of its unit.
    type: list
    elements: path
    default: []
  leftovers:
    description: Files to remove, unless the server is a standby, or rows of another server still come to it.
    type: list
    elements: path
    default: []
  reloaded:
    description:
      - Whether the server was just told to reload. The module then waits until it has done so, reports no file as unread, and fails when the server has
        rejected its configuration.
    type: bool
    default: false
attributes:
  check_mode:
    description: Reports which leftovers would be removed.
    support: full
"""

EXAMPLES = r"""
- name: Check whether PostgreSQL runs with its configuration
  ntier.django.database_configuration:
    name: postgresql@15-main.service
    data: /var/lib/postgresql/15/main
    files: [/etc/postgresql/15/main/conf.d]
  notify: Reload PostgreSQL
"""

RETURN = r"""
stale:
  description: Whether the server has not read the newest of its files.
  type: bool
  returned: success
removed:
  description: The leftovers that were removed.
  type: list
  elements: str
  returned: success
pending:
  description: Settings that wait for a restart, name → C(running), C(configured) and the C(file) that says so.
  type: dict
  returned: success
unit:
  description: The newest of O(unit_files) that was written since the server started; empty when there is none.
  type: str
  returned: success
"""

import os  # noqa: E402
import time  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ansible_collections.ntier.django.plugins.module_utils import databases, units  # noqa: E402

#: Seconds within which a server reads its files after it was told to.
RELOADED = 10


def pending_of(rows):
    """Return the settings that wait for a restart, and when the configuration was loaded.

    :arg rows: of C(databases.PENDING).
    """
    loaded = float(rows[0][1])
    return {name: {"running": old, "configured": new, "file": file} for name, old, new, file in rows[1:]}, loaded


def wait(module, data, newest):
    """Return the settings that wait for a restart, once the server has loaded what was written.

    :arg newest: when the newest file was written; 0 to wait for nothing.
    """
    end = time.monotonic() + RELOADED
    while True:
        rows = databases.ask(module.run_command, data, databases.PENDING)
        pending, loaded = pending_of(rows) if rows else ({}, 0.0)
        if loaded >= newest:
            return pending
        if time.monotonic() > end:
            errors = databases.ask(module.run_command, data, databases.ERRORS) or []
            found = "; ".join(f"{file}, line {line}: {error}" for file, line, error in errors) or "see its log"
            module.fail_json(
                msg=f"PostgreSQL has rejected its configuration and goes on with the earlier one: {found}. Correct it, and run this again"
            )
        time.sleep(0.1)


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "data": {"type": "path", "required": True},
            "files": {"type": "list", "elements": "path", "required": True},
            "unit_files": {"type": "list", "elements": "path", "default": []},
            "leftovers": {"type": "list", "elements": "path", "default": []},
            "reloaded": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    data, reloaded = module.params["data"], module.params["reloaded"]
    removed = [] if databases.standby(data) else [path for path in module.params["leftovers"] if os.path.exists(path)]
    if not module.check_mode:
        for path in removed:
            os.unlink(path)
    systemctl = module.get_bin_path("systemctl", required=True)
    shown = module.run_command(units.show(systemctl, module.params["name"]), check_rc=True)[1]
    booted = time.time() - time.monotonic()
    read, started = (units.read_at(shown, since, booted) for since in ("reload", "start"))
    stale, unit, pending = False, "", {}
    if read is not None:
        written, _newest = units.written(module.params["files"])
        started_late, newest = units.written(module.params["unit_files"])
        unit = newest if started_late > started else ""
        stale = not reloaded and written > read
        pending = wait(module, data, min(written, time.time()) if reloaded else 0.0)
    changed = bool(stale or removed or pending or unit)
    module.exit_json(changed=changed, stale=stale, removed=removed, pending=pending, unit=unit)


if __name__ == "__main__":
    main()
