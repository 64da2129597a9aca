# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When a unit of systemd has read its files. Nothing here changes a host."""

from __future__ import annotations

import datetime
import glob
import os

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


def show(systemctl, name):
    """Return the command that prints PROPERTIES of a unit.

    :arg systemctl: path of the program.
    """
    return [systemctl, "show", "--timestamp=us+utc", "--property=" + PROPERTIES, "--", name]
