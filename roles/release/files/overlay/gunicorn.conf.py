# Managed by Ansible (ntier.django): changes are overwritten.
"""gunicorn for any site: the socket comes from systemd, as do the figures that differ from host to host, by the environment."""

from __future__ import annotations

import json
import os
import sys

# The release that this interpreter belongs to, by its own name: a worker that starts after the next one went live still loads this one.
_release = os.path.dirname(sys.prefix)
os.environ["NTIER_RELEASE"] = _release
with open(os.path.join(_release, "settings.json"), encoding="utf-8") as _file:
    _values = json.load(_file)

chdir = os.path.join(_release, "project")
pythonpath = os.path.join(_release, "ntier")
proc_name = f"django-{_values['name']}"
workers = int(os.environ.get("NTIER_WORKERS") or 2)
threads = int(os.environ.get("NTIER_THREADS") or 4)
worker_class = "gthread"
worker_tmp_dir = "/dev/shm"
timeout = _values["timeout_seconds"]
graceful_timeout = min(_values["timeout_seconds"], 40)
keepalive = 0
backlog = 4096
# Whatever a library leaks is given back, never by all workers at the same time.
max_requests = 20000
max_requests_jitter = 2000
# Only nginx reaches the socket.
forwarded_allow_ips = "*"
# nginx sets this one header for the scheme, and removes all others.
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}
# nginx limits the length of a request line and of a header.
limit_request_line = 0  # no limit
limit_request_field_size = 65535
limit_request_fields = 1000
accesslog = None
errorlog = "-"

# gunicorn tells systemd that it is ready before any worker has loaded the site. Here the first worker that has says so.
if "NOTIFY_SOCKET" in os.environ:
    os.environ["NTIER_NOTIFY_SOCKET"] = os.environ.pop("NOTIFY_SOCKET")


def post_worker_init(worker):
    """Tell systemd that the site can answer."""
    import ntier_process  # what is above runs before its folder is known

    ntier_process.ready()
