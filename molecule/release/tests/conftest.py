"""What the tests of releases share: the visitors who come all the time, the playbooks, and what is live where."""

from __future__ import annotations

import csv
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from watching import Run, Visitors

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
INVENTORY = Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent
#: Where the output of every playbook is kept, for whoever looks into a failure.
RUNS = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "runs"
WEB = ["web1", "web2"]


@pytest.fixture(scope="session")
def play() -> Callable[..., Run]:
    """Return a function that runs one of the collection's playbooks by name: play("release", "-e", "release_version=v2").

    With *during* it calls that function with the process as soon as it runs, and ends the process if that fails. *inventory* is
    the folder of another inventory than the scenario's.
    """

    def run(
        name: str,
        *arguments: str,
        during: Callable[[subprocess.Popen], Any] | None = None,
        inventory: Path = INVENTORY,
    ) -> Run:
        start = time.monotonic()
        process = subprocess.Popen(
            ["ansible-playbook", "-i", str(inventory), f"ntier.django.{name}", *arguments],
            cwd=PROJECT,
            env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            if during:
                during(process)
            output, _none = process.communicate(timeout=900)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        took = time.monotonic() - start
        print(
            f"{shlex.join(['ntier.django.' + name, *arguments])}: {process.returncode} after {took:.1f} s",
            file=sys.stderr,
        )
        RUNS.mkdir(exist_ok=True)
        (RUNS / f"{time.strftime('%H%M%S')}-{name}").write_text(output)
        return Run(process.returncode, output, took)

    return run


@pytest.fixture(scope="session")
def addresses(cluster) -> dict[str, str]:
    """Host → its address."""
    return {name: cluster.variables(name)["ntier_address"] for name in ("lb1", *WEB)}


@pytest.fixture(scope="session")
def servers(cluster) -> Callable[[], dict[str, str]]:
    """Return a function that asks the balancer what it thinks of the site's servers: web1 → UP, DOWN, DRAIN, …"""

    def get() -> dict[str, str]:
        stat = "import socket; s = socket.socket(1); s.connect('/run/haproxy/admin.sock'); s.sendall(b'show stat\\n'); print(s.makefile().read())"
        lines = cluster["lb1"].check_output("python3 -c %s", stat).lstrip("# ")
        rows = [row for row in csv.DictReader(lines.splitlines()) if row["pxname"] == "site_guestbook"]
        return {row["svname"]: row["status"] for row in rows if row["svname"] in WEB}

    return get


@pytest.fixture(scope="session")
def live(cluster) -> Callable[[], dict[str, tuple[str, str]]]:
    """Return a function that looks what is live: host → (release, version)."""
    script = "readlink /srv/guestbook/current && grep -h ^VERSION /srv/guestbook/current/project/guestbook/version.py"

    def get() -> dict[str, tuple[str, str]]:
        found = {}
        for name in WEB:
            link, version = cluster[name].check_output(script).splitlines()
            found[name] = (Path(link).name, version.split('"')[1])
        return found

    return get


@pytest.fixture(scope="session")
def releases(cluster) -> Callable[[], dict[str, list[str]]]:
    """Return a function that lists the releases of each host."""
    return lambda: {name: cluster[name].check_output("ls /srv/guestbook/releases").split() for name in WEB}


@pytest.fixture(scope="session")
def visit(browser, addresses, tmp_path_factory):
    """Return a new visitor's browser for a domain, which comes to the balancer by https."""
    secrets = yaml.safe_load((INVENTORY / "group_vars/ntier_secrets.yml").read_text())
    authority = tmp_path_factory.mktemp("trust") / "authority.pem"
    authority.write_text(secrets["ntier_cluster"]["authority_certificate"])
    return lambda domain: browser(addresses["lb1"], domain, str(authority))


@pytest.fixture(scope="session")
def visitors(cluster, addresses) -> Iterator[Visitors]:
    """Give the visitors, who come as long as there are tests that want them."""
    # Long enough for all tests on a busy machine.
    come = Visitors(cluster["lb1"], readers=3, readers2=1, seconds=7200, most=150000)
    come.start(addresses["lb1"])
    try:
        yield come
    finally:
        come.stop()


@pytest.fixture
def unnoticed(visitors, live, servers) -> Iterator[Visitors]:
    """Have a test with visitors, of whom none may notice anything; afterwards one release is live on all hosts, and all are up."""
    with visitors.notice_nothing():
        yield visitors
    assert set(servers().values()) == {"UP"}, servers()
    assert len(set(live().values())) == 1, live()
