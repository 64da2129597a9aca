"""Restarting a site's processes in Apache: in which order, and when that has come to its end."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import signal
import types

import pytest
from rendering import ROOT


class Apache:
    """Apache with a site's processes, which end and load as time goes by: each look at them is a moment."""

    def __init__(self, count: int, *, slow: int = 0, fate: str = "django-ready"):
        self.names = dict.fromkeys(range(100, 100 + count), "django-ready")
        self.ending: dict[int, int] = {}
        self.loading: dict[int, int] = {}
        self.slow, self.fate, self.last = slow, fate, 200
        self.least = count
        self.reloaded = False

    def kill(self, pid: int, number: int) -> None:
        assert number == signal.SIGTERM
        if pid not in self.names:
            raise ProcessLookupError
        self.ending[pid] = 2 + self.slow

    def start(self) -> None:
        self.last += 1
        self.names[self.last] = "apache2"
        self.loading[self.last] = 3

    def processes(self, site: str) -> dict[int, str]:
        assert site == "shop"
        for pid in list(self.loading):
            self.loading[pid] -= 1
            if not self.loading[pid]:
                del self.loading[pid]
                self.names[pid] = self.fate
        for pid in list(self.ending):
            self.ending[pid] -= 1
            if not self.ending[pid]:
                del self.ending[pid]
                del self.names[pid]
                self.start()
        answering = [pid for pid, name in self.names.items() if name == "django-ready" and pid not in self.ending]
        self.least = min(self.least, len(answering))
        return dict(self.names)

    def reload(self, command: list[str], *, check: bool) -> None:
        assert (command, check) == (["systemctl", "reload", "apache2.service"], True)
        self.reloaded = True
        self.start()


@pytest.fixture(name="module")
def fixture_module(monkeypatch, tmp_path) -> types.ModuleType:
    """Return the program, whose clock goes on with each look."""
    path = str(ROOT / "roles/web/files/apache/ntier-restart-daemons")
    loader = importlib.machinery.SourceFileLoader("ntier_restart_daemons", path)
    spec = importlib.util.spec_from_loader("ntier_restart_daemons", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    (tmp_path / "pid").write_text("9\n")
    monkeypatch.setattr(module, "PID", tmp_path / "pid")
    monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    return module


def of(apache: Apache, module: types.ModuleType, monkeypatch) -> Apache:
    """Let the program see this Apache."""
    monkeypatch.setattr(module, "processes", apache.processes)
    monkeypatch.setattr(module.os, "kill", apache.kill)
    monkeypatch.setattr(module.subprocess, "run", apache.reload)
    return apache


@pytest.mark.parametrize("count", [2, 3, 5])
def test_others_answer_while_one_restarts(module, monkeypatch, count):
    apache = of(Apache(count), module, monkeypatch)
    assert module.restart("shop") == ""
    assert apache.least >= 1
    assert list(apache.names.values()) == ["django-ready"] * count
    assert min(apache.names) > 200, "an old process is left"


def test_one_alone_restarts_until_it_has_loaded_the_site(module, monkeypatch):
    apache = of(Apache(1), module, monkeypatch)
    assert module.main("shop") == 0
    assert apache.names == {201: "django-ready"}
    assert not apache.reloaded


def test_a_site_that_apache_does_not_know_yet(module, monkeypatch):
    apache = of(Apache(0), module, monkeypatch)
    assert module.restart("shop") == ""
    assert apache.reloaded
    assert apache.names == {201: "django-ready"}


def test_a_release_that_can_not_be_loaded_leaves_the_others(module, monkeypatch):
    apache = of(Apache(3, fate="django-failed"), module, monkeypatch)
    assert module.restart("shop") == (
        "A new process of site shop has not loaded it: journalctl --identifier=django-shop says why"
    )
    assert sorted(apache.names) == [101, 102, 201]
    # What failed before is no fault of the next release.
    apache.fate = "django-ready"
    assert module.restart("shop") == ""
    assert list(apache.names.values()) == ["django-ready"] * 3
    assert min(apache.names) > 201


def test_what_could_not_be_loaded_at_the_first_time(module, monkeypatch):
    of(Apache(0, fate="django-failed"), module, monkeypatch)
    assert "No process of site shop has loaded it" in module.restart("shop")


def test_a_process_that_does_not_end(module, monkeypatch, capsys):
    of(Apache(2, slow=1000), module, monkeypatch)
    assert module.main("shop") == 1
    assert capsys.readouterr().err == "Processes of site shop do not end: 100\n"


def test_a_process_that_loads_for_ever(module, monkeypatch):
    of(Apache(2, fate="apache2"), module, monkeypatch)
    assert "has not loaded it" in module.restart("shop")


def test_apache_that_does_not_run(module):
    module.PID.unlink()
    assert module.restart("shop").endswith(": systemctl start apache2")


def test_only_apaches_own_processes_of_the_site_count(module, monkeypatch, tmp_path):
    def process(pid: int, name: str, parent: int, user: int, state: str = "S (sleeping)") -> None:
        folder = tmp_path / "proc" / str(pid)
        folder.mkdir(parents=True)
        lines = [f"Name:\t{name}", f"State:\t{state}", f"PPid:\t{parent}", f"Uid:\t{user}\t{user}\t{user}\t{user}"]
        (folder / "status").write_text("\n".join(lines) + "\n")

    process(10, "apache2", 9, 900)
    process(11, "django-ready", 9, 900)
    process(12, "apache2", 9, 33)  # of Apache itself
    process(13, "python", 1, 900)  # the site's worker
    process(14, "django-ready", 9, 901)  # another site's
    process(15, "apache2", 9, 900, "Z (zombie)")
    (tmp_path / "proc/16").mkdir()  # has ended
    (tmp_path / "proc/self").mkdir()
    monkeypatch.setattr(module, "PROC", tmp_path / "proc")
    monkeypatch.setattr(module.pwd, "getpwnam", {"shop": types.SimpleNamespace(pw_uid=900)}.__getitem__)
    assert module.processes("shop") == {10: "apache2", 11: "django-ready"}
