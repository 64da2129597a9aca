"""What `make test` says of its steps: how many tests there were, and which of them failed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import steps
import test as checks

OUTPUT = """\
  | ______ test_a_web_host_comes_back[web1] ______
  | =========================== short test summary info ============================
  | FAILED molecule/release/tests/test_release.py::test_a_web_host_comes_back[web1] - AssertionError: 1 failure
  | ERROR molecule/release/tests/test_release.py::test_nobody - Failed: fixture
  | FAILED molecule/release/tests/test_release.py::test_a_web_host_comes_back[web1] - AssertionError: 1 failure
  | ============= 1 failed, 23 passed, 1 error in 12.50s (0:00:12) ==============
""".splitlines()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return steps whose logs are in a scratch folder."""
    monkeypatch.setattr(steps, "ROOT", tmp_path)
    return steps.Steps(tmp_path / "logs")


def python(text):
    return [sys.executable, "-c", text]


def test_the_tests_of_a_step_are_counted():
    assert steps.count_tests(OUTPUT) == (23, 2)


def test_what_failed_is_named_once_and_in_order():
    assert steps.failed_tests(OUTPUT) == [
        "test_release.py::test_a_web_host_comes_back[web1] - AssertionError: 1 failure",
        "test_release.py::test_nobody - Failed: fixture",
    ]


def test_the_last_lines_name_what_failed(run, capsys):
    assert run.run("good", python("print(1)"))
    assert not run.run("bad", python("raise SystemExit(3)"))
    assert run.close() == 1
    assert capsys.readouterr().out.splitlines()[-2:] == ["FAILED bad: see its output", "1 passed, 1 failed"]


def test_lanes_run_side_by_side_and_each_in_its_order(run, tmp_path, capsys):
    meet = (
        "import pathlib, sys, time; here, there = map(pathlib.Path, sys.argv[1:]); here.touch();"
        "end = time.monotonic() + 20\n"
        "while not there.exists():\n assert time.monotonic() < end; time.sleep(.01)"
    )
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    run.lanes(
        {"one": [*python(meet), first, second], "after one": python("raise SystemExit(1)")},
        {"two": [*python(meet), second, first]},
    )
    assert (run.passed, run.failed) == (2, 1)
    out = capsys.readouterr().out
    assert out.index("  one ") < out.index("  after one ")
    assert (tmp_path / "logs" / "after-one.log").exists()


def test_scenarios_side_by_side_are_told_apart(run, capsys):
    saying = (
        "print('INFO     [{0} > converge] Executing'); print('INFO     [{0} > converge] Executed: Successful');"
        "print('INFO     [{0} > verify] Executing'); print('FAILED a/test_{0}.py::test_it - no');"
        "print('=== 1 failed, 2 passed in 1.00s ==='); print('ERROR    [{0} > verify] Executed: Failed'); raise SystemExit(1)"
    )
    for name in ("one", "two"):
        run.run(f"scenario {name}", python(saying.format(name)), checks.MoleculeProgress(run, name))
    assert (run.passed, run.failed) == (6, 2)
    said = [" ".join(line.split()[:3]) for line in capsys.readouterr().out.splitlines()]
    assert [line for line in said if ":" in line and "|" not in line and "output" not in line] == [
        "one: converge ok",
        "one: verify FAILED",
        "two: converge ok",
        "two: verify FAILED",
    ]
