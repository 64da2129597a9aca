"""Runs Python programs in children of one process that has imported Django already: python prefork.py.

A start of Django takes most of a second, and the tests of the settings overlay start it a hundred times. The process has
imported Django's modules and no settings; each program gets a fork of it with its own environment, paths and arguments.
Requests and answers are lines of JSON.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
import types
import typing as t

#: What most programs of the tests import; a module that is not there, or wants settings, is left to the program.
MODULES = (
    "asyncio",
    "pymemcache.client.hash",
    "pymemcache.serde",
    "django.core.management.commands.shell",
    "django.core.management.commands.check",
    "django.core.servers.basehttp",
    "django.core.handlers.asgi",
    "django.core.cache.backends.memcached",
    "django.core.cache.backends.locmem",
    "django.contrib.staticfiles.storage",
    "django.contrib.staticfiles.management.commands.collectstatic",
    "django.contrib.sessions.backends.signed_cookies",
    "django.contrib.sessions.middleware",
    "django.db.backends.sqlite3.base",
    "django.middleware.cache",
    "django.middleware.common",
    "django.middleware.csrf",
    "django.template.defaulttags",
    "django.test",
    "django.urls",
)


class Prefork:
    """The parent of such children, for one interpreter and one Django."""

    def __init__(self, python: str = sys.executable, django: str = "") -> None:
        paths = {"PYTHONPATH": django} if django else {}
        self.process = subprocess.Popen(
            [python, "-u", __file__],
            env={"PATH": os.environ["PATH"], **paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, arguments: t.Sequence[str], environment: t.Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run what C(python ARGUMENTS) would; the arguments start with C(-c), C(-m) or a file."""
        assert self.process.stdin
        assert self.process.stdout
        with tempfile.TemporaryDirectory() as folder:
            places = [os.path.join(folder, name) for name in ("out", "err")]
            self.process.stdin.write(json.dumps([list(arguments), dict(environment), places]) + "\n")
            self.process.stdin.flush()
            status = json.loads(self.process.stdout.readline())
            texts = []
            for place in places:
                with open(place, encoding="utf-8") as file:
                    texts.append(file.read())
        return subprocess.CompletedProcess(list(arguments), status, *texts)

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(10)


def _program(arguments: list[str]) -> None:
    kind, *rest = arguments
    if kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        exec(compile(rest[0], "<string>", "exec"), module.__dict__)
    elif kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(kind, run_name="__main__")


def _child(arguments: list[str], environment: dict[str, str], places: list[str]) -> None:
    for number, place in enumerate(places, 1):
        handle = os.open(place, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(handle, number)
    status = 1
    try:
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:] = [*filter(None, environment.get("PYTHONPATH", "").split(":")), *sys.path[1:]]
        importlib.invalidate_caches()
        for path in sys.path[:3]:
            # As Python does when it starts.
            if os.path.isfile(os.path.join(path, "sitecustomize.py")):
                runpy.run_path(os.path.join(path, "sitecustomize.py"))
        _program(arguments)
        status = 0
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Answer requests until there are no more."""
    for name in MODULES:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _child(*json.loads(line))
        _pid, status = os.waitpid(child, 0)
        answers.write(f"{json.dumps(os.waitstatus_to_exitcode(status))}\n")


if __name__ == "__main__":
    main()
