"""A test host has to pass for a fresh Debian server, or the other scenarios prove nothing."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CONTAINERS = ["host1", "host2"]
MACHINES = ["host3", "host4"]
HOSTS = CONTAINERS + MACHINES


def docker(*arguments: str) -> None:
    """Do something to a container."""
    subprocess.run(["docker", *arguments], check=True, capture_output=True)


def restart(container: str) -> None:
    """Restart a host as a person does."""
    docker("restart", container)


def cut_power(container: str) -> None:
    """Take a host's power away and give it back."""
    docker("kill", container)
    docker("start", container)


def wait_until_settled(host, seconds: float = 60) -> None:
    """Wait until a host that starts is up."""
    patience = time.monotonic() + seconds
    state = ""
    while state not in ("running", "degraded"):
        assert time.monotonic() < patience, f"the host does not come up again: {state}"
        time.sleep(0.5)
        try:
            state = host.run("systemctl is-system-running").stdout.strip()
        except RuntimeError as error:  # no ssh yet
            state = str(error)


def test_hosts_have_fixed_addresses_and_know_each_other(cluster):
    """The hosts stand at .11, .12 and so on of their network, in this order, and find each other by name."""
    for number, name in enumerate(HOSTS, start=11):
        address = cluster.variables(name)["ntier_address"]
        assert address.endswith(f".{number}")
        assert cluster[name].check_output("hostname -I").strip() == address
        assert cluster[name].check_output("hostname") == name
        for other in ("host1", "host3"):
            assert address in cluster[other].check_output(f"getent ahostsv4 {name}") or other == name


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_settles_and_knows_the_time(cluster, name):
    """No unit of a fresh host fails, and its clock is the controller's."""
    assert cluster[name].run("systemctl is-system-running --wait").stdout.strip() == "running"
    assert abs(int(cluster[name].check_output("date +%s")) - time.time()) < 5


@pytest.mark.parametrize(("name", "way"), [("host1", restart), ("host3", restart), ("host4", cut_power)])
def test_a_restarted_host_is_the_same_host(cluster, name, way):
    """Address, files and systemd survive a restart, which other scenarios do in the middle of a test."""
    host = cluster[name]
    before = host.check_output("hostname -I; cat /etc/machine-id; echo kept > /root/file; sync /root/file")
    way(cluster.variables(name)["test_container"])
    wait_until_settled(host)
    assert host.check_output("hostname -I; cat /etc/machine-id") == before
    assert host.file("/root/file").content_string == "kept\n"


def test_a_machine_can_reboot_itself(cluster):
    """A guest that asks for it starts again, in the same container."""
    host = cluster["host3"]
    before = host.check_output("cat /proc/sys/kernel/random/boot_id")
    host.check_output("systemctl reboot --no-block")
    # The way that ansible's backend opens stays open for a while, so the end of the old boot has to be waited for.
    patience = time.monotonic() + 60
    while True:
        try:
            if host.run("cat /proc/sys/kernel/random/boot_id").stdout.strip() not in ("", before):
                break
        except RuntimeError:  # no ssh yet
            pass
        assert time.monotonic() < patience, "the host does not come back"
        time.sleep(0.5)
    wait_until_settled(host)


@pytest.mark.parametrize("name", HOSTS)
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
    """A container sees the memory of the whole machine, so the inventory says how much a host has; a machine sees its own."""
    assert cluster.variables("host1")["ntier_memory_mb"] == 2048
    assert cluster.variables("host2")["ntier_memory_mb"] == 4096
    assert cluster.variables("host3")["ntier_memory_mb"] == 1024
    assert 900 < int(cluster["host3"].check_output("free --mega").split()[7]) <= 1100


