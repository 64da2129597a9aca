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

import datetime  # noqa: E402
import glob  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

#: What systemd says about a unit, as C(systemctl show) writes it.
PROPERTIES = "ActiveState,ActiveEnterTimestamp,StateChangeTimestamp,ActiveEnterTimestampMonotonic,StateChangeTimestampMonotonic,ReloadResult"


def written(paths):
    """Return when the newest of some files was written, and its path.

    :arg paths: Files and folders. Those that are not there are left out.
    :returns: A pair of seconds since the epoch and a path, C((0.0, "")) without any file.
    """
    found = []
    for path in [name for pattern in paths for name in glob.glob(pattern)]:
        inside = [entry.path for entry in os.scandir(path)] if os.path.isdir(path) else []
        for name in [path, *inside]:
            try:
                found.append((os.stat(name).st_mtime, name))
            except FileNotFoundError:
                # A link to nowhere, or a file that has just gone.
                continue
    return max(found, default=(0.0, ""))


def seconds(words, monotonic, booted):
    """Return a moment that systemd names, in seconds since the epoch.

    :arg words: The moment as C(Mon 2026-11-23 14:31:44.123456 UTC). Before version 250 systemd writes it without fractions and in the host's zone.
    :arg monotonic: The same in microseconds of the monotonic clock, as text.
    :arg booted: When that clock was at 0, in seconds since the epoch.
    """
    try:
        # Names of days are in systemd's language, and say nothing that the date does not.
        moment = datetime.datetime.strptime(words.split(" ", 1)[1], "%Y-%m-%d %H:%M:%S.%f UTC")
    except ValueError:
        return booted + int(monotonic) / 1e6
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()


def read_at(shown, since, booted):
    """Return when a unit has read its files.

    :arg shown: What C(systemctl show) prints of PROPERTIES, a string.
    :arg since: C(reload) or C(start).
    :arg booted: See L(seconds).
    :returns: Seconds since the epoch, or None for a unit that does not run.
    """
    found = dict(line.partition("=")[::2] for line in shown.splitlines())
    if found.get("ActiveState") not in ("active", "reloading"):
        return None
    # Units that can't be reloaded have no result.
    reloaded = since == "reload" and found.get("ReloadResult", "success") == "success"
    name = "StateChangeTimestamp" if reloaded else "ActiveEnterTimestamp"
    return seconds(found[name], found[f"{name}Monotonic"], booted)


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
        shown = module.run_command(
            [systemctl, "show", "--timestamp=us+utc", "--property=" + PROPERTIES, "--", name], check_rc=True
        )[1]
        read = read_at(shown, module.params["since"], booted)
        if read is not None and read < at:
            stale.append(name)
    module.exit_json(changed=bool(stale), stale=stale, newest=newest)


if __name__ == "__main__":
    main()
