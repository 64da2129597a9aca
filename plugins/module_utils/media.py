# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The sites' uploads and static files as they lie on a host. Nothing here changes a host."""

from __future__ import annotations

import os
import re
import stat

#: The page that says that the disk is there; the role media puts it there.
HEALTH = "ntier-health"
#: Where a move keeps its own things, beside what is served.
MEETING = ".ntier-move"


def mounted_on(text, folder):
    """Return type and source of what is mounted on a folder, as one text; empty for a plain folder.

    :arg text: the content of C(/proc/self/mountinfo), whose last line for a folder is what one sees there.
    """
    found = ""
    for line in text.splitlines():
        fields = line.split(" ")
        if "-" not in fields or re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), fields[4]) != folder:
            continue
        # A folder that was mounted on itself is as plain as before.
        if fields[3] != "/" and folder.endswith(fields[3]):
            continue
        rest = fields[fields.index("-") + 1 :]
        found = " ".join(rest[:2])
    return found


def sites_in(folder):
    """Return the names of the sites that have files in a folder, also of those that have left the inventory."""
    if not os.path.isdir(folder):
        return []
    found = [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    folders = [
        path for path in found if not os.path.basename(path).startswith(".") and os.path.basename(path) != "lost+found"
    ]
    return sorted(os.path.basename(path) for path in folders if any(names for _place, _folders, names in os.walk(path)))


def measure(folder):
    """Return how many files there are below a folder, and their bytes; a file that vanishes meanwhile is none."""
    files, size = 0, 0
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != MEETING]
        # A link that leads to a folder is among the folders, and is not followed.
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for name in names + links:
            if place == folder and name == HEALTH:
                continue
            try:
                about = os.lstat(os.path.join(place, name))
            except OSError:
                continue
            files += 1
            size += about.st_size if stat.S_ISREG(about.st_mode) else 0
    return files, size


def room_in(folder):
    """Return the free bytes and the free inodes of the file system where a folder is or would be; no limit is a large number."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    about = os.statvfs(folder)
    # Some file systems make inodes as they need them, and say that there are none.
    return about.f_bavail * about.f_frsize, about.f_favail if about.f_files else 2**62
