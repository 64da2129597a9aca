"""Bring up a running site on test hosts: demo.py [FIGURE]. Use `make demo`, which sets up what it needs.

The inventory is a copy, in build/demo/inventory, for the user to change. Another FIGURE starts anew, from empty hosts.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / ".ansible/collections"))

from steps import ROOT, Steps, playbook, prepare_engine, say

from ansible_collections.ntier.django.plugins.plugin_utils.topology import RUNNABLE

DEMO = ROOT / "build" / "demo"
INVENTORY = DEMO / "inventory"
OPTIONS = ("--inventory", str(INVENTORY.relative_to(ROOT)))


def copy_inventory(figure: str, steps: Steps) -> str:
    """Copy the shipped inventory of a figure unless it is there already; return its name, or nothing when a step failed."""
    noted = DEMO / "figure"
    current = noted.read_text() if noted.exists() else ""
    shapes = {path.name.split("-")[0]: path for path in sorted((ROOT / "inventories").glob("[0-9]-*"))}
    figure = figure or current or "1"
    if figure not in shapes:
        sys.exit(f"There is no figure {figure}. There are: {', '.join(path.name for path in shapes.values())}")
    if f"20-{figure}" not in RUNNABLE:
        runnable = ", ".join(name.removeprefix("20-") for name in RUNNABLE)
        sys.exit(
            f"This version builds figure {runnable}; it only checks and plans figure {figure}:\n"
            f"  tools/env ansible-playbook -i {shapes[figure].relative_to(ROOT)} ntier.django.plan"
        )
    if figure != current:
        if current:
            say(f"The demo was figure {current}; figure {figure} starts anew, from empty hosts.")
            if not steps.run("test hosts: destroy", playbook("destroy", *OPTIONS)):
                return ""
            shutil.rmtree(INVENTORY)
        shutil.copytree(shapes[figure], INVENTORY)
        replace_in_copy("path: ../../examples", "path: ../../../examples")  # the copy lies one folder deeper
        noted.write_text(figure)
    return shapes[figure].name


def host_variables() -> tuple[dict, dict]:
    """Return what Ansible makes of the inventory: its groups, and the variables of its hosts."""
    listing = subprocess.run(
        ["ansible-inventory", *OPTIONS, "--list"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    groups = json.loads(listing.stdout)
    return groups, groups["_meta"]["hostvars"]


def front() -> tuple[str, str]:
    """Return scheme and address that a browser is to open: of the first balancer, else of the first web host."""
    groups, variables = host_variables()
    tier = next(group for group in ("load_balancer", "web") if groups.get(group, {}).get("hosts"))
    return ("https" if tier == "load_balancer" else "http"), variables[groups[tier]["hosts"][0]]["ntier_address"]


def replace_in_copy(old: str, new: str) -> None:
    """Replace a text in the copied variables."""
    for path in (INVENTORY / "group_vars").glob("*.yml"):
        text = path.read_text()
        if old in text:
            path.write_text(text.replace(old, new))


def frame(lines: list[str]) -> str:
    """Return the lines with a frame around them."""
    width = max(map(len, lines))
    rule = "─" * (width + 2)
    return "\n".join([f"┌{rule}┐", *(f"│ {line:<{width}} │" for line in lines), f"└{rule}┘"])


def main(figure: str = "") -> int:
    """Bring the demo up, and say how to look at it."""
    start = time.monotonic()
    steps = Steps(DEMO / "logs")
    name = copy_inventory(figure, steps)
    if not name:
        return 1
    say(f"The demo: {name}, in build/demo/inventory")
    if not (
        prepare_engine(steps)
        and steps.run("test hosts: create", playbook("create", *OPTIONS))
        and steps.run("test hosts: prepare", playbook("prepare", *OPTIONS))
    ):
        return 1
    scheme, address = front()
    replace_in_copy("guestbook.example.com", address)  # the domain of the shipped inventory is nobody's
    say("  the site: ansible-playbook -i build/demo/inventory ntier.django.site")
    if subprocess.run(["ansible-playbook", *OPTIONS, "ntier.django.site"], cwd=ROOT, check=False).returncode:
        say("\nThe site did not come up; the reason stands above. Nothing is lost: `make demo` goes on from here.")
        return 1
    if not steps.run("an account to sign in with", playbook("demo_user", *OPTIONS)):
        return 1
    password = (DEMO / "password").read_text().strip()
    minutes, seconds = divmod(round(time.monotonic() - start), 60)
    say(
        frame(
            [
                f"The guestbook runs (after {minutes} min {seconds} s):  {scheme}://{address}/",
                *(
                    ["(The certificate is of the cluster's own authority, so a browser asks first.)"]
                    * (scheme == "https")
                ),
                f"Sign in, also at /admin/, as:  demo  with the password  {password}",
                "",
                "Change build/demo/inventory (a second site, a domain) or examples/guestbook, and see what that would do:",
                "  tools/env ansible-playbook -i build/demo/inventory ntier.django.site --check --diff",
                "Do it:",
                "  tools/env ansible-playbook -i build/demo/inventory ntier.django.site",
                "How it is, and what it looks like:",
                "  tools/env ansible-playbook -i build/demo/inventory ntier.django.status",
                "  tools/env ansible-playbook -i build/demo/inventory ntier.django.diagram",
                "",
                "All tests: make test     Remove it all: make clean",
            ]
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
