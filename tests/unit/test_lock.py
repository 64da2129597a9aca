"""One run at a time: who holds the lock of a host, whether it is dead, and what a second run does, with the real ansible-playbook."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest
import yaml
from clusters import ROOT

from ansible_collections.ntier.django.plugins.module_utils import lock
from ansible_collections.ntier.django.plugins.plugin_utils import runs

OWN = {"run": "0a1b2c3d4e5f", "where": "laptop", "boot": "b 1", "pid": 10, "began": "100", "who": "anna", "since": 0}
OTHER = {**OWN, "run": "ffeeddccbbaa", "pid": 20, "began": "200", "who": "ben", "playbook": "release"}


def held(**changes):
    return {**OTHER, "age": 5, "beats": True, **changes}


# --- on the host --------------------------------------------------------------------------------------------------


def test_a_second_run_is_told_of_the_first(tmp_path):
    folder = str(tmp_path / "ntier")
    assert lock.take(folder, OWN) is None
    assert lock.take(folder, OWN) is None
    holder = lock.take(folder, OTHER)
    assert (holder["run"], holder["who"], holder["beats"], holder["age"]) == (OWN["run"], "anna", False, 0)
    assert lock.read(folder)["run"] == OWN["run"]


def test_a_lock_is_released_by_its_own_run_alone(tmp_path):
    folder = str(tmp_path)
    lock.take(folder, OWN)
    assert not lock.release(folder, OTHER["run"])
    assert lock.release(folder, OWN["run"])
    assert not lock.release(folder, OWN["run"])
    assert lock.take(folder, OTHER) is None


def test_only_the_run_that_is_dead_is_taken_over(tmp_path):
    folder = str(tmp_path)
    lock.take(folder, OWN)
    assert lock.take(folder, OTHER, over=OWN["run"]) is None
    third = {**OWN, "run": "333333333333"}
    # A third run that has seen the first one dead comes too late for its lock.
    assert lock.take(folder, third, over=OWN["run"])["run"] == OTHER["run"]


def test_one_of_many_at_the_same_moment_gets_it(tmp_path):
    answers = []
    claims = [{**OWN, "run": f"{number:012}"} for number in range(16)]
    threads = [threading.Thread(target=lambda c=c: answers.append(lock.take(str(tmp_path), c))) for c in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(None) == 1
    assert len({answer["run"] for answer in answers if answer}) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"who": "x"}', "null"])
def test_what_no_run_has_written_is_nobodys(tmp_path, text):
    (tmp_path / lock.LOCK).write_text(text)
    assert lock.take(str(tmp_path), OWN) is None
    assert lock.read(str(tmp_path))["run"] == OWN["run"]


def shell(command):
    return subprocess.run(["sh", "-c", command], check=False).returncode


def test_signs_of_life_by_the_shell(tmp_path):
    folder = str(tmp_path)
    lock.take(folder, OWN)
    os.utime(tmp_path / lock.LOCK, (1, 1))
    assert lock.read(folder)["age"] > runs.LEASE
    assert shell(runs.renewal(OWN["run"], folder)) == 0
    holder = lock.read(folder)
    assert (holder["beats"], holder["age"]) == (True, 0)
    assert shell(runs.renewal(OTHER["run"], folder)) == 3
    assert lock.read(folder)["beats"]
    assert shell(runs.release(OTHER["run"], folder)) == 0
    assert lock.read(folder)
    lock.release(folder, OWN["run"])
    assert shell(runs.renewal(OWN["run"], folder)) == 4
    lock.take(folder, OTHER)
    assert not lock.read(folder)["beats"]
    assert shell(runs.renewal(OWN["run"], folder)) == 4
    assert shell(runs.release(OTHER["run"], folder)) == 0
    assert lock.read(folder) is None


# --- who is dead --------------------------------------------------------------------------------------------------

ELSEWHERE = {"where": "ci", "boot": "c 7"}
ALIVE = [
    held(),
    held(age=10**6),  # on this controller the process alone counts
    held(age=10**6, beats=False),
    held(**ELSEWHERE),
    held(**ELSEWHERE, age=runs.PATIENCE),
    held(**ELSEWHERE, age=runs.LEASE, beats=False),
    held(where="laptop", boot="another boot", pid=1),
    held(where="container", pid=1),  # the same machine, and another's process numbers
]
DEAD = [
    held(pid=21),
    held(began="199"),  # the number is another process's by now
    held(**ELSEWHERE, age=runs.PATIENCE + 1),
    held(**ELSEWHERE, age=runs.LEASE + 1, beats=False),
]


def start(pid):
    return {10: "100", 20: "200"}.get(pid, "")


@pytest.mark.parametrize("holder", ALIVE)
def test_a_run_that_may_be_alive_is_not_taken_over(holder):
    assert runs.dead(holder, OWN, start=start) == ""


@pytest.mark.parametrize("holder", DEAD)
def test_a_dead_run_is_taken_over(holder):
    assert runs.dead(holder, OWN, start=start) != ""


def test_without_a_boot_to_compare_no_process_is_judged():
    assert runs.dead(held(boot="", pid=21), {**OWN, "boot": ""}, start=start) == ""


def test_a_user_takes_over_the_run_that_he_names():
    assert runs.dead(held(**ELSEWHERE), OWN, OTHER["run"], start) == "ntier_lock_take_over says so"
    assert runs.dead(held(**ELSEWHERE), OWN, "true", start) == ""


def test_a_run_is_the_same_in_all_of_its_tasks():
    one, two = runs.claim(os.getpid(), ["ntier.django.site"]), runs.claim(os.getpid(), [])
    assert one["run"] == two["run"] != runs.claim(os.getppid(), [])["run"]
    assert one["playbook"] == "site"
    assert runs.began(os.getpid()) == one["began"] != ""
    assert runs.began(2**22 + 1) == ""


def test_the_refusal_names_who_what_and_what_to_do():
    what, fix = runs.refusal(held(since=time.time(), age=12, **ELSEWHERE), OWN, 0)
    assert what == f"is locked: ben on ci runs release since {time.strftime('%H:%M')}, last sign of life 12 seconds ago"
    assert "-e ntier_lock_wait_seconds=600" in fix
    assert fix.endswith("-e ntier_lock_take_over=ffeeddccbbaa")
    what, fix = runs.refusal(held(since=0, age=500, beats=False), OWN, 600)
    assert what.endswith(". Process 20 of this controller is alive, and did not end within 10 minutes")
    assert "end that process" in fix
    assert "ntier_lock_take_over" not in fix
    assert runs.refusal(held(beats=False, **ELSEWHERE), OWN, 0)[0].endswith(", and gives no signs of life")


# --- the process that watches a run -------------------------------------------------------------------------------


class Watched:
    """A process that ends after so many looks, and what was executed on the host."""

    def __init__(self, looks, statuses=()):
        self.looks, self.statuses = looks, list(statuses)
        self.commands, self.interrupted = [], []

    def start(self, pid):
        self.looks -= 1
        return "100" if self.looks >= 0 else ""

    def execute(self, command):
        self.commands.append("release" if "rm -f" in command else "renew")
        return self.statuses.pop(0) if self.statuses else 0

    def watch(self, **more):
        given = {"every": 0, "pause": 0, "start": self.start, "interrupt": self.interrupted.append, **more}
        runs.watch("0a1b2c3d4e5f", 10, self.execute, **given)
        return self.commands


def test_a_run_is_renewed_while_it_is_there_and_then_released():
    assert Watched(3).watch() == ["renew", "renew", "release"]


def test_it_is_renewed_now_and_then():
    assert Watched(30).watch(every=60) == ["renew", "release"]


def test_a_host_that_can_not_be_asked_is_asked_again():
    assert Watched(4, [-1, 255]).watch() == ["renew", "renew", "renew", "release"]


def test_a_run_that_lost_its_lock_is_interrupted():
    watched = Watched(9, [0, 3])
    assert watched.watch() == ["renew", "renew"]
    assert watched.interrupted == [10]


def test_a_run_that_has_released_its_lock_is_left_alone():
    watched = Watched(9, [0, 4])
    assert watched.watch() == ["renew", "renew"]
    assert watched.interrupted == []


# --- the playbooks ------------------------------------------------------------------------------------------------

LOCKING = ["site", "release", "rollback", "web", "database", "media", "memcached", "load_balancer"]


@pytest.mark.parametrize("name", LOCKING)
def test_what_changes_hosts_releases_its_lock_last(name):
    plays = yaml.safe_load((ROOT / f"playbooks/{name}.yml").read_text())
    assert plays[-1]["import_playbook"] == "unlock.yml"
    text = (ROOT / "playbooks/rollback.yml" if name == "rollback" else ROOT / "playbooks/preflight.yml").read_text()
    assert "ntier.django.lock:" in text


@pytest.mark.parametrize("name", ["plan", "status", "diagram"])
def test_what_changes_nothing_takes_no_lock(name):
    plays = yaml.safe_load((ROOT / f"playbooks/{name}.yml").read_text())
    assert "unlock.yml" not in str(plays)
    assert "ntier.django.lock" not in str(plays)
    for play in plays:
        if play.get("import_playbook") == "preflight.yml":
            assert play["vars"]["ntier_build"] is False


# --- with ansible-playbook ----------------------------------------------------------------------------------------

PLAY = """
- hosts: all
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - ntier.django.lock:
        folder: "{{ folder }}/{{ inventory_hostname }}"
        wait_seconds: "{{ wait }}"
    - ansible.builtin.debug: {msg: GOT IT}
    - ansible.builtin.wait_for: {path: "{{ folder }}/go", timeout: 120, sleep: 1}
      delegate_to: localhost
      run_once: true
    - ntier.django.lock: {folder: "{{ folder }}/{{ inventory_hostname }}", state: absent}
      when: unlock
