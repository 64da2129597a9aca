# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lock that a run keeps on a host, as files. Whether a run is alive is not known here: see plugin_utils/runs.py."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time

#: In /run, since a host that restarts has broken off whatever a run did there.
FOLDER = "/run/ntier"
LOCK = "run.lock"
#: The run's id; its time is the last sign of life.
BEAT = "run.beat"
#: The id of the run that released the lock last.
ENDED = "run.ended"
#: Held for the moment in which the others are read and written; a shell takes it with flock(1).
GUARD = "run.guard"


@contextlib.contextmanager
def guarded(folder):
    """Have no other process read or write the lock meanwhile."""
    os.makedirs(folder, mode=0o755, exist_ok=True)
    with open(os.path.join(folder, GUARD), "a", encoding="utf-8") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def read(folder):
    """Return the claim of the run that holds the lock, or None.

    :return: what L(take) was given, and C(age), the seconds since the last sign of life by the host's own clock, and C(beats),
        whether the run gives any after it took the lock.
    """
    path = os.path.join(folder, LOCK)
    try:
        with open(path, encoding="utf-8") as file:
            claim = dict(json.load(file))
        claim["run"] = str(claim["run"])
        last = os.stat(path).st_mtime
    except (OSError, ValueError, TypeError, KeyError):
        return None  # a run writes it whole, so this is nobody's
    claim["beats"] = False
    with contextlib.suppress(OSError):
        beat = os.path.join(folder, BEAT)
        with open(beat, encoding="utf-8") as file:
            claim["beats"] = file.read().strip() == claim["run"]
        if claim["beats"]:
            last = max(last, os.stat(beat).st_mtime)
    claim["age"] = max(0, round(time.time() - last))
    return claim


def take(folder, claim, over=""):
    """Take the lock, unless another run holds it; return that run's claim, or None.

    :arg claim: the run: C(run), its id, and whatever a person shall read of it.
    :arg over: the id of a run that is known to be dead. Its lock is taken over, and no other's.
    """
    with guarded(folder):
        holder = read(folder)
        if holder and holder["run"] not in (claim["run"], over):
            return holder
        if not holder or holder["run"] != claim["run"]:
            path = os.path.join(folder, LOCK)
            with open(f"{path}.new", "w", encoding="utf-8") as file:
                json.dump(claim, file)
            os.replace(f"{path}.new", path)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, BEAT))
    return None


def release(folder, run):
    """Release the lock of a run; return whether it held it."""
    with guarded(folder):
        holder = read(folder)
        if not holder or holder["run"] != run:
            return False
        with open(os.path.join(folder, ENDED), "w", encoding="utf-8") as file:
            file.write(run)
        for name in (LOCK, BEAT):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))
    return True
