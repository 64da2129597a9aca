"""Run the checks: test.py all | lint | unit | sanity | scenario NAME. Use `make test`, which sets up what they need."""

from __future__ import annotations

import re
import sys
import time

from steps import ROOT, Steps, prepare_engine, say

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
LANES = {"lint": [LINT], "unit": [UNIT], "sanity": [SANITY], "all": [LINT | SANITY, UNIT]}


class MoleculeProgress:
    """Follows what molecule prints: a line for every action, and the actions counted."""

    def __init__(self, steps: Steps) -> None:
        """Count into `steps`."""
        self.steps = steps
        self.start = time.monotonic()

    def __call__(self, line: str) -> None:
        """Look at one line."""
        line = re.sub(r"\x1b\[[\d;]*m", "", line)  # its errors are coloured all the same
        found = re.match(r"\w+ +\[\S+ > (\w+)\] (Executing$|Executed: (\w+))", line)
        if not found or found[1] == "cleanup":  # which no scenario has
            return
        if not found[3]:
            self.start = time.monotonic()
            say(f"    {found[1]:<32}", end="")
        else:
            good = found[3] == "Successful"
            if good and found[1] != "verify":
                self.steps.passed += 1
            say(f"{'ok    ' if good else 'FAILED'} {time.monotonic() - self.start:6.0f} s")


def scenarios(steps: Steps, names: list[str]) -> None:
    """Run scenarios one after the other."""
    if not prepare_engine(steps):
        say("  Without test hosts no scenario can run.")
        steps.failed += len(names)
        return
    for name in names:
        hint = f"To look into it: tools/env molecule test -s {name} --destroy=never"
        steps.run(f"scenario {name}", ["molecule", "test", "-s", name], MoleculeProgress(steps), hint)


def main(arguments: list[str]) -> int:
    """Run what was asked for."""
    known = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
    match arguments:
        case ["lint" | "unit" | "sanity" | "all"]:
            pass
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
    if steps.failed:
        say("Next: mend what FAILED above and run that alone, with make lint, unit, sanity or test SCENARIO=name.")
    else:
        say("Next: make demo, to see it run.")
    return steps.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
