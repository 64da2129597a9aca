# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an app server has written when a project does not start or breaks. Pure functions."""

from __future__ import annotations

import dataclasses
import re

#: In front of each line of Apache, and of the messages of gunicorn and granian.
PREFIX = re.compile(r"^(?:\[[^\]]*\] )+")
HEADING = "Traceback (most recent call last):"
FRAME = re.compile(r'^  File "(?P<file>[^"]+)", line \d+')
#: Between an exception and the one that it led to.
LED_TO = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(?::\s|$)")
#: How servers end themselves, after what made them.
ENDS = re.compile(r"^(?:gunicorn\.errors\.HaltServer|SystemExit|KeyboardInterrupt)\b")
#: Code that is not the project's: of packages, of Python, and what runs the project.
FOREIGN = re.compile(r"site-packages/|/lib/python3|^<|/venv/bin/|/ntier/")


@dataclasses.dataclass
class Traceback:
    """What Python writes of an exception: each call with its lines of code, and the exception's own lines."""

    calls: list[list[str]] = dataclasses.field(default_factory=list)
    said: list[str] = dataclasses.field(default_factory=list)
    cause: Traceback | None = None

    def add(self, line: str) -> bool:
        """Take a line, and return whether the traceback may go on; lines of others in the middle of it are left out."""
        if self.said:
            if line.strip() and line[0].isspace():
                self.said.append(line)
                return True
            return False
        if FRAME.match(line):
            self.calls.append([line])
        elif self.calls and line.startswith("    "):
            self.calls[-1].append(line)
        elif EXCEPTION.match(line):
            self.said.append(line)
        return True

    def of_project(self) -> list[list[str]]:
        """Return the calls in the project's own code."""
        found = [(FRAME.match(call[0]), call) for call in self.calls]
        return [call for match, call in found if match and not FOREIGN.search(match["file"])]

    def causes(self) -> list[str]:
        """Return what the exceptions say that led to this one, the latest first."""
        found: list[str] = []
        cause = self.cause
        while cause:
            if cause.said and cause.said[0] not in [*self.said, *found]:
                found.append(cause.said[0])
            cause = cause.cause
        return [f"caused by {line}" for line in found]


def tracebacks(lines: list[str]) -> list[Traceback]:
    """Return the tracebacks of a journal that are complete."""
    found: list[Traceback] = []
    goes_on = led = False
    for line in lines:
        if line == HEADING:
            found.append(Traceback(cause=found[-1] if led and found else None))
            goes_on, led = True, False
        elif line in LED_TO:
            goes_on, led = False, True
        elif goes_on:
            goes_on = found[-1].add(line)
    return [traceback for traceback in found if traceback.said]


def reason(journal: str, count: int = 15) -> str:
    """Return why an app server failed: where in the project's code, the exception and what led to it; without one, the last lines.

    Servers report their own end below what a project has raised, often many times as long.

    :arg journal: its messages, without the journal's own columns.
    :arg count: the most lines.
    """
    lines = [PREFIX.sub("", line.rstrip()) for line in journal.splitlines()]
    of_project = [traceback for traceback in tracebacks(lines) if not ENDS.match(traceback.said[0])]
    if not of_project:
        return "\n".join([line.rstrip() for line in journal.splitlines() if line.strip()][-count:])
    last = of_project[-1]
    said = [*last.said[:5], *last.causes()]
    calls = [line for call in last.of_project() or last.calls[-1:] for line in call if line.strip(" ^~")]
    return "\n".join([*calls[-(count - len(said)) :], *said])
