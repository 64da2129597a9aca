# Managed by Ansible (ntier.django): changes are overwritten.
"""Remove the static files that releases alone refer to which are about to be removed: prune_static.py STATIC_ROOT RELEASE...

A release lists in staticfiles.json which name each of its files has, with a hash of its content. What no other release beside
those that go lists is removed, with what was compressed of it. A file without a hash in its name stays: it belongs to all releases.
"""

from __future__ import annotations

import json
import os
import sys

LIST = "staticfiles.json"


def listed(folder):
    """Return name → name with the hash of what a folder's list has; nothing without a list."""
    try:
        with open(os.path.join(folder, LIST), encoding="utf-8") as file:
            return json.load(file)["paths"]
    except (FileNotFoundError, NotADirectoryError):  # beside the releases lie their archives
        return {}


def unneeded(going, staying):
    """Return the names with a hash that lists of C(going) have and none of C(staying)."""
    kept = {name for paths in staying for pair in paths.items() for name in pair}
    return sorted({hashed for paths in going for name, hashed in paths.items() if hashed != name} - kept)


def prune(root, releases):
    """Remove the files of releases that go; return how many names."""
    gone = {os.path.abspath(release) for release in releases}
    siblings = {os.path.dirname(release) for release in gone}
    kept = [
        entry.path for folder in siblings for entry in os.scandir(folder) if entry.is_dir() and entry.path not in gone
    ]
    root = os.path.realpath(root)
    count = 0
    # Storages of a project's own keep their list beside the files.
    for name in unneeded([listed(path) for path in gone], [listed(path) for path in [*kept, root]]):
        path = os.path.realpath(os.path.join(root, name))
        if not path.startswith(f"{root}{os.sep}"):
            continue
        for file in (path, f"{path}.gz"):
            try:
                os.unlink(file)
                count += file == path
            except FileNotFoundError:
                pass
    return count


def main():
    """Prune what the arguments name; say how much it was."""
    if len(sys.argv) < 3:
        sys.exit("usage: prune_static.py STATIC_ROOT RELEASE...")
    try:
        count = prune(sys.argv[1], sys.argv[2:])
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"prune_static.py: {error!r}")
    print(f"{count} removed")


if __name__ == "__main__":
    main()
