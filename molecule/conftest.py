"""Fixtures of every scenario's tests. `tools/env molecule verify -s one_box` runs them on hosts that stand."""

from __future__ import annotations

import io
import os
import re
import zlib
from pathlib import Path

import pytest
import requests
import testinfra
from requests.adapters import HTTPAdapter

INVENTORY = str(Path(os.environ.get("MOLECULE_INVENTORY_FILE", "build/demo/inventory/hosts.yml")).parent)


class Cluster:
    """The hosts of the inventory under test, whichever a test needs."""

    def __getitem__(self, name: str) -> testinfra.host.Host:
        """Return the host of this name, or the first host of the group of this name."""
        return self.group(name)[0]

    def group(self, name: str) -> list[testinfra.host.Host]:
        """Return the hosts of a group, in inventory order."""
        return testinfra.get_hosts([f"ansible://{name}"], ansible_inventory=INVENTORY)

    def variables(self, name: str) -> dict:
        """Return the inventory variables of a host."""
        return self[name].ansible.get_variables()


class Certified(HTTPAdapter):
    """Asks an address by https, and wants the certificate of a name."""

    def __init__(self, domain: str) -> None:
        self.domain = domain
        super().__init__()

    def init_poolmanager(self, *args, **kwargs):
        """Have every connection ask for the name, and check it."""
        super().init_poolmanager(*args, **kwargs, server_hostname=self.domain, assert_hostname=self.domain)


class Browser:
    """A visitor: keeps cookies, follows links and fills in forms, as the site's domain sees it.

    With *authority*, a file, it asks by https and trusts the certificates in that file alone.
    """

    password = "correct-horse-battery"

    def __init__(self, address: str, domain: str, authority: str | None = None) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Host"] = domain
        self.base = f"http://{address}"
        if authority:
            self.base = f"https://{address}"
            self.session.verify = authority
            self.session.mount(self.base, Certified(domain))
            # Django wants to know from which page a form comes.
            self.session.headers["Referer"] = f"https://{domain}/"

    def get(self, path: str, **kwargs) -> requests.Response:
        """Return the answer to a GET of a path; redirects are followed on the same address."""
        kwargs.setdefault("timeout", 30)
        return self._follow(self.session.get(self.base + path, allow_redirects=False, **kwargs))

    def submit(self, path: str, fields: dict, form: str | None = None, **kwargs) -> requests.Response:
        """Fill in the form of the page *form* (or *path* itself) and send it to *path*."""
        kwargs.setdefault("timeout", 30)
        page = self.session.get(self.base + (form or path), timeout=30)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token, f"no form at {form or path}: {page.status_code} {page.text[:200]}"
        data = {**fields, "csrfmiddlewaretoken": token.group(1)}
        return self._follow(self.session.post(self.base + path, data=data, allow_redirects=False, **kwargs))

    def sign_up(self, name: str) -> Browser:
        """Sign a new visitor up at the guestbook, which also signs in."""
        fields = {"username": name, "password1": self.password, "password2": self.password}
        page = self.submit("/sign-up/", fields)
        assert f"Signed in as <strong>{name}</strong>" in page.text, f"{page.status_code} {page.text[:500]}"
        return self

    def _follow(self, answer: requests.Response) -> requests.Response:
        for _hop in range(5):
            if answer.status_code not in (301, 302, 303):
                break
            location = re.sub(r"^https?://[^/]+", "", answer.headers["Location"])
            answer = self.session.get(self.base + location, allow_redirects=False, timeout=30)
        return answer


@pytest.fixture(scope="session")
def browser() -> type[Browser]:
    """Give the class, which a scenario makes its visitors of."""
    return Browser


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


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Give one test several hosts. A test about each host of a group takes `host` and sets `testinfra_hosts`."""
    return Cluster()


def pytest_collection_modifyitems(config, items):
    """Leave out what takes minutes and goes a way that other tests go, too, unless it is asked for."""
    left_out = []
    if not os.environ.get("LONG"):
        names = ["long", "back"] if os.environ.get("SHORT") else ["long"]
        left_out = [item for item in items if any(item.get_closest_marker(name) for name in names)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Show the end of the journal of every host that a failed test worked with."""
    report = yield
    if report.failed and call.when == "call":
        arguments = getattr(item, "funcargs", {})
        hosts = [arguments["host"]] if "host" in arguments else []
        if "cluster" in arguments:
            hosts = arguments["cluster"].group("all")
        for host in hosts:
            try:
                journal = host.run("journalctl --no-pager --lines=30").stdout
            except RuntimeError as error:  # the test may be about a host that is off
                journal = str(error)
            report.sections.append((f"journal of {host.backend.get_pytest_id()}", journal))
    return report
