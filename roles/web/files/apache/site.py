# Managed by Ansible (ntier.django): changes are overwritten.
"""What Apache's mod_wsgi loads in a daemon process of a site; the process group bears the site's name. Apache itself can't read a site's folder.

Apache knows the release by the link C(current) alone, which leads elsewhere after the next release. This process keeps
the one that it started with.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import socket
import sys
import traceback

import mod_wsgi

_name = mod_wsgi.process_group
_current = f"/srv/{_name}/current"
_release = os.path.realpath(_current)


def _bear_the_name(name: str) -> None:
    """Have this process tell C(ntier-restart-daemons) what became of it; a name has 15 letters at the most.

    A process that has changed its user may not write into its own folder of C(/proc), where the name stands.
    """
    ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)  # PR_SET_NAME


def _speak_to_the_journal():
    """Let what this process writes stand in the journal as C(django-NAME), as that of every app server does."""
    with contextlib.suppress(OSError):
        journal = socket.socket(socket.AF_UNIX)
        journal.connect("/run/systemd/journal/stdout")
        # Identifier, unit, priority, priorities in the text, and three further places to write to: none.
        journal.sendall(f"django-{_name}\n\n6\n0\n0\n0\n0\n".encode())
        os.dup2(journal.fileno(), 2)
        sys.stdout = sys.stderr = os.fdopen(
            2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
        )


_speak_to_the_journal()
with open(f"{_release}/environment", encoding="utf-8") as _file:
    for _line in _file:
        if not _line.startswith("#"):
            os.environ.update(part.split("=", 1) for part in shlex.split(_line))
os.environ.update(NTIER_RELEASE=_release, HOME=f"/var/lib/django/{_name}")
sys.prefix = sys.exec_prefix = f"{_release}/venv"
sys.path[:] = [f"{_release}/ntier", f"{_release}/project", *(path.replace(_current, _release, 1) for path in sys.path)]
os.chdir(f"{_release}/project")

try:
    from ntier_wsgi import application  # noqa: F401  # pylint: disable=unused-import
except BaseException:
    traceback.print_exc()
    _bear_the_name("django-failed")
    raise
_bear_the_name("django-ready")
