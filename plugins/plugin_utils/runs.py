# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which run of ansible-playbook this is, and whether another one is alive that holds the lock of a host."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import time
import typing as t

from ansible_collections.ntier.django.plugins.module_utils import lock

#: Seconds between two signs of life. Less than ControlPersist's 60, so that no connection has to be opened for it.
EVERY = 45
#: Seconds without one after which a run is dead that has given them before.
PATIENCE = 300
#: Seconds after which a run is dead that gives none.
LEASE = 6 * 3600
TAKE_OVER = "ntier_lock_take_over"
WAIT = "ntier_lock_wait_seconds"


def boot_id() -> str:
    """Return what tells this boot of this machine from all others, and this container's processes; empty where nothing does."""
    with contextlib.suppress(OSError):
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["sysctl", "-n", "kern.bootsessionuuid"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    return ""


def began(pid: int) -> str:
    """Return when a process began, in whatever unit the system has, or nothing when it is not there any more."""
    with contextlib.suppress(OSError):
        fields = (
            pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        return "" if fields[0] in "ZX" else fields[19]
    if os.path.exists("/proc/self/stat"):
        return ""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["ps", "-o", "lstart=", "-p", str(pid)]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()
    return ""


def claim(pid: int, playbooks: t.Sequence[str]) -> dict[str, t.Any]:
    """Return the claim of a run: C(run), its id, and who runs what, where and since when.

    :arg pid: the process of ansible-playbook. Every task of the run gets the same id by it.
    """
    try:
        who = getpass.getuser()
    except (KeyError, OSError, ImportError):
        who = f"uid {os.getuid()}"
    where, boot, start = socket.gethostname(), boot_id(), began(pid)
    run = hashlib.sha256(f"{where} {boot} {pid} {start}".encode()).hexdigest()[:12]
    names = [os.path.basename(name).removeprefix("ntier.django.") for name in playbooks]
    return {
        "run": run,
        "who": who,
        "where": where,
        "boot": boot,
        "pid": pid,
        "began": start,
        "since": round(time.time()),
        "playbook": " ".join(names) or "a playbook",
    }


def here(holder: t.Mapping[str, t.Any], own: t.Mapping[str, t.Any]) -> bool:
    """Tell whether a run is one of this controller, so that its process can be looked for."""
    return holder.get("where") == own["where"] and holder.get("boot") == own["boot"] != ""


def dead(
    holder: t.Mapping[str, t.Any],
    own: t.Mapping[str, t.Any],
    take_over: str = "",
    start: t.Callable[[int], str] = began,
) -> str:
    """Return why the run that holds a lock is dead, or nothing while it may be alive.

    :arg holder: its claim, with C(age) and C(beats).
    :arg own: the claim of this run.
    :arg take_over: the id of the run that the user takes for dead.
    :arg start: tells when a process of this controller began.
    """
    if holder["run"] == take_over:
        return f"{TAKE_OVER} says so"
    if here(holder, own):
        there = start(int(holder.get("pid") or 0))
        return "" if there and there == holder.get("began") else f"its process {holder.get('pid')} is gone"
    limit = PATIENCE if holder["beats"] else LEASE
    return f"it gave no sign of life for {minutes(holder['age'])}" if holder["age"] > limit else ""


def minutes(seconds: int) -> str:
    """Return a time as a person reads it."""
    if seconds < 120:
        return f"{seconds} seconds"
    return f"{seconds // 60} minutes" if seconds < 7200 else f"{seconds // 3600} hours"


def named(holder: t.Mapping[str, t.Any]) -> str:
    """Return who runs what, from where and since when."""
    since = time.localtime(int(holder.get("since") or 0))
    today = time.strftime("%Y-%m-%d", since) == time.strftime("%Y-%m-%d")
    when = time.strftime("%H:%M" if today else "%Y-%m-%d %H:%M", since)
    return f"{holder.get('who')} on {holder.get('where')} runs {holder.get('playbook')} since {when}"


def refusal(holder: t.Mapping[str, t.Any], own: t.Mapping[str, t.Any], waited: int) -> tuple[str, str]:
    """Return what is wrong and what to do, for a run that is alive or may be.

    :arg waited: the seconds for which this run was to wait and did.
    """
    what = f"is locked: {named(holder)}"
    end = f"Only if you know that the run is dead, take its lock over with -e ntier_lock_take_over={holder['run']}"
    if here(holder, own):
        what += f". Process {holder.get('pid')} of this controller is alive"
        end = "If the run hangs, end that process"
    elif holder["beats"]:
        what += f", last sign of life {minutes(holder['age'])} ago"
    else:
        what += ", and gives no signs of life"
    what += f", and did not end within {minutes(waited)}" if waited else ""
    return what, f"Run the playbook again when it has ended, or have it wait with -e ntier_lock_wait_seconds=600. {end}"


def renewal(run: str, folder: str = lock.FOLDER) -> str:
    """Return the shell command that gives a sign of life; it ends with 4 when the run has released the lock, with 3 when it has lost it."""
    return _guarded(folder, run, f"echo {run} > {lock.BEAT}", f"grep -qsF {run} {lock.ENDED} && exit 4 || exit 3")


def release(run: str, folder: str = lock.FOLDER) -> str:
    """Return the shell command that releases the lock of a run."""
    return _guarded(folder, run, f"rm -f {lock.LOCK} {lock.BEAT}", "exit 0")


def _guarded(folder: str, run: str, command: str, otherwise: str) -> str:
    holds = f'grep -qsF \'"run": "{run}"\' {lock.LOCK}'
    inner = f"cd {shlex.quote(folder)} && if {holds}; then {command}; else {otherwise}; fi"
    return f"flock {shlex.quote(f'{folder}/{lock.GUARD}')} sh -c {shlex.quote(inner)}"


def watch(
    run: str,
    pid: int,
    execute: t.Callable[[str], int],
    *,
    folder: str = lock.FOLDER,
    every: float = EVERY,
    pause: float = 1,
    start: t.Callable[[int], str] = began,
    interrupt: t.Callable[[int], None] | None = None,
) -> None:
    """Give signs of life while a process is there, then release its lock. Interrupt it when the lock has become another run's.

    :arg execute: runs a shell command on the host and returns its exit status.
    """
    there, last = start(pid), 0.0
    while there and start(pid) == there:
        # Not the monotonic clock, which stands still while the controller sleeps.
        if abs(time.time() - last) >= every:
            status = execute(renewal(run, folder))
            if status == 3:
                (interrupt or _interrupt)(pid)
            if status in (3, 4):
                return
            last = time.time()
        time.sleep(pause)
    execute(release(run, folder))


def _interrupt(pid: int) -> None:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/fd/2", "w", encoding="utf-8") as stderr:
        stderr.write(
            "\nThis run has lost the lock of a host: it gave no sign of life, and another run took over. It is interrupted.\n"
        )
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGINT)
