"""Run the steps of a long job, one line each: what runs, how long it took, what came of it.

The whole output of a step goes to a log file; of a step that fails it is shown.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
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
        self.logs.mkdir(parents=True, exist_ok=True)

    def run(self, name: str, command: list[str], watch: Callable[[str], None] | None = None, hint: str = "") -> bool:
        """Run one command and return whether it succeeded; `watch` is given each line of its output as it comes."""
        say(f"  {name:<34}", end="\n" if watch else "")
        start = time.monotonic()
        lines: list[str] = []
        # Wide, because tools cut their lines at the width of a terminal, and no terminal is here.
        environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1", "PY_COLORS": "0"}
        environment.pop("FORCE_COLOR", None)
        log = self.logs / (re.sub(r"\W+", "-", name) + ".log")
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
        passed, failed = count_tests(lines)
        good = process.returncode == 0 and not failed
        self.passed += passed or (1 if good else 0)
        self.failed += 0 if good else failed or 1
        tests = f"{passed} tests passed, {failed} failed" if passed or failed else ""
        if watch:
            say(f"  {name:<34}", end="")
        say(f"{'ok    ' if good else 'FAILED'} {time.monotonic() - start:6.0f} s  {tests}".rstrip())
        if not good:
            say("\n".join(f"    | {line}" for line in lines[-SHOWN_LINES:]))
            say(f"    The whole output: {log.relative_to(ROOT)}" + (f"\n    {hint}" if hint else ""))
        return good

    def close(self) -> int:
        """Print the closing line and return the exit code."""
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
