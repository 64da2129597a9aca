"""The module that sees whether a service has read its files, and that the roles ask it about all that they write for services."""

import json
import os
import stat

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from clusters import ROOT

from ansible_collections.ntier.django.plugins.module_utils import units
from ansible_collections.ntier.django.plugins.modules import stale_service

STARTED, RELOADED = 1_795_444_000.25, 1_795_444_100.5
#: What systemd 252 prints.
SHOWN = """\
ReloadResult={result}
ActiveState={state}
StateChangeTimestamp=Mon 2026-11-23 14:28:20.500000 UTC
StateChangeTimestampMonotonic=300500000
ActiveEnterTimestamp=Mon 2026-11-23 14:26:40.250000 UTC
ActiveEnterTimestampMonotonic=200250000
"""
BOOTED = STARTED - 200.25


def shown(state="active", result="success"):
    return SHOWN.format(state=state, result=result)


@pytest.mark.parametrize(
    ("text", "since", "expected"),
    [
        (shown(), "reload", RELOADED),
        (shown(), "start", STARTED),
        # What could not be read is as it was.
        (shown(result="exit-code"), "reload", STARTED),
        (shown(state="reloading"), "reload", RELOADED),
        (shown(state="inactive"), "reload", None),
        (shown(state="failed"), "start", None),
        # A timer has no such result.
        (shown().split("\n", 1)[1], "reload", RELOADED),
        ("ActiveState=inactive\nStateChangeTimestamp=\nActiveEnterTimestamp=\n", "reload", None),
    ],
)
def test_a_unit_has_read_its_files_when_it_started_or_reloaded(text, since, expected):
    assert units.read_at(text, since, 0) == expected


def test_days_may_have_names_of_another_language():
    assert units.seconds("lun. 2026-11-23 14:26:40.250000 UTC", "0", 0) == STARTED


def test_systemd_of_ubuntu_22_04_knows_no_fractions():
    """Version 249 prints moments in the zone of the host, whatever it is asked for."""
    text = shown().replace(".500000 UTC", " CET").replace(".250000 UTC", " CET")
    assert units.read_at(text, "start", BOOTED) == STARTED
    assert units.read_at(text, "reload", BOOTED) == RELOADED


def test_the_newest_file_counts_and_a_folder_with_what_went_out_of_it(tmp_path):
    folder = tmp_path / "conf.d"
    folder.mkdir()
    for place, name in enumerate(["a.conf", "b.conf"]):
        (folder / name).write_text("")
        os.utime(folder / name, (0, 1000 + place))
    os.utime(folder, (0, 500))
    (folder / "broken").symlink_to("nowhere")
    os.utime(folder, (0, 500))
    assert units.written([str(folder)]) == (1001.0, str(folder / "b.conf"))
    assert units.written([str(folder / "a.conf"), str(tmp_path / "nothing")]) == (
        1000.0,
        str(folder / "a.conf"),
    )
    os.utime(folder, (0, 2000))
    assert units.written([str(folder)]) == (2000.0, str(folder))
    assert units.written([str(tmp_path / "nothing")]) == (0.0, "")
    assert units.written([str(folder / "a*.conf")]) == (1000.0, str(folder / "a.conf"))


@pytest.fixture
def ask(tmp_path, monkeypatch, capfd):
    """Return a function that runs the module beside a systemctl that prints a text for each unit."""

    def run(shows, files, **options):
        program = tmp_path / "systemctl"
        cases = "\n".join(f"{name}) cat <<'END'\n{text}END\n;;" for name, text in shows.items())
        program.write_text(f'#!/bin/sh\nfor last; do :; done\ncase "$last" in\n{cases}\n*) exit 1 ;;\nesac\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        with patch_module_args({"name": list(shows), "files": files, **options}), pytest.raises(SystemExit):
            stale_service.main()
        return json.loads(capfd.readouterr().out)

    return run


def test_units_that_started_before_a_file_was_written_are_named(ask, tmp_path):
    file = tmp_path / "a.conf"
    file.write_text("")
    os.utime(file, (0, RELOADED - 1))
    shows = {"a.service": shown(), "b.service": shown(state="inactive")}
    found = ask(shows, [str(file)])
    assert (found["changed"], found["stale"]) == (False, [])
    found = ask(shows, [str(file)], since="start")
    assert (found["changed"], found["stale"], found["newest"]) == (True, ["a.service"], str(file))
    os.utime(file, (0, RELOADED + 1))
    assert ask(shows, [str(file)])["stale"] == ["a.service"]


# --- the roles ----------------------------------------------------------------------------------------------------

#: Handlers that no service's time tells about: a bundle and a mount, and what always comes with another one.
ELSEWHERE = {
    "Rebuild the certificate bundle",
    "Mount the uploads anew",
    "Read the units again",
    "Ask whether PostgreSQL waits for a restart",
    "Restart PostgreSQL",
}


def notified(role):
    """Return the handlers that a role's tasks notify: pairs of the module and a handler."""
    for file in (ROOT / "roles" / role / "tasks").rglob("*.yml"):
        stack = yaml.safe_load(file.read_text()) or []
        while stack:
            task = stack.pop()
            stack += task.get("block", []) + task.get("rescue", []) + task.get("always", [])
            names = task.get("notify", [])
            for name in [names] if isinstance(names, str) else names:
                yield next((key for key in task if "." in key), ""), name


@pytest.mark.parametrize("role", sorted(path.parts[-3] for path in (ROOT / "roles").glob("*/handlers/main.yml")))
def test_a_service_is_asked_wherever_a_file_would_have_it_read_again(role):
    """A run that is killed before its handlers has written files that the next run finds as they should be."""
    found = set(notified(role))
    written = {name for _module, name in found if not name.startswith("{{")}
    asked = {
        name
        for module, name in found
        if module in ("ntier.django.stale_service", "ntier.django.database_configuration")
    }
    assert written - ELSEWHERE <= asked
