# Managed by Ansible (ntier.django): changes are overwritten.
"""The site's WSGI application for a worker of uWSGI, which can be told to stop while it still loads the site.

uWSGI hears of that only when the worker is there; told before, it would serve until it is killed.
"""

from __future__ import annotations

import os
import signal

_loading = True


def _stop(_signal, _frame):
    """End at once, as long as nobody is served; later it is uWSGI's affair, which has a handler of its own by then."""
    if _loading:
        os._exit(0)
    os.kill(os.getpid(), signal.SIGHUP)


signal.signal(signal.SIGHUP, _stop)

import ntier_process  # noqa: E402  # pylint: disable=wrong-import-position
from ntier_wsgi import application  # noqa: E402, F401  # pylint: disable=unused-import,wrong-import-position

_loading = False
ntier_process.ready()