@pytest.mark.long  # the cluster of load_balanced can't be built without
def test_machines_share_a_directory_by_nfs(cluster):
    """One exports, the other mounts on first use; locks work, root is nobody there, and the mount returns after a restart."""
    server, client = (cluster[name] for name in MACHINES)
    address = {name: cluster.variables(name)["ntier_address"] for name in MACHINES}
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends"
    server.check_output(f"{install} nfs-kernel-server")
    client.check_output(f"{install} nfs-common")
    server.check_output(
        "install -d -o daemon -m 0755 /srv/shared && install -d /etc/exports.d"
        f" && echo '/srv/shared {address['host4']}(rw,sync,no_subtree_check)' > /etc/exports.d/shared.exports"
        " && exportfs -ra"
    )
    client.check_output(
        f"echo '{address['host3']}:/srv/shared /srv/shared nfs4 rw,hard,_netdev,nofail,x-systemd.automount 0 0' >> /etc/fstab"
        " && systemctl daemon-reload && systemctl start srv-shared.automount"
    )
    as_daemon = "setpriv --reuid=daemon --regid=daemon --clear-groups sh -c"
    client.check_output(f"{as_daemon} 'echo hello > /srv/shared/file && flock /srv/shared/file true'")
    assert server.file("/srv/shared/file").content_string == "hello\n"
    assert "Permission denied" in client.run("touch /srv/shared/by-root").stderr
    assert "nfs4" in client.check_output("findmnt --noheadings --output FSTYPE /srv/shared")

    restart(cluster.variables("host4")["test_container"])
    wait_until_settled(client)
    assert client.file("/srv/shared/file").content_string == "hello\n"


@pytest.mark.long  # the cluster of load_balanced can't be built without
def test_a_firewall_with_states_and_sets_really_blocks(cluster):
    """nftables as the collection uses it: what has no rule is refused, what has one gets through, this very session included."""
    host, address = cluster["host3"], cluster.variables("host3")["ntier_address"]
    host.check_output("DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends nftables")
    host.check_output("systemd-run --unit=listener-1 python3 -m http.server 8001")
    host.check_output("systemd-run --unit=listener-2 python3 -m http.server 8002")
    rules = """
table inet probe {
  counter allowed { }
  set peers { type ipv4_addr; flags interval; elements = { PEER }; }
  chain input {
    type filter hook input priority filter; policy drop;
    ct state vmap { established : accept, related : accept, invalid : drop }
    iif lo accept
    meta l4proto { icmp, ipv6-icmp } accept
    tcp dport 22 accept
    ip saddr @peers tcp dport 8001 counter name allowed accept
    limit rate 5/minute log prefix "refused "
    reject with icmpx admin-prohibited
  }
}
""".replace("PEER", cluster.variables("host1")["ntier_address"])
    host.check_output(f"nft -f - << 'END'{rules}END")
    try:
        python = "python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)'"
        assert cluster["host1"].run(f"{python} {address} 8001").rc == 0
        assert cluster["host1"].run(f"{python} {address} 8002").rc != 0
        assert cluster["host2"].run(f"{python} {address} 8001").rc != 0
        assert int(re.findall(r"packets (\d+)", host.check_output("nft list counter inet probe allowed"))[0]) == 1
    finally:
        host.check_output("nft delete table inet probe")
        host.check_output("systemctl stop listener-1 listener-2")


@pytest.mark.parametrize("name", ["host1", "host3"])
def test_a_site_can_be_shut_in(cluster, name):
    """What the template of a site's unit forbids is forbidden here, or the scenarios would not test it."""
    unit = (ROOT / "roles/web/templates/django@.service.j2").read_text(encoding="utf-8")
    section = unit.split("# The site reads", 1)[1]
    lines = [line for line in section.splitlines()[1:] if line and not re.search(r"[{%#]|Environment", line)]
    assert "SystemCallFilter=@system-service" in lines
    properties = " ".join(f"--property='{line}'" for line in lines)
    shut_in = f"systemd-run --quiet --wait --pipe --collect --property=User=daemon {properties} sh -c"
    host = cluster[name]
    assert host.run(f"{shut_in} true").rc == 0
    assert "Read-only file system" in host.run(f"{shut_in} 'touch /etc/probe'").stderr
    assert "Operation not permitted" in host.run(f"{shut_in} 'unshare --user true'").stderr
    status = host.check_output(f"{shut_in} 'cat /proc/self/status'")
    assert re.search(r"^Seccomp:\s*2$", status, re.M)
    assert re.search(r"^NoNewPrivs:\s*1$", status, re.M)
