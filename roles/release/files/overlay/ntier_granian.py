# Managed by Ansible (ntier.django): changes are overwritten.
"""granian for any site, WSGI or ASGI, behind the socket that systemd keeps open.

granian makes its own socket and removes it again, so that visitors would be refused while it restarts. Here it takes the one
that it is handed. And it drops connections that it has accepted and read nothing from yet when it is told to stop; here
its workers stop accepting a moment before that, and whoever comes then waits in the socket for their successors.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import socket
import time

import ntier_process
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.net import SocketHolder
from granian.server.mp import MPServer

#: Seconds in which what was accepted last is read. nginx sends a request with its connection.
LAST_ENTRY = 0.3


class Server(MPServer):
    """granian on a socket that was handed over."""

    _bind_addr_fmt = "the socket of systemd"

    def _init_shared_socket(self):
        self._shd = SocketHolder(ntier_process.SOCKET, True, ntier_process.BACKLOG)
        self._sfd = ntier_process.SOCKET
        self._sso = None

    def _stop_workers(self):
        for worker in self.wrks:
            if worker.is_alive():
                os.kill(worker.inner.pid, signal.SIGUSR1)
        time.sleep(LAST_ENTRY)
        super()._stop_workers()


def stop_accepting(*_signal):
    """Put a socket that nobody knows in the place of the site's, in this process alone."""
    spare = socket.socket(socket.AF_UNIX)
    spare.setblocking(False)
    spare.bind("")
    spare.listen(1)
    os.dup2(spare.fileno(), ntier_process.SOCKET)


def load(target):
    """Return the site's application, in the worker that will answer for it."""
    signal.signal(signal.SIGUSR1, stop_accepting)
    application = importlib.import_module(target).application
    ntier_process.ready()
    return application


def main():
    """Serve until told to stop."""
    values = ntier_process.enter()
    asynchronous = bool(values["asgi"])
    workers, threads = ntier_process.figure("WORKERS", 2), ntier_process.figure("THREADS", 4)
    # Workers inherit the socket.
    multiprocessing.set_start_method("fork")
    Server(
        "ntier_asgi" if asynchronous else "ntier_wsgi",
        interface=Interfaces.ASGI if asynchronous else Interfaces.WSGI,
        workers=workers,
        # A connection is one request. What a worker can't work on now, another one takes; of coroutines many wait at once.
        blocking_threads=1 if asynchronous else threads,
        backpressure=ntier_process.BACKLOG // workers if asynchronous else threads,
        backlog=ntier_process.BACKLOG,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(keep_alive=False),
        websockets=asynchronous,
        url_path_prefix=values["prefix"] or None,
        respawn_failed_workers=True,
        workers_kill_timeout=ntier_process.graceful_seconds(values),
    ).serve(target_loader=load)


if __name__ == "__main__":
    main()