"""


class Cluster:
    """Two hosts that are folders, and runs that lock them."""

    def __init__(self, folder):
        self.folder = folder
        hosts = {
            name: {"ansible_connection": "local", "ansible_python_interpreter": sys.executable} for name in ("a", "b")
        }
        (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
        (folder / "release.yml").write_text(PLAY)
        self.processes = []

    def start(self, wait=0, unlock=True):
        options = json.dumps({"folder": str(self.folder), "wait": wait, "unlock": unlock})
        # Mitogen's connections can't be used by the process that watches the run.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_STRATEGY")}
        process = subprocess.Popen(
            ["ansible-playbook", "-i", "hosts.yml", "release.yml", "-e", options],
            cwd=self.folder,
            env={**environment, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def until(self, condition, what):
        end = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < end, what
            time.sleep(0.1)

    def holders(self):
        found = [lock.read(str(self.folder / name)) for name in ("a", "b")]
        return [holder["run"] if holder else None for holder in found]

    def locked(self):
        self.until(lambda: None not in self.holders(), "the hosts are not locked")

    def free(self):
        self.until(lambda: self.holders() == [None, None], "the hosts stay locked")


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path)
    yield made
    for process in made.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_a_second_run_is_refused_and_a_third_one_waits(cluster):
    first = cluster.start()
    cluster.locked()
    second, third = cluster.start(), cluster.start(wait=100)
    text = second.communicate(timeout=120)[0]
    assert second.returncode != 0
    assert "Another run is under way" in text
    assert "runs release.yml since" in text
    assert "GOT IT" not in text
    pathlib.Path(cluster.folder / "go").touch()
    assert first.wait(120) == 0
    text = third.communicate(timeout=120)[0]
    assert third.returncode == 0, text
    assert "Waiting for its end" in text
    cluster.free()


def test_a_run_that_was_killed_or_failed_leaves_no_lock(cluster):
    first = cluster.start()
    cluster.locked()
    cluster.until(lambda: all(lock.read(str(cluster.folder / name))["beats"] for name in ("a", "b")), "no sign of life")
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate(timeout=20)  # nobody keeps its output open
    cluster.free()
    pathlib.Path(cluster.folder / "go").touch()
    second = cluster.start(unlock=False)
    assert second.wait(120) == 0
    cluster.free()


def test_a_dead_run_is_taken_over_at_once(cluster):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    claim = runs.claim(os.getpid(), ["ntier.django.site"])
    gone.wait()
    for name in ("a", "b"):
        lock.take(str(cluster.folder / name), {**claim, "run": "deadbeefdead", "pid": gone.pid, "began": "1"})
    pathlib.Path(cluster.folder / "go").touch()
    done = cluster.start()
    text = done.communicate(timeout=120)[0]
    assert done.returncode == 0, text
    assert "The lock of host a is taken over" in text


def test_a_run_whose_lock_another_one_has_is_interrupted(cluster):
    first = cluster.start()
    cluster.locked()
    run = cluster.holders()[0]
    rival = {**runs.claim(os.getpid(), []), "run": "deadbeefdead"}
    watched = []
    assert lock.take(str(cluster.folder / "a"), rival, over=run) is None
    runs.watch(
        run, first.pid, lambda command: watched.append(command) or shell(command), folder=str(cluster.folder / "a")
    )
    assert len(watched) == 1
    text = first.communicate(timeout=60)[0]
    assert first.returncode != 0
    assert "This run has lost the lock of a host" in text
