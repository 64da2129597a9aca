"""What the tests of growth share, and those of upgrade: the visitors who come all the time, `site` with the inventory of a figure, and where the data is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from watching import Run, Visitors

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
EPHEMERAL = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
HOSTS = Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent
FIGURES = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / "figures"
TIERS = ["load_balancer", "web", "media", "memcached", "database"]


def inventory(figure: str) -> Path:
    """Return the folder of a figure's inventory: its groups, with the way to the test hosts, and the cluster's variables."""
    folder = EPHEMERAL / "figures" / figure
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in {"hosts.yml": FIGURES / figure / "hosts.yml", "group_vars": HOSTS / "group_vars"}.items():
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(target.resolve())
    groups = yaml.safe_load((folder / "hosts.yml").read_text())
    ways = yaml.safe_load((HOSTS / "zz_test_hosts.yml").read_text())
    known = {host for group in groups.values() for host in group["hosts"]}
    ways["all"]["hosts"] = {host: way for host, way in ways["all"]["hosts"].items() if host in known}
    (folder / "zz_test_hosts.yml").write_text(yaml.safe_dump(ways))
    return folder


class Walk:
    """What is to be told of the walk afterwards: the steps, and what visitors saw."""

    def __init__(self) -> None:
        self.steps: list[dict] = []
        self.visitors: Visitors | None = None

    def step(self, figure: str, start: float, killed: bool, count: Callable[[dict], dict], words: str = "") -> None:
        """Note a run of `site`; C(count) says what of the report so far is in the database, C(words) what else than the figure has changed."""
        groups = yaml.safe_load((FIGURES / figure / "hosts.yml").read_text())
        hosts: dict[str, list[str]] = {}
        for tier in [*TIERS, "retired"]:
            for host in groups.get(tier, {}).get("hosts", {}):
                hosts.setdefault(host, []).append(tier)
        done = [step for step in self.steps if not step["killed"]]
        step = {
            "from": done[-1]["to"] if done else "nothing",
            "to": f"20-{figure[0]}",
            "killed": killed,
            "words": words,
            "hosts": hosts,
        }
        step.update(start=start, end=time.time())
        if self.visitors:
            step.update(count(self.visitors.report()))
        self.steps.append(step)

    def write(self, report: dict, events: list) -> None:
        """Keep it all for tools/growth.py."""
        folder = PROJECT / "build" / "growth"
        folder.mkdir(parents=True, exist_ok=True)
        walk = {"steps": self.steps, "events": events, "failures": report["failures"]}
        (folder / "walk.json").write_text(json.dumps(walk))


@pytest.fixture(scope="session")
def walk() -> Walk:
    """Give the notes of the walk."""
    return Walk()


@pytest.fixture(scope="session")
def kept(cluster) -> Callable[[str], list[tuple[str, str]]]:
    """Return a function that reads the entries from the database whose text begins with a word: text and picture."""
    rows = (
        "import json; from entries.models import Entry; "
        "found = Entry.objects.filter(message__startswith='{word}'); "
        "print(json.dumps(list(found.values_list('message', 'picture'))))"
    )

    def read(word: str) -> list[tuple[str, str]]:
        command = "ntier-manage guestbook shell -c %s | tail -1"
        return [tuple(row) for row in json.loads(cluster["box1"].check_output(command, rows.format(word=word)))]

    return read


@pytest.fixture(scope="session")
def site(walk, kept) -> Callable[..., Run]:
    """Return a function that runs `site` with the inventory of a figure: site("2", "--check").

    With *until* it kills the run a moment after these words have been printed, the name of a task for instance.
    """

    def count(report: dict) -> dict:
        found = {text for text, _picture in kept(walk.visitors.word)}
        return {
            "rows_acknowledged": len(report["written"]),
            "rows_found": len(found.intersection(report["written"])),
            "uploads_acknowledged": len(report["uploaded"]),
            "uploads_found": len(found.intersection(report["uploaded"])),
            "sessions_lost": sum("is not signed in any more" in failure["what"] for failure in report["failures"]),
        }

    def run(figure: str, *options: str, until: str = "") -> Run:
        start, began = time.monotonic(), time.time()
        log = EPHEMERAL / f"site-{time.strftime('%H%M%S')}-{figure}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["ansible-playbook", "-i", str(inventory(figure)), "ntier.django.site", *options],
                cwd=PROJECT,
                env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                while until and process.poll() is None:
                    if until in log.read_text():
                        time.sleep(0.3)
                        os.killpg(process.pid, 9)
                        break
                    time.sleep(0.05)
                code = process.wait(timeout=1800)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, 9)
        took = time.monotonic() - start
        if "--check" not in options:
            words = "DNS changes" if any("ntier_dns_leads_to" in option for option in options) else ""
            walk.step(figure, began, code != 0, count, words)
        print(f"site with figure {figure} {' '.join(options)}: {code} after {took:.1f} s", file=sys.stderr)
        return Run(code, log.read_text(), took)

    return run


@pytest.fixture(scope="session")
def visitors(cluster, walk) -> Iterator[Visitors]:
    """Give the visitors, who come as long as there are tests that want them."""
    come = Visitors(
        cluster["visitor1"],
        scheme="http",
        versions=False,
        writers=4,
        stay=150,
        pause=1.0,
        seconds=30_000,
        most=1_000_000,
    )
    come.start(cluster.variables("box1")["ntier_address"])
    walk.visitors = come
    try:
        yield come
    finally:
        come.stop()


@pytest.fixture
def unnoticed(visitors) -> Iterator[Visitors]:
    """Have a test with visitors, of whom none may notice anything."""
    with visitors.notice_nothing():
        yield visitors


@pytest.fixture(scope="session")
def primaries(cluster) -> Callable[[], list[str]]:
    """Return a function that asks every host whether its PostgreSQL takes the site's rows, and names those that do.

    The empty server on a host that shall have them is none.
    """
    ask = "runuser -u postgres -- psql -AtX -d guestbook -c 'SELECT pg_is_in_recovery()' 2> /dev/null"
    return lambda: [name for name in ("box1", "db1") if cluster[name].run(ask).stdout.strip() == "f"]
