"""What the tests of one box share: the box, and its visitors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
import yaml

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
INVENTORY = Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent
PASSWORD = "correct-horse-battery"


@pytest.fixture(scope="session")
def box(cluster):
    """The one host."""
    return cluster["box1"]


@pytest.fixture(scope="session")
def address(cluster) -> str:
    """The address of the one host."""
    return cluster.variables("box1")["ntier_address"]


@pytest.fixture
def visit(address, browser):
    """Return a new visitor's browser for a domain."""
    return lambda domain="guestbook.example.com": browser(address, domain)


@pytest.fixture
def restart(box, cluster, address):
    """Return a function that restarts the host and waits until its web server answers."""

    def restart_host() -> None:
        subprocess.run(
            ["docker", "restart", cluster.variables("box1")["ansible_host"]], check=True, capture_output=True
        )
        patience = time.monotonic() + 60
        while True:
            try:
                if requests.get(f"http://{address}/", headers={"Host": "guestbook.example.com"}, timeout=5).ok:
                    return
            except requests.RequestException:
                pass
            assert time.monotonic() < patience, "the site does not come back after a restart"
            time.sleep(0.5)

    return restart_host


@pytest.fixture
def site():
    """Return a function that runs C(site) with the inventory as it is: site("--check")."""

    def run(*options: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["ansible-playbook", "-i", str(INVENTORY), "ntier.django.site", *options],
            cwd=PROJECT,
            env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )

    return run


@pytest.fixture
def web_playbook(tmp_path):
    """Return a function that runs the playbook of the tier web, with the inventory's sites changed by a function.

    With *until* it kills the run as soon as these words are printed, the name of a task for instance.
    """

    def play(change: Callable[[list[dict]], object] | None = None, until: str = "") -> subprocess.CompletedProcess:
        sites = yaml.safe_load((INVENTORY / "group_vars/all.yml").read_text())["ntier_sites"]
        if change:
            change(sites)
        variables = tmp_path / "variables.json"
        variables.write_text(json.dumps({"ntier_sites": sites, "release_health_seconds": 8}))
        command = ["ansible-playbook", "-i", str(INVENTORY), "ntier.django.web", "-e", f"@{variables}"]
        lines = []
        with subprocess.Popen(
            command,
            cwd=PROJECT,
            env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            for line in process.stdout:
                lines.append(line)
                if until and until in line:
                    os.killpg(process.pid, signal.SIGKILL)
        return subprocess.CompletedProcess(command, process.returncode, "".join(lines), "")

    return play
