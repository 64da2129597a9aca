# Managed by Ansible (ntier.django): changes are overwritten.
"""Make NAME.gz beside each static file for which it pays, for nginx to send as it is: ntier_compress.py DIRECTORY [RELEASE].

The folder may lie on another host, where each question costs a round trip: it is listed once, and a file is opened only
when its NAME.gz is missing or of another time. A NAME.gz that the project brings itself stays; what was made here bears
a mark, and goes when its file has gone or no longer pays.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import sys
import tempfile
import time

import ntier_manifests

#: Kinds of files that are text or stored as plainly; pictures, films, and fonts of the kind woff are compressed already.
KINDS = re.compile(
    r"\.(atom|bmp|css|csv|eot|geojson|html?|ico|js|json|map|md|mjs|otf|rss|svg|ttf|txt|wasm|webmanifest|xml|xsl)$", re.I
)
SMALLEST = 1024
#: NAME.gz has to be smaller than this part of NAME.
WORTH = 0.9
#: The file name in the header of what is made here.
MARK = "ntier.django"
TEMPORARY = (".ntier-", ".tmp")
#: Seconds after which a temporary file belongs to a run that was cut off.
ABANDONED = 3600


def pack(content):
    """Return the compressed content: the same bytes for the same content, whenever it is made."""
    packed = io.BytesIO()
    with gzip.GzipFile(MARK, "wb", compresslevel=9, fileobj=packed, mtime=0) as file:
        file.write(content)
    return packed.getvalue()


def is_ours(path):
    """Return whether a NAME.gz was made here."""
    with open(path, "rb") as file:
        header = file.read(11 + len(MARK))
    return header[:8] == b"\x1f\x8b\x08\x08\0\0\0\0" and header[10:] == MARK.encode() + b"\0"


def write(path, content, status):
    """Write a file that is complete from its first moment on, with the time and the mode of another one."""
    handle, temporary = tempfile.mkstemp(prefix=TEMPORARY[0], suffix=TEMPORARY[1], dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), status.st_mode & 0o777)
        # On a shared folder the written file's time is set last.
        os.utime(temporary, ns=(status.st_mtime_ns, status.st_mtime_ns))
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def packed_if_worth(path):
    """Return NAME's compressed content, or C(None) when it does not pay, and the state of NAME before it was read."""
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        content = file.read()
    packed = pack(content)
    return (packed if len(packed) < len(content) * WORTH else None), status


def compress_folder(folder):
    """Bring the NAME.gz of a folder, and of those below it, up to date; return how many were made and removed."""
    made = removed = 0
    with os.scandir(folder) as listing:
        entries = {entry.name: entry for entry in listing if not entry.is_symlink()}
    for name, entry in entries.items():
        if entry.is_dir(follow_symlinks=False):
            below = compress_folder(entry.path)
            made, removed = made + below[0], removed + below[1]
        elif name.startswith(TEMPORARY[0]) and name.endswith(TEMPORARY[1]):
            if time.time() - entry.stat().st_mtime > ABANDONED:
                os.unlink(entry.path)
        elif name.endswith(".gz"):
            if name[:-3] not in entries and not os.path.lexists(entry.path[:-3]) and is_ours(entry.path):
                os.unlink(entry.path)
                removed += 1
        elif KINDS.search(name):
            old = entries.get(f"{name}.gz")
            status = entry.stat(follow_symlinks=False)
            if old and (old.stat().st_mtime_ns == status.st_mtime_ns or not is_ours(old.path)):
                continue
            packed = None
            if status.st_size >= SMALLEST:
                packed, status = packed_if_worth(entry.path)
            if packed:
                write(f"{entry.path}.gz", packed, status)
                made += 1
            elif old:
                os.unlink(old.path)
                removed += 1
    return made, removed


def main():
    """Compress the folder that is named; say what was done."""
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: ntier_compress.py DIRECTORY [RELEASE]")
    try:
        made, removed = compress_folder(sys.argv[1])
        for release in sys.argv[2:]:
            ntier_manifests.keep_manifests(sys.argv[1], release)
    except OSError as error:
        sys.exit(f"ntier_compress.py: {error}")
    print(f"{made} made, {removed} removed")


if __name__ == "__main__":
    main()
