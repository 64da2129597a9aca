"""Packages are installed when nobody else installs any: a new machine upgrades itself for some minutes."""

import subprocess
import sys
import time

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from clusters import ROOT

from ansible_collections.ntier.django.plugins.action import packages
from ansible_collections.ntier.django.plugins.module_utils import locks

HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
getattr(fcntl, sys.argv[2])(file, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Return a function that has another program lock a file."""
    programs = []

    def hold(path, way="lockf"):
        command = [sys.executable, "-c", HOLDER, str(path), way]
        programs.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert programs[-1].stdout.readline() == "locked\n"
        return programs[-1]

    yield hold
    for program in programs:
        program.kill()
        program.communicate()


def test_who_holds_a_lock_is_known_by_process_and_program(tmp_path, holder):
    path, other = tmp_path / "lock-frontend", tmp_path / "lock"
    nowhere = str(tmp_path / "cloud-init")
    assert locks.held([str(path), str(other)], nowhere) == []
    program = holder(path)
    (found,) = locks.held([str(path), str(path), str(other)], nowhere)
    assert found.startswith(sys.executable) and found.endswith(f"(process {program.pid})")
    program.kill()
    program.wait()
    assert locks.held([str(path)], nowhere) == []
    # dpkg and apt take locks of this kind alone.
    holder(other, "flock")
    assert locks.held([str(other)], nowhere) == []


def test_cloud_init_counts_until_it_has_ended_its_boot(tmp_path):
    folder = tmp_path / "cloud-init"
    folder.mkdir()
    assert locks.held([], str(folder)) == []  # installed, and switched off
    (folder / "enabled").touch()
    assert locks.held([], str(folder)) == ["cloud-init"]
    (folder / "result.json").touch()
    assert locks.held([], str(folder)) == []


@pytest.fixture
def run(monkeypatch):
    """Return a function that runs the action: it gets what the host answers, call by call, and returns result, calls and what was said."""

    def act(*answers, check_mode=False, **variables):
        calls, said, clock = [], [], [0.0]
        queue = list(answers)

        class Task:
            def __init__(self):
                self.check_mode = check_mode
                self.args = {"name": ["nginx"], "policy_rc_d": 101}

        action = packages.ActionModule.__new__(packages.ActionModule)
        action._task = Task()

        class Templar:
            @staticmethod
            def template(value):
                return value

        action._templar = Templar

        def execute(name, arguments, task_vars):
            calls.append((name.rsplit(".", 1)[1], arguments))
            clock[0] += arguments.get("seconds", 0)
            answer = queue.pop(0) if len(queue) > 1 else queue[0]
            return {"holders": answer} if isinstance(answer, list) else answer

        monkeypatch.setattr(action, "_execute_module", execute, raising=False)
        monkeypatch.setattr(
            action,
            "validate_argument_spec",
            lambda spec: (None, dict.fromkeys(spec) | action._task.args),
            raising=False,
        )
        monkeypatch.setattr(packages.ActionBase, "run", lambda *_arguments: {})
        monkeypatch.setattr(packages.display, "display", said.append)
        monkeypatch.setattr(time, "monotonic", lambda: clock[0])
        try:
            result = action.run(None, {"inventory_hostname": "web1", **variables})
        except AnsibleActionFail as error:
            result = str(error)
        return result, calls, said

    return act


DONE = {"changed": True}
BUSY = ["unattended-upgr (process 812)"]


def test_packages_are_installed_at_once_when_nobody_else_does(run):
    result, calls, said = run([], DONE)
    assert (result, said) == (DONE, [])
    assert [name for name, _arguments in calls] == ["package_locks", "apt"]
    wanted = {"name": ["nginx"], "policy_rc_d": 101, "install_recommends": False, "update_cache": True}
    assert wanted.items() <= calls[1][1].items()


def test_a_run_waits_for_the_first_upgrade_and_says_so_once(run):
    result, calls, said = run(BUSY, BUSY, BUSY, [], DONE)
    assert result == DONE
    assert [arguments["seconds"] for name, arguments in calls if name == "package_locks"] == [0, 20, 20, 20]
    assert said == [
        "host web1: unattended-upgr (process 812) is installing packages there. Waiting for it, 600 seconds at the most ..."
    ]


def test_the_next_one_to_take_the_lock_is_waited_for_as_well(run):
    lost = {
        "failed": True,
        "msg": "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 90 (apt-get)",
    }
    result, calls, said = run([], lost, BUSY, [], DONE)
    assert result == DONE and len(said) == 1
    assert [name for name, _arguments in calls] == ["package_locks", "apt", "package_locks", "package_locks", "apt"]


def test_a_lock_that_is_never_given_back_is_named(run):
    result, calls, said = run(BUSY, host_apt_lock_timeout_seconds="45")
    assert "Host web1: unattended-upgr (process 812) has held dpkg's lock for 45 seconds" in result
    assert "set host_apt_lock_timeout_seconds" in result and len(said) == 1
    assert "apt" not in [name for name, _arguments in calls]


def test_a_cloud_init_that_never_ends_keeps_nobody_from_installing(run):
    looks = [["cloud-init"]] * 5
    result, calls, _said = run(*looks, DONE, host_apt_lock_timeout_seconds=60)
    assert result == DONE and calls[-1][0] == "apt"


def test_any_other_failure_is_reported_at_once(run):
    broken = {"failed": True, "msg": "No package matching 'nginx' is available"}
    result, calls, _said = run([], broken)
    assert result == broken and len(calls) == 2


def test_a_dry_run_does_not_wait(run):
    _result, calls, _said = run(DONE, check_mode=True)
    assert [name for name, _arguments in calls] == ["apt"]


def test_every_role_installs_packages_in_this_way():
    for path in (ROOT / "roles").glob("**/*.yml"):
        assert "builtin.apt:" not in path.read_text(), path


def test_the_default_is_the_documented_one():
    defaults = yaml.safe_load((ROOT / "roles/host/defaults/main.yml").read_text())
    assert defaults[packages.VARIABLE] == packages.SECONDS
