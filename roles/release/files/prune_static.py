# Managed by Ansible (ntier.django): changes are overwritten.
"""Remove the static files that releases alone refer to which are about to be removed: prune_static.py STATIC_ROOT RELEASE...

A release lists which name each of its files has, with a hash of its content: one list for each static files storage of the
project, in the release's folder manifests, see ntier_storage.py of the overlay. What no other release beside those that go lists is
removed, with what was compressed of it. A file without a hash in its name stays: it belongs to all releases.
"""

from __future__ import annotations

import json
import os
import sys

#: What is made of NAME beside it: by us and by storages that compress.
COMPRESSED = (".gz", ".br")


def paths_of(path):
    """Return name → name with the hash of a list; nothing when the file is no such list."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    paths = content.get("paths") if isinstance(content, dict) else None
    return paths if isinstance(paths, dict) else {}


def if_readable(path):
    """Return what a file lists that may be anything, or a list that was cut off."""
    try:
        return paths_of(path)
    except ValueError:
        return {}


def lists_of(release, root, read):
    """Return the lists of a release: the folder that the names are relative to, and name → name with the hash.

    A list of files that are not on this host has no folder, and is left out.
    """
    # Where releases of an older version of this collection have their only one.
    found = [(root, read(os.path.join(release, "staticfiles.json")))]
    folder = os.path.join(release, "manifests")
    for storage in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        try:
            with open(os.path.join(folder, storage, "location"), encoding="utf-8") as file:
                location = file.read()
        except FileNotFoundError:
            continue  # collectstatic was cut off before it wrote a list
        for parent, _folders, files in os.walk(os.path.join(folder, storage, "lists")) if location else []:
            found += [(os.path.join(root, location), read(os.path.join(parent, name))) for name in sorted(files)]
    return found


def lists_beside(root):
    """Return the lists that lie beside the files: those of older releases, and of storages that keep theirs in their own way."""
    names = (
        [entry.path for entry in os.scandir(root) if entry.name.endswith(".json") and entry.is_file()]
        if os.path.isdir(root)
        else []
    )
    return [(root, if_readable(path)) for path in names]


def unneeded(going, staying):
    """Return the files with a hash in their names that lists of C(going) have and none of C(staying)."""
    kept = {os.path.join(folder, name) for folder, paths in staying for pair in paths.items() for name in pair}
    gone = {os.path.join(folder, hashed) for folder, paths in going for name, hashed in paths.items() if hashed != name}
    return sorted({os.path.normpath(path) for path in gone} - {os.path.normpath(path) for path in kept})


def prune(root, releases):
    """Remove the files of releases that go; return how many names."""
    gone = {os.path.abspath(release) for release in releases}
    siblings = {os.path.dirname(release) for release in gone}
    kept = [
        entry.path for folder in siblings for entry in os.scandir(folder) if entry.is_dir() and entry.path not in gone
    ]
    root = os.path.realpath(root)
    going = [found for path in gone for found in lists_of(path, root, if_readable)]
    staying = [found for path in kept for found in lists_of(path, root, paths_of)] + lists_beside(root)
    count = 0
    for name in unneeded(going, staying):
        path = os.path.realpath(name)
        if not path.startswith(f"{root}{os.sep}"):
            continue
        for file in (path, *(f"{path}{suffix}" for suffix in COMPRESSED)):
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
    except (OSError, ValueError) as error:
        sys.exit(f"prune_static.py: {error!r}")
    print(f"{count} removed")


if __name__ == "__main__":
    main()
