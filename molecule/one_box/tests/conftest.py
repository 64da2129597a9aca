"""What the tests of one box share: a visitor's browser, and the box."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
import yaml

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
INVENTORY = Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent
PASSWORD = "correct-horse-battery"


class Browser:
    """A visitor: keeps cookies, follows links and fills in forms, as the site's domain sees it."""

    def __init__(self, address: str, domain: str) -> None:
        self.base = f"http://{address}"
        self.session = requests.Session()
        self.session.headers["Host"] = domain

    def get(self, path: str, **kwargs) -> requests.Response:
        """Return the answer to a GET of a path; redirects are followed on the same address."""
        kwargs.setdefault("timeout", 30)
        return self._follow(self.session.get(self.base + path, allow_redirects=False, **kwargs))

    def submit(self, path: str, fields: dict, form: str | None = None, **kwargs) -> requests.Response:
        """Fill in the form of the page *form* (or *path* itself) and send it to *path*."""
        page = self.session.get(self.base + (form or path), timeout=30)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token, f"no form at {form or path}: {page.status_code} {page.text[:200]}"
        answer = self.session.post(
            self.base + path,
            data={**fields, "csrfmiddlewaretoken": token.group(1)},
            allow_redirects=False,
            timeout=30,
            **kwargs,
        )
        return self._follow(answer)

    def _follow(self, answer: requests.Response) -> requests.Response:
        for _hop in range(5):
            if answer.status_code not in (301, 302, 303):
                break
            location = re.sub(r"^https?://[^/]+", "", answer.headers["Location"])
            answer = self.session.get(self.base + location, allow_redirects=False, timeout=30)
        return answer


@pytest.fixture(scope="session")
def box(cluster):
    """The one host."""
    return cluster["box1"]


@pytest.fixture(scope="session")
def address(cluster) -> str:
    """The address of the one host."""
    return cluster.variables("box1")["ntier_address"]


@pytest.fixture
def visit(address):
    """Return a new visitor's browser for a domain."""
    return lambda domain="guestbook.example.com": Browser(address, domain)


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


@pytest.fixture(scope="session")
def picture() -> bytes:
    """A small PNG: one red pixel, made by hand so that no library has to."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    file = io.BytesIO()
    file.write(b"\x89PNG\r\n\x1a\n")
    file.write(chunk(b"IHDR", (1).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"))
    file.write(chunk(b"IDAT", zlib.compress(b"\x00\xff\x00\x00")))
    file.write(chunk(b"IEND", b""))
    return file.getvalue()


@pytest.fixture
def web_playbook(tmp_path):
    """Return a function that runs the playbook of the tier web, with the inventory's sites changed by a function."""

    def play(change: Callable[[list[dict]], object] | None = None) -> subprocess.CompletedProcess:
        sites = yaml.safe_load((INVENTORY / "group_vars/all.yml").read_text())["ntier_sites"]
        if change:
            change(sites)
        variables = tmp_path / "variables.json"
        variables.write_text(json.dumps({"ntier_sites": sites, "release_health_seconds": 8}))
        return subprocess.run(
            ["ansible-playbook", "-i", str(INVENTORY), "ntier.django.web", "-e", f"@{variables}"],
            cwd=PROJECT,
            env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    return play
