"""What the tests of the balanced cluster share: its visitors, its faults, and its way back to health."""

from __future__ import annotations

import concurrent.futures
import contextlib
import csv
import functools
import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from testinfra.utils.ansible_runner import AnsibleRunner
from watching import act

from ansible_collections.ntier.django.plugins.plugin_utils.topology import build

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
INVENTORY = Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent
GIVEN = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "given"
HERE = Path(__file__).parent
HOSTS = ["lb1", "box1", "web2", "media1", "cache1", "cache2", "db1"]
WEB = ["box1", "web2"]


def until(condition: Callable[[], Any], seconds: float, what: str, pause: float = 0.5) -> Any:
    """Ask again and again until the condition holds, and return what it returned; *what* says what never came.

    A host that restarts answers with exceptions; they count as no, and the last one is told.
    """
    end, last = time.monotonic() + seconds, None
    while True:
        try:
            last = condition()
            if last:
                return last
        except (requests.RequestException, RuntimeError, AssertionError, LookupError, ValueError) as error:
            last = repr(error)
        assert time.monotonic() < end, f"{what}, not even after {seconds} seconds: {last}"
        time.sleep(pause)


@pytest.fixture(scope="session")
def addresses(cluster) -> dict[str, str]:
    """Host → its address."""
    return {name: cluster.variables(name)["ntier_address"] for name in HOSTS}


@pytest.fixture(scope="session")
def docker(cluster) -> Callable[..., None]:
    """Return a function that does something to hosts as a person at their power switches would: docker("kill", "box1")."""
    containers = {name: cluster.variables(name)["test_container"] for name in HOSTS}

    def do(action: str, *names: str) -> None:
        for name in names:
            act(action, containers[name])

    return do


@pytest.fixture(scope="session")
def authorities(tmp_path_factory) -> dict[str, str]:
    """Domain → the file with the certificates that its visitors trust."""
    secrets = yaml.safe_load((INVENTORY / "group_vars/ntier_secrets.yml").read_text())
    own = tmp_path_factory.mktemp("trust") / "authority.pem"
    own.write_text(secrets["ntier_cluster"]["authority_certificate"])
    given = str(GIVEN / "second.pem")
    return {
        "guestbook.example.com": str(own),
        "www.guestbook.example.com": str(own),
        "second.example.com": given,
        "media.example.com": given,
    }


@pytest.fixture(scope="session")
def visit(browser, addresses, authorities):
    """Return a new visitor's browser for a domain, which comes to the balancer by https."""
    return lambda domain="guestbook.example.com": browser(addresses["lb1"], domain, authorities[domain])


@pytest.fixture(scope="session")
def run_python(cluster) -> Callable[..., Any]:
    """Return a function that runs a program of this folder on a host, with an argument, and returns what it prints as JSON."""

    def run(name: str, program: str, argument: dict) -> Any:
        source = (HERE / program).read_text()
        return json.loads(
            cluster[name].check_output(f"python3 -c {shlex.quote(source)} {shlex.quote(json.dumps(argument))}")
        )

    return run


ASK = """
import http.client, json, sys
address, path, headers = json.loads(sys.argv[1])
connection = http.client.HTTPConnection(*address, timeout=20)
connection.request("GET", path, headers=headers)
answer = connection.getresponse()
print(json.dumps([answer.status, answer.read().decode()]))
"""


@pytest.fixture(scope="session")
def ask(cluster) -> Callable[..., tuple[int, str]]:
    """Return a function that asks a web server from a host of the cluster: (status, text)."""

    def get(name: str, address: str, path: str, port: int = 80, **headers: str) -> tuple[int, str]:
        argument = json.dumps([[address, port], path, {key.replace("_", "-"): text for key, text in headers.items()}])
        status, text = json.loads(cluster[name].check_output("python3 -c %s %s", ASK, argument))
        return status, text

    return get


@pytest.fixture(scope="session")
def health(ask, addresses) -> Callable[..., tuple[int, dict]]:
    """Return a function that asks a site's health page on a web host as the balancer does: (status, report)."""

    def get(host: str, domain: str = "guestbook.example.com") -> tuple[int, dict]:
        status, text = ask("lb1", addresses[host], "/_ntier/health", Host=domain, X_Forwarded_Proto="https")
        return status, json.loads(text)

    return get


@pytest.fixture(scope="session")
def servers(cluster) -> Callable[[], dict[str, str]]:
    """Return a function that asks the balancer what it thinks of its servers: C(site_guestbook/box1) → C(UP), C(DOWN), …"""

    def get() -> dict[str, str]:
        lines = cluster["lb1"].check_output("echo 'show stat' | socat - /run/haproxy/admin.sock").lstrip("# ")
        rows = csv.DictReader(lines.splitlines())
        watched = [row for row in rows if row["svname"] not in ("FRONTEND", "BACKEND") and row["check_status"]]
        return {f"{row['pxname']}/{row['svname']}": row["status"] for row in watched}

    return get


@pytest.fixture(scope="session")
def healed(servers, visit) -> Callable[..., None]:
    """Return a function that waits until every server is up and both sites answer."""

    def all_up() -> bool:
        states = servers()
        return len(states) == 5 and set(states.values()) == {"UP"}

    def wait(seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        until(all_up, seconds, "the balancer does not see every server up")
        for domain in ("guestbook.example.com", "second.example.com"):
            left = max(end - time.monotonic(), 5)
            ask = functools.partial(visit(domain).get, "/", timeout=10)
            until(lambda ask=ask: ask().status_code == 200, left, f"{domain} does not answer")

    return wait


@pytest.fixture(scope="session")
def visitors(cluster, run_python, addresses):
    """Return a context manager: visitors ask for a page while its body runs, and its value is their report afterwards.

    They start on the balancer's host, so inside of the test network, and stay no longer than *seconds*.
    """

    @contextlib.contextmanager
    def come(path: str = "/", cookie: str = "", number: int = 4, seconds: float = 60, **more) -> Iterator[dict]:
        order = {
            "address": addresses["lb1"],
            "domain": "guestbook.example.com",
            "path": path,
            "cookie": cookie,
            "visitors": number,
            "seconds": seconds,
            "most": 3000,
            "pause": 0.05,
            "patience": 60,
            "stop": "/run/visitors-stop",
            **more,
        }
        report: dict = {}
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(run_python, "lb1", "visitors.py", order)
            try:
                time.sleep(2)
                yield report
            finally:
                cluster["lb1"].run("touch /run/visitors-stop")
                report.update(running.result())

    return come


@pytest.fixture
def playbook():
    """Return a function that runs one of the collection's playbooks by name over an inventory."""

    def run(name: str, *arguments: str, inventory: Path = INVENTORY) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["ansible-playbook", "-i", str(inventory), f"ntier.django.{name}", *arguments],
            cwd=PROJECT,
            env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return run


@pytest.fixture(scope="session")
def topology() -> dict:
    """The cluster as the collection itself sees it, from the inventory under test."""
    inventory = dict(AnsibleRunner.get_runner(str(INVENTORY)).inventory)
    hosts = inventory.pop("_meta")["hostvars"]
    groups = {name: group.get("hosts", []) for name, group in inventory.items()}
    return build(groups, hosts, hosts["lb1"]["ntier_sites"])
