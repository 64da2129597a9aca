"""Fixtures of every scenario's tests. `tools/env molecule verify -s one_box` runs them on hosts that stand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import testinfra

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


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Give one test several hosts. A test about each host of a group takes `host` and sets `testinfra_hosts`."""
    return Cluster()


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
            journal = host.run("journalctl --no-pager --lines=30").stdout
            report.sections.append((f"journal of {host.backend.get_pytest_id()}", journal))
    return report
