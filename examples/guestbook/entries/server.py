"""Finds out who took part in answering a request: web host, database and cache."""

import os
import platform
import re
import secrets
import socket
import time

import django
from django.conf import settings
from django.core.cache import cache
from django.db import connection

# This page shows that a server does not answer, and is not to wait long for it.
MEMCACHED_SECONDS = 0.2


def hostname():
    return socket.gethostname()


def describe(request):
    return {
        "web": web(),
        "database": database(),
        "cache": cache_round_trip(),
        "request": {
            "scheme": request.scheme,
            "host": request.get_host(),
            "script_name": request.META.get("SCRIPT_NAME", ""),
            "remote_addr": request.META.get("REMOTE_ADDR", ""),
            "path": request.path,
        },
        "release": str(settings.BASE_DIR),
    }


def web():
    return {
        "host": hostname(),
        "pid": os.getpid(),
        "python": platform.python_version(),
        "django": django.get_version(),
    }


def database():
    answer = {
        "vendor": connection.vendor,
        "name": str(connection.settings_dict["NAME"]),
        "address": connection.settings_dict.get("HOST") or None,
        "port": int(connection.settings_dict.get("PORT") or 0) or None,
        "version": None,
        "in_recovery": None,
    }
    try:
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                # Asked of the server itself: behind a pooler or a floating
                # address, the settings do not tell which server it is.
                cursor.execute(
                    "SELECT current_database(), host(inet_server_addr()), inet_server_port(), version(),"
                    " pg_is_in_recovery()"
                )
                keys = ["name", "address", "port", "version", "in_recovery"]
                answer.update(zip(keys, cursor.fetchone(), strict=True))
            elif connection.vendor == "sqlite":
                cursor.execute("SELECT sqlite_version()")
                answer["version"] = cursor.fetchone()[0]
            else:
                cursor.execute("SELECT 1")
                answer["version"] = ".".join(str(part) for part in connection.get_database_version())
    except Exception as error:  # noqa: BLE001
        # Whatever is wrong with the database, this page exists to show it.
        answer["error"] = explain(error)
    return answer


def cache_round_trip():
    configuration = settings.CACHES["default"]
    answer = {
        "backend": configuration["BACKEND"],
        "servers": cache_servers(configuration.get("LOCATION")),
        "requests": {},
        "ok": False,
        "milliseconds": None,
    }
    if "memcache" in configuration["BACKEND"].lower():
        answer["requests"] = {server: memcached_requests(server) for server in answer["servers"]}
    # A value of its own for each call: two workers asking at once must not
    # take each other's value for an answer.
    key, value = f"server-{secrets.token_hex(8)}", secrets.token_hex(8)
    try:
        start = time.perf_counter()
        cache.set(key, value, 10)
        returned = cache.get(key)
        elapsed = time.perf_counter() - start
    except Exception as error:  # noqa: BLE001
        answer["error"] = explain(error)
        return answer
    if returned == value:
        answer.update(ok=True, milliseconds=round(elapsed * 1000, 3))
    else:
        # Some backends swallow a connection error and just find nothing.
        answer["error"] = "no answer"
    return answer


def cache_servers(location):
    if not location:
        return []
    if isinstance(location, str):
        location = re.split("[;,]", location)
    # A location may be a URL with a user name and a password in it.
    return [re.sub(r"//[^/]*@", "//", str(server).strip()) for server in location]


def memcached_requests(server):
    """Return how many values the server was asked for or given since it started, None if it does not say."""
    host, _colon, port = server.removeprefix("tcp:").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=MEMCACHED_SECONDS) as connection:
            connection.sendall(b"stats\r\nquit\r\n")
            with connection.makefile("rb") as lines:
                figures = {line.split()[1]: line.split()[2] for line in lines if line.startswith(b"STAT cmd_")}
        return int(figures[b"cmd_get"]) + int(figures[b"cmd_set"])
    except (OSError, ValueError, LookupError):
        return None


def explain(error):
    first_line = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
