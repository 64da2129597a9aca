# Managed by Ansible (ntier.django): changes are overwritten.
"""How the site is, for balancers: the same report with every app server."""

from __future__ import annotations

import contextlib
import importlib
import json
import secrets
import threading
import time

from ntier_site import NTIER_SITE

HEALTH = f"{NTIER_SITE['prefix']}/_ntier/health"
#: A probe that takes longer than this many seconds is a fault to those who ask meanwhile.
PATIENCE = 1


def explain(error):
    """Return the class and the first line of an error, without the site's secrets, should a driver quote one."""
    lines = str(error).strip().splitlines()
    text = ": ".join([type(error).__name__, *lines[:1]])
    for secret in (NTIER_SITE["secret_key"], NTIER_SITE["database"]["password"]):
        text = text.replace(secret, "…")
    return text[:200]


def ask_database():
    """Return C(ok), or why the default database does not answer; the thread's own connection is used, and stays open where connections do."""
    from django.db import DEFAULT_DB_ALIAS, connections

    try:
        connection = connections[DEFAULT_DB_ALIAS]
        if connection.settings_dict["ENGINE"] != "django.db.backends.dummy":  # that of a site without any
            connection.close_if_unusable_or_obsolete()
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                cursor.fetchone()
            # Where connections do not persist, those of the threads that probe do not either.
            connection.close_if_unusable_or_obsolete()
    except Exception as error:
        with contextlib.suppress(Exception):
            connections[DEFAULT_DB_ALIAS].close()
        return explain(error)
    return "ok"


def ask_cache():
    """Return C(ok), or which servers do not answer, or why the default cache does not keep a value."""
    from django.core.cache import cache

    try:
        if hasattr(cache, "away"):
            away = cache.away()
            return f"no answer from {', '.join(away)}" if away else "ok"
        # A value of its own, since others ask at the same time; one that is not found may have been pushed out.
        name = f"ntier-health-{secrets.token_hex(8)}"
        cache.set(name, 1, 10)
        cache.get(name)
        cache.delete(name)
    except Exception as error:
        return explain(error)
    return "ok"


class Health:
    """What the balancers are told. A process probes once at a time: probes that wait must not take the visitors' threads."""

    def __init__(self):
        self._busy = threading.Lock()
        self._since = 0.0
        self._last = None

    def report(self):
        """Return C(app), C(database) and C(cache), each C(ok) or a fault."""
        if not self._busy.acquire(blocking=False):
            age = time.monotonic() - self._since
            if self._last and age < PATIENCE:  # two balancers at the same moment
                return self._last
            waits = f"no answer for {age:.0f} seconds" if age >= PATIENCE else "no answer yet"
            return {"app": "ok", "database": waits, "cache": (self._last or {}).get("cache", "ok")}
        try:
            self._since = time.monotonic()
            self._last = {"app": "ok", "cache": ask_cache(), "database": ask_database()}
            return self._last
        finally:
            self._busy.release()

    def answer(self, method):
        """Return status line, headers and body for a request: 503 when the site can't work, which it can without a cache."""
        if method not in ("GET", "HEAD"):
            return "405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Length", "0")], b""
        report = self.report()
        body = json.dumps(report, sort_keys=True).encode()
        healthy = report["app"] == report["database"] == "ok"
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        return "200 OK" if healthy else "503 Service Unavailable", headers, b"" if method == "HEAD" else body


def load(name):
    """Return the application that is named C(module:variable)."""
    module, variable = name.split(":")
    return getattr(importlib.import_module(module), variable)
