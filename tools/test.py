"""Run the checks: test.py all | lint | unit | sanity | scenario NAME. Use `make test`, which sets up what they need.

Two scenarios run side by side, since one alone leaves half of two cores idle; TEST_LANES=1: one after the other.
"""

from __future__ import annotations

import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from steps import ROOT, Steps, playbook, prepare_engine, say

LINT = {
    "lint: ansible-lint": ["ansible-lint", "--nocolor", "-q"],
    "lint: yamllint": ["yamllint", "--strict", "."],
    "lint: ruff check": ["ruff", "check"],
    "lint: ruff format": ["ruff", "format", "--diff"],
    "lint: mypy": ["mypy"],
    "lint: changelog": ["antsibull-changelog", "lint"],
}


# Each keeps one core busy, so two lanes of them run side by side.
UNIT = {"unit": ["pytest", "--quiet", "--no-header", "--override-ini", "console_output_style=classic"]}
SANITY = {"sanity": ["tools/sanity"]}
# What users get; ruff, mypy and the linters have looked at the tests.
OURS = {"sanity": ["tools/sanity", "plugins/", "roles/", "playbooks/", "meta/", "changelogs/"]}
LANES = {"lint": [LINT], "unit": [UNIT], "sanity": [SANITY], "all": [LINT | OURS, UNIT]}
# The longest come first, so that no lane is left with one at the end. Others follow.
LONGEST = ["release", "growth", "one_box", "load_balanced", "upgrade"]
#: What the whole leaves out to be shorter, and how it is run.
LEFT_OUT = {
    "scenario default (the test hosts themselves)": "make test SCENARIO=default",
    "scenario upgrade (rows move to a newer PostgreSQL)": "make test SCENARIO=upgrade",
    "figure 4 and the ways back of scenario growth": "make grow",
    "the swap of the web server and more releases of scenario release": "make test SCENARIO=release",
}


class MoleculeProgress:
    """Follows what molecule prints of one scenario: a line for every action, and the actions counted."""

    def __init__(self, steps: Steps, scenario: str) -> None:
        """Count into `steps`."""
        self.steps = steps
        self.scenario = scenario
        self.start = time.monotonic()

    def __call__(self, line: str) -> None:
        """Look at one line."""
        line = re.sub(r"\x1b\[[\d;]*m", "", line)  # its errors are coloured all the same
        found = re.match(r"\w+ +\[\S+ > (\w+)\] (Executing$|Executed: (\w+))", line)
        if not found or found[1] == "cleanup":  # which no scenario has
            return
        if not found[3]:
            self.start = time.monotonic()
        else:
            good = found[3] == "Successful"
            if good and found[1] != "verify":
                self.steps.add(passed=1)
            what = f"{self.scenario}: {found[1]}"
            say(f"    {what:<32}{'ok    ' if good else 'FAILED'} {time.monotonic() - self.start:6.0f} s")


def scenarios(steps: Steps, names: list[str]) -> None:
    """Run scenarios, as many at once as the machine has cores for."""
    ready = prepare_engine(steps)
    if ready and len(names) > 1:  # before two of them make it at once
        ready = steps.run("test hosts: kernel", playbook("kernel", "--inventory", "localhost,"))
    if not ready:
        say("  Without test hosts no scenario can run.")
        steps.add(failed=len(names))
        return

    def run(name: str) -> None:
        hint = f"To look into it: tools/env molecule test -s {name} --destroy=never"
        steps.run(f"scenario {name}", ["molecule", "test", "-s", name], MoleculeProgress(steps, name), hint)

    lanes = int(os.environ.get("TEST_LANES") or min(2, os.cpu_count() or 1))
    with ThreadPoolExecutor(lanes) as pool:
        list(pool.map(run, sorted(names, key=[*LONGEST, *sorted(names)].index)))


def main(arguments: list[str]) -> int:
    """Run what was asked for."""
    known = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
    match arguments:
        case ["lint" | "unit" | "sanity"]:
            pass
        case ["all"]:
            os.environ["SHORT"] = "1"  # the whole is long enough
            known = [name for name in known if name not in ("default", "upgrade")]
        case ["scenario", name] if name in known:
            known = [name]
        case ["scenario", name]:
            sys.exit(f"There is no scenario {name}. There are: {', '.join(known)}")
        case _:
            sys.exit(__doc__)
    start = time.monotonic()
    steps = Steps(ROOT / "build" / "test")
    if arguments[0] in LANES:
        steps.lanes(*LANES[arguments[0]])
    if arguments[0] in ("all", "scenario"):
        scenarios(steps, known)
    minutes, seconds = divmod(round(time.monotonic() - start), 60)
    say(f"\n{minutes} min {seconds} s; output of every step: build/test/")
    if arguments[0] == "all":
        say("Left out of this short form:")
        for what, command in LEFT_OUT.items():
            say(f"  {what}: {command}")
    if steps.failed:
        say("Next: mend what FAILED above and run that alone, with make lint, unit, sanity or test SCENARIO=name.")
    else:
        say("Next: make demo, to see it run.")
    return steps.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
