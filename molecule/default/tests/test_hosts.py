"""A test host has to pass for a fresh Debian server, or the other scenarios prove nothing."""

from __future__ import annotations

import subprocess
import time

import pytest


def test_hosts_have_fixed_addresses_and_know_each_other(cluster):
    """host1 and host2 stand at .11 and .12 of their network, in this order, and find each other by name."""
    for name, last in (("host1", ".11"), ("host2", ".12")):
        address = cluster.variables(name)["ntier_address"]
        assert address.endswith(last)
        assert cluster[name].check_output("hostname -I").strip() == address
        assert cluster["host1"].check_output(f"getent hosts {name}").split()[0] == address


def test_a_restarted_host_is_the_same_host(cluster):
    """Address, files and systemd survive a restart, which other scenarios do in the middle of a test."""
    host = cluster["host1"]
    before = host.check_output("hostname -I; cat /etc/machine-id; echo kept > /root/file")
    subprocess.run(["docker", "restart", cluster.variables("host1")["ansible_host"]], check=True, capture_output=True)
    patience = time.monotonic() + 30
    while host.run("systemctl is-system-running").stdout.strip() not in ("running", "degraded"):
        assert time.monotonic() < patience, "systemd does not come up again"
        time.sleep(0.5)
    assert host.check_output("hostname -I; cat /etc/machine-id") == before
    assert host.file("/root/file").content_string == "kept\n"


@pytest.mark.parametrize("name", ["host1", "host2"])
def test_services_run_in_a_cgroup_of_the_host_alone(cluster, name):
    """systemd starts a unit, and what it sees of the cgroups is its own tree."""
    host = cluster[name]
    host.check_output("systemd-run --wait --unit=probe-$$ true")
    assert host.file("/sys/fs/cgroup/init.scope").is_directory
    assert not host.file("/sys/fs/cgroup/docker").exists


def test_etc_hosts_can_be_replaced_as_a_file(cluster):
    """Docker mounts /etc/hosts; a role that replaces it has to meet what it meets on a real host."""
    cluster["host2"].check_output("cp /etc/hosts /etc/hosts.new && mv /etc/hosts.new /etc/hosts")


def test_memory_is_what_the_inventory_says(cluster):
    """A container sees the memory of the whole machine, so the inventory says how much a host has."""
    assert cluster.variables("host1")["ntier_memory_mb"] == 2048
    assert cluster.variables("host2")["ntier_memory_mb"] == 4096
