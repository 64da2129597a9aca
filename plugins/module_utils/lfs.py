# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pointers of Git LFS: small texts that stand in a work tree for files that nobody has fetched."""

from __future__ import annotations

import os

#: No pointer has as many bytes; see the specification of Git LFS.
LARGEST = 1024
_FIRST = b"version https://git-lfs.github.com/spec/"


def is_pointer(path: str) -> bool:
    """Return whether a file is a pointer."""
    with open(path, "rb") as file:
        return file.read(len(_FIRST)) == _FIRST


def pointers(folder: str) -> list[str]:
    """Return the pointers below a folder, relative and sorted."""
    found = []
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        for name in files:
            file = os.path.join(path, name)
            if os.path.isfile(file) and os.path.getsize(file) < LARGEST and is_pointer(file):
                found.append(os.path.relpath(file, folder))
    return sorted(found)
