"""Why an app server failed: the project's own exception, whatever the server writes around it."""

import pytest

from ansible_collections.ntier.django.plugins.plugin_utils.journal import reason

HOME = "/srv/polls/releases/20260102T120000-new"
PACKAGES = f"{HOME}/venv/lib/python3.11/site-packages"
WSGI = f"""\
Traceback (most recent call last):
  File "{PACKAGES}/gunicorn/arbiter.py", line 608, in spawn_worker
    worker.init_process()
  File "{HOME}/ntier/ntier_wsgi.py", line 9, in <module>
    application = load()
                  ^^^^^^
  File "/usr/lib/python3.11/importlib/__init__.py", line 126, in import_module
    return _bootstrap._gcd_import(name[level:], package, level)
  File "<frozen importlib._bootstrap>", line 1206, in _gcd_import
  File "{HOME}/project/polls/wsgi.py", line 18, in <module>
    raise RuntimeError("the application does not start")
RuntimeError: the application does not start
"""
REASON = [
    f'  File "{HOME}/project/polls/wsgi.py", line 18, in <module>',
    '    raise RuntimeError("the application does not start")',
    "RuntimeError: the application does not start",
]
GUNICORN = f"""\
Starting django@polls.service - Django site polls...
[2026-01-02 12:00:00 +0000] [71] [INFO] Listening at: unix:/run/django/polls.sock (71)
Started django@polls.service - Django site polls.
[2026-01-02 12:00:01 +0000] [72] [ERROR] Exception in worker process
{WSGI}[2026-01-02 12:00:01 +0000] [72] [INFO] Worker exiting (pid: 72)
[2026-01-02 12:00:01 +0000] [71] [ERROR] Worker (pid:72) exited with code 3
Traceback (most recent call last):
  File "{PACKAGES}/gunicorn/arbiter.py", line 208, in run
    self.sleep()
  File "{PACKAGES}/gunicorn/arbiter.py", line 683, in reap_workers
    raise HaltServer(reason, self.WORKER_BOOT_ERROR)
gunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/polls/current/venv/bin/gunicorn", line 10, in <module>
    sys.exit(run())
  File "{PACKAGES}/gunicorn/arbiter.py", line 683, in reap_workers
    raise HaltServer(reason, self.WORKER_BOOT_ERROR)
gunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>
django@polls.service: Main process exited, code=exited, status=1/FAILURE
django@polls.service: Scheduled restart job, restart counter is at 4.
"""
UWSGI = f"""\
*** Operational MODE: preforking+threaded ***
{WSGI}unable to load app 0 (mountpoint='') (callable not found or import error)
*** no app loaded. going in full dynamic mode ***
--- no python application found, check your startup logs for errors ---
"""
APACHE = "\n".join(
    f"[Fri Jan 02 12:00:01.123456 2026] [wsgi:error] [pid 72:tid 139] [client 10.0.0.1:4711] {line}"
    for line in [
        "mod_wsgi (pid=72): Failed to exec Python script file '/srv/polls/current/ntier/ntier_wsgi.py'.",
        f"mod_wsgi (pid=72): Exception occurred processing WSGI script '{HOME}/ntier/ntier_wsgi.py'.",
        *WSGI.splitlines(),
    ]
)
GRANIAN = f"""\
[INFO] Starting granian (main PID: 71)
[INFO] Spawning worker-1 with PID: 72
Process granian-worker-1:
{WSGI}[ERROR] Unexpected exit from worker-1
[INFO] Shutting down granian
"""
SERVERS = {"gunicorn": GUNICORN, "uwsgi": UWSGI, "apache": APACHE, "granian": GRANIAN}


@pytest.mark.parametrize("server", SERVERS)
def test_the_projects_exception_is_found_with_every_server(server):
    assert reason(SERVERS[server]).splitlines() == REASON


def test_an_exception_of_a_package_is_said_with_its_last_call():
    journal = WSGI.partition(f'  File "{HOME}/project')[0] + (
        f'  File "{PACKAGES}/django/conf/__init__.py", line 9, in _setup\n'
        "    raise ImproperlyConfigured(\n"
        "django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty.\n"
    )
    assert reason(journal).splitlines() == [
        f'  File "{PACKAGES}/django/conf/__init__.py", line 9, in _setup',
        "    raise ImproperlyConfigured(",
        "django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty.",
    ]


@pytest.mark.parametrize(
    "between",
    [
        "The above exception was the direct cause of the following exception:",
        "During handling of the above exception, another exception occurred:",
    ],
)
def test_what_led_to_the_projects_exception_is_said_as_well(between):
    first = WSGI.replace("RuntimeError: the application does not start", "KeyError: 'COLOUR'")
    second = WSGI.replace("RuntimeError: the application does not start", "ValueError: no colour")
    journal = f"\n{between}\n\n".join([first, second, WSGI])
    assert reason(journal).splitlines() == [*REASON, "caused by ValueError: no colour", "caused by KeyError: 'COLOUR'"]


def test_code_that_is_no_python_is_shown():
    journal = (
        "Traceback (most recent call last):\n"
        f'  File "{HOME}/project/polls/wsgi.py", line 18\n'
        "    def application(\n"
        "                   ^\n"
        "SyntaxError: '(' was never closed\n"
    )
    assert reason(journal).splitlines() == [
        f'  File "{HOME}/project/polls/wsgi.py", line 18',
        "    def application(",
        "SyntaxError: '(' was never closed",
    ]


def test_an_exception_of_several_lines_is_said_whole_and_what_others_write_amid_it_is_left_out():
    journal = WSGI.replace("RuntimeError: the", "django@polls.service: Consumed 5s CPU time.\nRuntimeError: the")
    journal += "\tIs the server running on that host?\nStopped django@polls.service.\n  File is closed\n"
    assert reason(journal).splitlines() == [*REASON, "\tIs the server running on that host?"]


def test_a_long_way_through_the_project_is_shown_by_its_end():
    call = f'  File "{HOME}/project/polls/models.py", line 7, in ask\n    return ask()\n'
    journal = WSGI.replace(
        f'  File "{HOME}/project/polls/wsgi.py"', call * 30 + f'  File "{HOME}/project/polls/wsgi.py"'
    )
    lines = reason(journal).splitlines()
    assert len(lines) == 15
    assert lines[-3:] == REASON


@pytest.mark.parametrize(
    "journal",
    [
        "",
        "\n".join(f"line {number}" for number in range(15)),
        'Traceback (most recent call last):\n  File "a.py", line 1, in <module>',
        'Traceback (most recent call last):\n  File "a.py", line 1, in wait\n    wait()\nSystemExit: 1',
    ],
)
def test_without_an_exception_of_the_project_the_last_lines_are_shown(journal):
    assert reason(journal) == journal
    assert reason("earlier\n\n" * 15 + journal).endswith(journal)
    assert len(reason("earlier\n\n" * 15 + journal).splitlines()) == 15
