# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who holds the locks of dpkg and apt on a host. Nothing here changes a host."""

from __future__ import annotations

import fcntl
import os
import struct

#: What dpkg and apt lock: the database of packages, by its front end and by dpkg, the lists, and the archive of downloads.
LOCKS = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
)
#: There while cloud-init is to run at this boot, and once it has ended.
CLOUD_INIT = "/run/cloud-init"
#: struct flock of fcntl(2): type, whence, start, length, process. Python's F_GETLK is that of 64-bit offsets everywhere.
FLOCK = "hhqqi"


def holder_of(path):
    """Return the process that has locked a file: 0 when nobody has, -1 when it can't be told who."""
    try:
        with open(path, "rb") as file:
            asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _whence, _start, _length, process = struct.unpack(
                FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked)[: struct.calcsize(FLOCK)]
            )
    except OSError:
        return 0
    return 0 if kind == fcntl.F_UNLCK else process or -1


def name_of(process):
    """Return the name of a program, of which the kernel keeps 15 letters, and its command line."""
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file:
            words = file.read().decode(errors="replace").split("\0")
        with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as file:
            return " ".join(words).strip()[:80] or file.read().strip()
    except OSError:
        return ""


def held(locks=LOCKS, cloud_init=CLOUD_INIT):
    """Return who is at work on the packages: texts such as C(unattended-upgr (process 812)), cloud-init among them until it has ended its boot."""
    processes = dict.fromkeys(filter(None, (holder_of(path) for path in locks)))
    found = []
    for process in processes:
        if process < 0:
            found.append("a program outside this machine's view")
        else:
            found.append(f"{name_of(process) or 'a program'} (process {process})")
    if os.path.exists(f"{cloud_init}/enabled") and not os.path.exists(f"{cloud_init}/result.json"):
        found.append("cloud-init")
    return found
