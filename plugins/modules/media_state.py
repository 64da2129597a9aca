#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look what uploads and static files a host keeps."""

from __future__ import annotations

DOCUMENTATION = r"""
module: media_state
short_description: What uploads and static files a host keeps
version_added: 1.2.0
author: ntier.django maintainers (@ntier)
description:
  - Counts what lies on the host itself. Files that it uses over the network are not looked at. Changes nothing.
options:
  folder:
    description: Folder below which each site has its own.
    type: path
    default: /srv/media
  state:
    description: Where the program of the role P(ntier.django.media_move#role) writes down how far it is.
    type: path
    default: /var/lib/ntier-media-move/state.json
  measure:
    description: Whether to count the files and their bytes, which takes a while where there are many. Without, both are 0.
    type: bool
    default: true
  accounts:
    description:
      - Name of each site's user → its number. Whose accounts and groups these are is looked up in the same round, since the files are theirs.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
"""

EXAMPLES = r"""
- name: Look what files there are
  ntier.django.media_state:
  register: __media_state
"""

RETURN = r"""
found:
  description:
    - C(mounted), type and source of what is mounted on the folder, empty for a plain one; C(client), whether the role P(ntier.django.media_client#role) mounts
      it; C(there), whether the folder is there; C(page), whether it has the page by which the media tier tells that its disk is there; C(sites), the names of
      those that have files; C(files) and C(bytes) of what lies on the host itself; C(free), the free bytes, and C(inodes), the free inodes of its file system;
      C(move), C(id) and C(step) of the move that began here last; C(accounts), what the host has under each name and number of O(accounts).
  type: dict
  returned: success
"""

import os  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ansible_collections.ntier.django.plugins.module_utils import accounts, databases, media  # noqa: E402


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "default": "/srv/media"},
            "state": {"type": "path", "default": "/var/lib/ntier-media-move/state.json"},
            "measure": {"type": "bool", "default": True},
            "accounts": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    folder = module.params["folder"]
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        mounted = media.mounted_on(file.read(), folder)
    # A look at a folder whose server is away would wait for it.
    remote = mounted.startswith(("nfs", "autofs "))
    client = os.path.exists("/etc/systemd/system/srv-media.mount")
    files, size = (0, 0) if remote or not module.params["measure"] else media.measure(folder)
    free, inodes = media.room_in(os.path.dirname(folder) if remote else folder)
    found = {
        "mounted": mounted,
        "there": remote or os.path.isdir(folder),
        "client": client,
        "page": not (remote and client) and os.path.exists(os.path.join(folder, media.HEALTH)),
        "sites": [] if remote else media.sites_in(folder),
        "files": files,
        "bytes": size,
        "free": free,
        "disk": databases.disk_of(os.path.dirname(folder) if remote else folder),
        "inodes": inodes,
        "move": databases.handover_of(module.params["state"]),
        "accounts": accounts.look(module.params["accounts"]),
    }
    module.exit_json(changed=False, found=found)


if __name__ == "__main__":
    main()
