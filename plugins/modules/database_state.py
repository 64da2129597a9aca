#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look what PostgreSQL keeps on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_state
short_description: What PostgreSQL keeps on a host
version_added: 1.2.0
author: ntier.django maintainers (@ntier)
description:
  - Reads the data directory C(main) of the newest version there is, and asks a primary of the cluster for its settings. Changes nothing.
options:
  home:
    description: Folder below which each version has its own.
    type: path
    default: /var/lib/postgresql
  state:
    description: Where the program of the role P(ntier.django.handover#role) writes down how far it is.
    type: path
    default: /var/lib/ntier-handover/state.json
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
"""

EXAMPLES = r"""
- name: Look what PostgreSQL keeps
  ntier.django.database_state:
  register: __database_state
"""

RETURN = r"""
found:
  description:
    - C(what) is V(primary), V(standby), V(stopped), V(crashed), or V(none) without any data; C(system), the system identifier; C(version); C(bytes) of the
      data; C(free), the free bytes of its file system; C(databases), how many there are beside the three of every server; C(ours), whether the role
      P(ntier.django.database#role) has configured the server; C(settings), of a running primary, those that need a restart, name → C(shown), C(value),
      C(unit), C(file), C(default) and C(pending); C(handover), C(id) and C(step) of the handover that began here last; C(leftovers), whether a
      handover has left its agent or its plan here.
  type: dict
  returned: success
"""

import glob  # noqa: E402
import os  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ansible_collections.ntier.django.plugins.module_utils import databases  # noqa: E402


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "home": {"type": "path", "default": "/var/lib/postgresql"},
            "state": {"type": "path", "default": "/var/lib/ntier-handover/state.json"},
        },
        supports_check_mode=True,
    )
    home = module.params["home"]
    found = {
        "what": "none",
        "system": "",
        "version": "",
        "bytes": 0,
        "free": databases.free_in(home),
        "disk": databases.disk_of(home),
        "running": False,
        "databases": 0,
        "ours": False,
        "settings": {},
        "handover": databases.handover_of(module.params["state"]),
        "leftovers": os.path.isdir("/etc/ntier-handover"),
    }
    for path in databases.first(glob.glob(os.path.join(home, "[0-9]*", "main", "PG_VERSION"))):
        data = os.path.dirname(path)
        version = data.split(os.sep)[-2]
        program = f"/usr/lib/postgresql/{version}/bin/pg_controldata"
        environment = {"LC_ALL": "C"}
        # Data may be there still whose package is not.
        status, output = 1, ""
        if os.path.exists(program):
            status, output, _error = module.run_command([program, data], environ_update=environment)
        fenced = os.path.exists(os.path.join(data, "standby.signal"))
        what, system = databases.what_of(output, fenced) if status == 0 else ("crashed", "")
        found.update(what=what, system=system, version=version, bytes=databases.size_of(data))
        found.update(databases=databases.own_databases(data), free=databases.free_in(data))
        found.update(disk=databases.disk_of(data), running=databases.running(data))
        found.update(ours=databases.ours(path))
        if found["what"] == "primary" and found["running"] and found["ours"]:
            found.update(settings=databases.settings_of(module.run_command, data))
        if databases.followed(data):
            # A copy that is made row by row: the data is the other server's, however it lies here.
            found.update(what="standby" if what == "primary" else what, system=databases.followed(data), databases=0)
    module.exit_json(changed=False, found=found)


if __name__ == "__main__":
    main()
