# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A site's source folder on the controller: which files belong to it, and a name for exactly this content."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import tarfile
import typing as t

#: Never part of a project: what tools, and Django's own development server, leave behind in it.
JUNK_FOLDERS = {
    ".git",
    ".hg",
    ".svn",
    "__pycache__",
    ".venv",
    "venv",
    "node_modules",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".tox",
    ".idea",
    ".vscode",
}
JUNK_ENDINGS = (".pyc", ".pyo", ".swp", ".sqlite3", "~")


def files_of(folder: str) -> list[str]:
    """Return the files of a project folder, relative and sorted.

    In a git work tree these are the files that git tracks or would offer to track, so that F(.gitignore) is respected;
    elsewhere all but what tools leave behind.

    :raises OSError: when the folder can't be read.
    """
    if not os.path.isdir(folder):
        raise NotADirectoryError(f"{folder} is no folder")
    names = _git_files(folder)
    if names is None:
        names = []
        for path, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if name not in JUNK_FOLDERS]
            links = [name for name in folders if os.path.islink(os.path.join(path, name))]
            names += [os.path.relpath(os.path.join(path, name), folder) for name in [*files, *links]]
    for name in [name for name in names if _is_folder(os.path.join(folder, name))]:  # a repository inside this one
        names.remove(name)
        names += [os.path.join(name, inner) for inner in files_of(os.path.join(folder, name))]
    return sorted(
        name for name in set(names) if not name.endswith(JUNK_ENDINGS) and os.path.lexists(os.path.join(folder, name))
    )


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _git_files(folder: str) -> list[str] | None:
    command = ["git", "-C", folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        return None
    if done.returncode or not done.stdout:
        return None  # no work tree, or a folder that git ignores as a whole
    return [
        os.fsdecode(name) for name in done.stdout.split(b"\0") if name not in (b"", b"./")
    ]  # ./ is a submodule that is not there


def digest(folder: str) -> str:
    """Return twelve hexadecimal digits that stand for names, modes and content of a project folder's files."""
    total = hashlib.sha256()
    for name in files_of(folder):
        path = os.path.join(folder, name)
        status = os.lstat(path)
        total.update(os.fsencode(name) + b"\0" + (b"x" if status.st_mode & stat.S_IXUSR else b"-"))
        if stat.S_ISLNK(status.st_mode):
            total.update(b"l" + os.fsencode(os.readlink(path)))
        elif stat.S_ISREG(status.st_mode):
            with open(path, "rb") as file:
                total.update(hashlib.sha256(file.read()).digest())
    return total.hexdigest()[:12]


def pack(folder: str, archive: t.BinaryIO) -> int:
    """Write a gzipped tar of a project folder's files, owned by root, and return how many there are."""

    def neutral(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mode = 0o755 if entry.mode & stat.S_IXUSR else 0o644
        return entry

    names = files_of(folder)
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=3) as tar:
        for name in names:
            tar.add(os.path.join(folder, name), arcname=name, recursive=False, filter=neutral)
    return len(names)
