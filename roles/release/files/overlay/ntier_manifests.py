# Managed by Ansible (ntier.django): changes are overwritten.
"""Keep the manifests of static files that a release reads: a view of STATIC_ROOT in the release.

Tools that build or compress a project's files write a manifest beside them: django-compressor its CACHE/manifest.json, Vite its
manifest.json, webpack its stats. All releases share STATIC_ROOT, where the next release overwrites such a file while this one still reads
it, and whether or not it ever goes live. So a release that has some gets the folder C(static): the manifests as they are now, and links to
all other files. Its settings name that folder as STATIC_ROOT from then on. The lists of Django's own storages are kept in ntier_storage.py.
"""

from __future__ import annotations

import os
import re
import shutil

#: The name of the view in a release.
VIEW = "static"
#: What manifests are called, and not what a storage has made of that name with a hash in it.
NAMES = re.compile(r"^(?:[\w-]+[-_.])?(?:manifest|stats|entrypoints|importmap|assets)(?:[-_.][a-z]+)?\.json$", re.I)
#: No manifest has more bytes.
LARGEST = 8 << 20


def manifests_in(root):
    """Return the manifests in a folder and below it, as paths relative to it."""
    found = []
    for parent, _folders, names in os.walk(root):
        for name in names:
            path = os.path.join(parent, name)
            if NAMES.match(name) and os.path.isfile(path) and os.path.getsize(path) <= LARGEST:
                found.append(os.path.relpath(path, root))
    return sorted(found)


def keep_manifests(root, release):
    """Make the view of a folder in a release; return how many manifests it keeps. Without any there is no view."""
    view = os.path.join(release, VIEW)
    shutil.rmtree(view, ignore_errors=True)
    kept = manifests_in(root)
    folders = {""} if kept else set()
    for path in kept:
        while path := os.path.dirname(path):
            folders.add(path)
    for folder in sorted(folders):
        os.makedirs(os.path.join(view, folder))
        for entry in os.scandir(os.path.join(root, folder)):
            path = os.path.join(folder, entry.name)
            if path in kept:
                shutil.copy2(entry.path, os.path.join(view, path))
            elif path not in folders:
                os.symlink(os.path.join(os.path.abspath(root), path), os.path.join(view, path))
    return len(kept)


def static_root(root, release):
    """Return what a release's settings name as STATIC_ROOT: its view, where it has one."""
    view = os.path.join(release, VIEW)
    return view if os.path.isdir(view) else root
