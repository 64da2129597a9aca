# Managed by Ansible (ntier.django): changes are overwritten.
"""uWSGI's FastCGI for any site, behind the socket that systemd keeps open."""

from __future__ import annotations

import ntier_process
import pyuwsgi


def options(values):
    """Return uWSGI's options as name → value; C(True) for one without a value."""
    return {
        "strict": True,
        "fastcgi-socket": f"fd://{ntier_process.SOCKET}",
        "master": True,
        "processes": ntier_process.figure("WORKERS", 2),
        "threads": ntier_process.figure("THREADS", 4),
        "enable-threads": True,
        "thunder-lock": True,
        "module": "ntier_uwsgi_app:application",
        # Each worker loads the site itself, so that none shares a connection to the database.
        "lazy-apps": True,
        "need-app": True,
        "procname-prefix": f"django-{values['name']} ",
        # Told to stop, it ends what it works on; whoever comes then waits in the socket.
        "hook-master-start": "unix_signal:15 gracefully_kill_them_all",
        "worker-reload-mercy": ntier_process.graceful_seconds(values),
        "buffer-size": 65535,
        # The number of headers, and of the variables that lighttpd adds.
        "max-vars": 1100,
        # Whatever a library leaks is given back, never by all workers at the same time.
        "max-requests": 20000,
        "max-requests-delta": 2000,
        "disable-logging": True,
        # A visitor who went away is no fault.
        "ignore-sigpipe": True,
        "ignore-write-errors": True,
        "disable-write-exception": True,
    }


def main():
    """Serve until told to stop."""
    values = ntier_process.enter()
    words = []
    for name, value in options(values).items():
        words += [f"--{name}"] if value is True else [f"--{name}={value}"]
    pyuwsgi.run(words)


if __name__ == "__main__":
    main()
