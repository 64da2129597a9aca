# Managed by Ansible (ntier.django): changes are overwritten.
"""What every app server's start needs to know: the release that this interpreter belongs to, and the figures of host and site."""

from __future__ import annotations

import json
import os
import socket
import sys

#: By the interpreter's own name: a worker that starts after the next release went live still loads this one.
RELEASE = os.path.dirname(sys.prefix)
#: Where systemd hands the site's socket over.
SOCKET = 3
#: Connections that may wait; systemd asked the kernel for as many.
BACKLOG = 4096
#: Where systemd listens for what is ready, under a name that app servers do not know: they would say so before any worker has loaded the site.
NOTIFY = "NTIER_NOTIFY_SOCKET"


def enter():
    """Make the release's code importable and its folder the current one; return the site's values."""
    os.environ["NTIER_RELEASE"] = RELEASE
    hide_notify()
    project = os.path.join(RELEASE, "project")
    os.chdir(project)
    sys.path[:] = [os.path.join(RELEASE, "ntier"), project, *[path for path in sys.path if path not in ("", project)]]
    with open(os.path.join(RELEASE, "settings.json"), encoding="utf-8") as file:
        return json.load(file)


def figure(name, usual):
    """Return a figure of the host, C(WORKERS) or C(THREADS)."""
    return int(os.environ.get(f"NTIER_{name}") or usual)


def graceful_seconds(values):
    """Return how long requests may still take once the site is told to stop: less than systemd waits."""
    return min(values["timeout_seconds"], 40)


def hide_notify():
    """Keep the app server from telling systemd that it is ready."""
    if "NOTIFY_SOCKET" in os.environ:
        os.environ[NOTIFY] = os.environ.pop("NOTIFY_SOCKET")


def ready():
    """Tell systemd, if it started this, that the site can answer."""
    place = os.environ.get(NOTIFY)
    if place:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as teller:
            teller.connect(place.replace("@", "\0", 1) if place.startswith("@") else place)
            teller.sendall(b"READY=1")
