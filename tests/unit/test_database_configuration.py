"""The module that checks whether PostgreSQL runs with its configuration, beside stand-ins for systemctl and psql."""

import json
import os
import stat

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.ntier.django.plugins.modules import database_configuration

#: What systemd 252 prints of a server that started at 1 795 444 000.25 and was reloaded 100 seconds later.
SHOWN = """\
ReloadResult=success
ActiveState={state}
StateChangeTimestamp=Mon 2026-11-23 14:28:20.500000 UTC
StateChangeTimestampMonotonic=300500000
ActiveEnterTimestamp=Mon 2026-11-23 14:26:40.250000 UTC
ActiveEnterTimestampMonotonic=200250000
"""
STARTED, RELOADED = 1_795_444_000.25, 1_795_444_100.5


def row(*fields):
    return "\x1f".join(fields) + "\n"


def loaded(moment):
    return row("", str(moment), "", "")


WAITING = row("max_connections", "100", "130", "/etc/postgresql/15/main/conf.d/ntier.conf")


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Give a server's data, and configuration that it has read."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    for name in ("bin", "main", "conf.d"):
        (tmp_path / name).mkdir()
    (tmp_path / "main/postmaster.pid").write_text("1\n/data\n0\n5433\n/run/postgresql\n*\n")
    write(tmp_path / "conf.d/ntier.conf", RELOADED - 1)
    os.utime(tmp_path / "conf.d", (0, RELOADED - 1))
    return tmp_path


def write(path, moment):
    path.write_text("")
    os.utime(path, (0, moment))


@pytest.fixture
def ask(server, capfd):
    """Return a function that runs the module; C(answers) are what psql prints, the last one again and again."""

    def run(*answers, state="active", code=0, **options):
        for number, text in enumerate(answers or [loaded(RELOADED)]):
            (server / f"answer{number}").write_text(text)
        last = max(len(answers), 1) - 1
        program(server / "bin/systemctl", f"cat <<'END'\n{SHOWN.format(state=state)}END")
        program(
            server / "bin/runuser",
            f'echo "$@" >> {server}/told; n=$(cat {server}/count 2>/dev/null || echo 0); echo $((n + 1)) > {server}/count;'
            f" [ $n -gt {last} ] && n={last}; cat {server}/answer$n; exit {code}",
        )
        words = {"name": "u", "data": str(server / "main"), "files": [str(server / "conf.d")], **options}
        with patch_module_args(words), pytest.raises(SystemExit):
            database_configuration.main()
        return json.loads(capfd.readouterr().out)

    return run


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_server_with_its_configuration_is_left_alone(ask, server):
    found = ask()
    assert (found["changed"], found["stale"], found["pending"], found["unit"]) == (False, False, {}, "")
    told = (server / "told").read_text()
    # Where the running server is, whatever the files say by now.
    assert "-h /run/postgresql -p 5433" in told
    assert told.startswith("-u ")


def test_files_that_were_not_read_and_settings_that_wait_are_reported(ask, server):
    write(server / "conf.d/ntier.conf", RELOADED + 1)
    found = ask()
    assert (found["changed"], found["stale"]) == (True, True)
    found = ask(loaded(RELOADED) + WAITING)
    file = "/etc/postgresql/15/main/conf.d/ntier.conf"
    assert found["pending"] == {"max_connections": {"running": "100", "configured": "130", "file": file}}
    assert found["changed"] is True


def test_a_unit_s_own_files_take_effect_when_it_starts(ask, server):
    write(server / "confine.conf", STARTED + 1)
    found = ask(unit_files=[str(server / "confine.conf")])
    assert (found["changed"], found["unit"]) == (True, str(server / "confine.conf"))
    write(server / "confine.conf", STARTED - 1)
    assert ask(unit_files=[str(server / "confine.conf")])["changed"] is False


def test_a_server_that_was_told_to_reload_is_waited_for(ask, server):
    write(server / "conf.d/ntier.conf", RELOADED + 10)
    found = ask(loaded(RELOADED), loaded(RELOADED), loaded(RELOADED + 10) + WAITING, reloaded=True)
    assert (found["stale"], list(found["pending"])) == (False, ["max_connections"])
    assert (server / "count").read_text() == "3\n"


def test_a_configuration_that_was_rejected_is_shown(ask, server, monkeypatch):
    monkeypatch.setattr(database_configuration, "RELOADED", 0)
    write(server / "conf.d/ntier.conf", RELOADED + 10)
    found = ask(loaded(RELOADED), row("/etc/x.conf", "3", "syntax error"), reloaded=True)
    assert found["failed"]
    assert "goes on with the earlier one: /etc/x.conf, line 3: syntax error. Correct it" in found["msg"]


@pytest.mark.parametrize("state", ["inactive", "failed"])
def test_a_server_that_does_not_run_has_nothing_to_read(ask, server, state):
    write(server / "conf.d/ntier.conf", RELOADED + 10)
    assert ask(loaded(RELOADED) + WAITING, state=state)["changed"] is False


def test_a_server_that_does_not_answer_is_not_waited_for(ask):
    assert ask("", code=2)["changed"] is False


def test_what_a_move_has_left_goes_and_the_server_reads_its_files_again(ask, server):
    write(server / "conf.d/ntier_standby.conf", RELOADED - 5)
    os.utime(server / "conf.d", (0, RELOADED - 1))
    leftovers = [str(server / "conf.d/ntier_standby.conf")]
    found = ask(leftovers=leftovers, _ansible_check_mode=True)
    assert (found["changed"], found["removed"]) == (True, leftovers)
    assert os.path.exists(leftovers[0])
    found = ask(leftovers=leftovers)
    assert (found["changed"], found["removed"]) == (True, leftovers)
    assert not os.path.exists(leftovers[0])
    # Its task notifies the reload; where that was cut off, the next run sees the folder.
    assert ask(leftovers=leftovers)["stale"] is True


@pytest.mark.parametrize(
    ("name", "text", "kept"),
    [
        ("standby.signal", "", True),
        ("recovery.signal", "", True),
        ("ntier-follows", '{"system": "71"}', True),
        ("ntier-follows", '{"system": "71", "promoted": true}', False),
    ],
)
def test_a_standby_keeps_what_it_needs_to_follow(ask, server, name, text, kept):
    """With less than its primary has it would not start."""
    write(server / "conf.d/ntier_standby.conf", RELOADED - 5)
    (server / "main" / name).write_text(text)
    found = ask(leftovers=[str(server / "conf.d/ntier_standby.conf")])
    assert (server / "conf.d/ntier_standby.conf").exists() is kept
    assert found["removed"] == ([] if kept else [str(server / "conf.d/ntier_standby.conf")])
