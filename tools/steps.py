"""Run the steps of a long job, one line each: what runs, how long it took, what came of it.

The whole output of a step goes to a log file; of a step that fails it is shown.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHOWN_LINES = 150


def say(text: str, end: str = "\n") -> None:
    """Print at once, also into a pipe."""
    print(text, end=end, flush=True)


class Steps:
    """Runs steps and counts them.

    A step that ran tests counts as its tests, any other as one; a failed step counts at least one failure.
    """

    def __init__(self, logs: Path) -> None:
        """Keep a log file for every step in the directory `logs`."""
        self.logs = logs
        self.passed = 0
        self.failed = 0
        self.failures: list[str] = []
        self.lock = threading.Lock()
        self.logs.mkdir(parents=True, exist_ok=True)

    def run(self, name: str, command: list[str], watch: Callable[[str], None] | None = None, hint: str = "") -> bool:
        """Run one command and return whether it succeeded; `watch` is given each line of its output as it comes.

        Several threads may run commands that are watched.
        """
        say(f"  {name:<34}", end="\n" if watch else "")
        start = time.monotonic()
        code, lines = self.execute(name, command, watch)
        return self.count(f"  {name:<34}" if watch else "", name, time.monotonic() - start, code, lines, hint)

    def lanes(self, *lanes: dict[str, list[str]]) -> None:
        """Run several lists of commands side by side; what is said of a command is said at its end."""

        def follow(lane: dict[str, list[str]]) -> None:
            for name, command in lane.items():
                start = time.monotonic()
                code, lines = self.execute(name, command)
                self.count(f"  {name:<34}", name, time.monotonic() - start, code, lines)

        with ThreadPoolExecutor(len(lanes)) as pool:
            list(pool.map(follow, lanes))

    def execute(
        self, name: str, command: list[str], watch: Callable[[str], None] | None = None
    ) -> tuple[int, list[str]]:
        """Run one command with its output in a file; return its exit code and the lines."""
        lines: list[str] = []
        # Wide, because tools cut their lines at the width of a terminal, and no terminal is here.
        environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1", "PY_COLORS": "0"}
        environment.pop("FORCE_COLOR", None)
        log = self.logs / log_name(name)
        with (
            log.open("w") as file,
            subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            ) as process,
        ):
            for line in process.stdout or ():
                file.write(line)
                file.flush()
                lines.append(line.rstrip())
                if watch:
                    watch(line)
        return process.returncode, lines

    def count(self, head: str, name: str, seconds: float, code: int, lines: list[str], hint: str = "") -> bool:
        """Say what came of a step, remember what failed, and return whether all went well."""
        passed, failed = count_tests(lines)
        good = code == 0 and not failed
        self.add(passed or (1 if good else 0), 0 if good else failed or 1)
        tests = f"{passed} tests passed, {failed} failed" if passed or failed else ""
        said = [f"{head}{'ok    ' if good else 'FAILED'} {seconds:6.0f} s  {tests}".rstrip()]
        if not good:
            said += [f"    | {line}" for line in lines[-SHOWN_LINES:]]
            said += [f"    The whole output: {(self.logs / log_name(name)).relative_to(ROOT)}"]
            said += [f"    {hint}"] if hint else []
        with self.lock:
            if not good:
                self.failures.extend(f"{name}: {test}" for test in failed_tests(lines) or ["see its output"])
            say("\n".join(said))
        return good

    def add(self, passed: int = 0, failed: int = 0) -> None:
        """Count what passed and what failed."""
        with self.lock:
            self.passed += passed
            self.failed += failed

    def close(self) -> int:
        """Print what failed, by name, and the closing line; return the exit code."""
        for failure in self.failures:
            say(f"FAILED {failure}")
        say(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0


def count_tests(lines: list[str]) -> tuple[int, int]:
    """Return how many tests passed and failed, after the last line of each pytest run in the output."""
    passed = failed = 0
    for line in lines:
        if re.search(r"\b\d+ (passed|failed|errors?)\b.* in [\d.]+s", line):
            for number, what in re.findall(r"(\d+) (passed|failed|error)", line):
                if what == "passed":
                    passed += int(number)
                else:
                    failed += int(number)
    return passed, failed


def failed_tests(lines: list[str]) -> list[str]:
    """Return the tests that pytest names in its summary, each with the beginning of its message, in their order."""
    found = [re.search(r"\b(?:FAILED|ERROR) (\S+::.*)", line) for line in lines]
    return list(dict.fromkeys(match[1].split("/")[-1][:160].rstrip() for match in found if match))


def log_name(step: str) -> str:
    """Return the name of a step's log file."""
    return re.sub(r"\W+", "-", step) + ".log"


def playbook(name: str, *options: str) -> list[str]:
    """Return the command that runs a playbook of ours."""
    return ["ansible-playbook", *options, f"molecule/shared/{name}.yml"]


def prepare_engine(steps: Steps) -> bool:
    """Bring up what every test host needs."""
    return all(
        steps.run(f"test hosts: {what}", playbook(what, "--inventory", "localhost,")) for what in ("engine", "image")
    )


if __name__ == "__main__":
    sys.exit("This is used by test.py and demo.py.")
