#!/usr/bin/python3
"""Tell a guest's kernel again of data that it has not read: now and then it misses that its disk has answered.

It is told of each answer once (EPOLLET). When that gets lost, whoever waits for the disk waits until the next answer: for ever, if
by then the disk's queue is full. Here its sockets are looked at every second, and one that has had data for as long is
reported anew, as the interrupt that it was. Usage: testvm-remind PID; it ends with that process.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import select
import signal
import struct
import sys
import termios
from pathlib import Path

SECONDS = 1.0
PIDFD_GETFD = 438  # on every architecture
OWN = 1000  # our descriptors are above this, since a file has to be reported by the number that it has in the guest
LIBRARY = ctypes.CDLL(None, use_errno=True)


class Event(ctypes.Structure):
    """C(struct epoll_event)."""

    _pack_ = 1 if os.uname().machine == "x86_64" else 0
    _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))


def move_up(descriptor: int) -> int:
    """Return a descriptor with a number of our own for one that has any, which is closed."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, OWN)
    os.close(descriptor)
    return moved


class Guest:
    """The files of the guest's kernel."""

    def __init__(self, pid: int) -> None:
        """Take the process."""
        self.pid = pid
        self.handle = move_up(os.pidfd_open(pid))
        self.waiting: dict[int, int] = {}

    @contextlib.contextmanager
    def take(self, number: int):
        """Give a descriptor of our own for one of the guest's."""
        taken = LIBRARY.syscall(PIDFD_GETFD, self.handle, number, 0)
        if taken < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        taken = move_up(taken)
        try:
            yield taken
        finally:
            os.close(taken)

    def look(self) -> None:
        """Report the sockets that have had as much data as a look ago."""
        before, self.waiting = self.waiting, {}
        files = f"/proc/{self.pid}/fd"
        for poll in os.listdir(files):
            if os.readlink(f"{files}/{poll}") != "anon_inode:[eventpoll]":
                continue
            watched = Path(f"/proc/{self.pid}/fdinfo/{poll}").read_text()
            for found in re.finditer(r"tfd: +(\d+) events: +([0-9a-f]+) data: +([0-9a-f]+)", watched):
                number, event = int(found[1]), Event(int(found[2], 16), int(found[3], 16))
                if event.events & select.EPOLLIN and os.readlink(f"{files}/{number}").startswith("socket:"):
                    with self.take(number) as socket:
                        size = struct.unpack("i", fcntl.ioctl(socket, termios.FIONREAD, bytes(4)))[0]
                        self.waiting[number] = size
                        if size and size == before.get(number):
                            self.report(int(poll), socket, number, event)

    def report(self, poll: int, socket: int, number: int, event: Event) -> None:
        """Have the guest's poll instance see a socket anew."""
        with self.take(poll) as instance:
            os.dup2(socket, number)
            try:
                if LIBRARY.epoll_ctl(instance, 3, number, ctypes.byref(event)):  # EPOLL_CTL_MOD
                    raise OSError(ctypes.get_errno(), "epoll_ctl")
            finally:
                os.close(number)
        os.kill(self.pid, signal.SIGIO)
        print(f"testvm: reminded the guest of its file {number}", flush=True)


def main() -> None:
    """Look every second until the guest has ended."""
    guest = Guest(int(sys.argv[1]))
    # Output goes where it went, by other numbers: those below are the guest's.
    sys.stdout = os.fdopen(fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, OWN), "w")
    for number in range(3):
        os.close(number)
    ended = select.poll()
    ended.register(guest.handle, select.POLLIN)
    while not ended.poll(SECONDS * 1000):
        with contextlib.suppress(OSError):  # of a file that it has just closed
            guest.look()


if __name__ == "__main__":
    main()
