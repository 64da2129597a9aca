"""Who reaches whom: what answers from each host to each other host is what the topology says, no more and no less."""

from __future__ import annotations

import concurrent.futures
import json
import re
import subprocess
import sys

import pytest
from conftest import HERE, HOSTS

#: Ports that something might listen on one day, beside all below 1024.
TEMPTING = [2049, 3306, 5432, 6379, 6432, 8000, 8080, 8402, 8404, 9100, 11211, 20048, 22122]
#: The units of each tier, and the only host of the cluster that may run them.
UNITS = {
    "haproxy": ["lb1"],
    "nginx": ["box1", "web2", "media1"],
    "pgbouncer": ["box1", "web2"],
    "django@guestbook": ["box1", "web2"],
    "django@second": ["box1", "web2"],
    "nfs-server": ["media1"],
    "memcached": ["cache1", "cache2"],
    "postgresql": ["db1"],
}


def listeners(host, protocol: str) -> list[tuple[str, int]]:
    """Return address and port of every socket that waits for others, but those of the test network's own resolver."""
    lines = [line.split()[3] for line in host.check_output(f"ss -Hln{protocol}").splitlines()]
    pairs = [line.rsplit(":", 1) for line in lines if not line.startswith("127.0.0.11:")]
    return [(re.sub(r"%\w+$|[\[\]]", "", address), int(port)) for address, port in pairs]


@pytest.fixture(scope="module")
def allowed(topology, cluster) -> dict[str, dict[str, set[int]]]:
    """Host → other host → the ports that shall answer: the topology's flows, and SSH where there is such a server."""
    result = {source: {target: set() for target in HOSTS if target != source} for source in HOSTS}
    for flow in topology["flows"]:
        for source in flow["sources"] or HOSTS:
            for target in flow["targets"]:
                if source != target:
                    result[source][target].add(flow["port"])
    for target in HOSTS:
        if ("0.0.0.0", 22) in listeners(cluster[target], "t"):
            for source in HOSTS:
                if source != target:
                    result[source][target].add(22)
    return result


@pytest.fixture(scope="module")
def ports(cluster) -> list[tuple[int, int]]:
    """The ranges to try: the usual ports, and all that anything listens on anywhere in the cluster."""
    found = {port for name in HOSTS for _address, port in listeners(cluster[name], "t")}
    return [(1, 1023), *((port, port) for port in sorted(found.union(TEMPTING)) if port > 1023)]


@pytest.fixture(scope="module")
def reached(run_python, addresses, ports) -> dict[str, dict[str, set[int]]]:
    """Host → other host → the ports that answer. All hosts knock at the same time."""
    names = {address: name for name, address in addresses.items()}

    def knock(source: str) -> dict[str, set[int]]:
        targets = {address: ports for name, address in addresses.items() if name != source}
        found = run_python(source, "knock.py", {"targets": targets, "pause": 0.01, "seconds": 4})
        return {names[address]: set(answered) for address, answered in found.items()}

    with concurrent.futures.ThreadPoolExecutor(len(HOSTS)) as pool:
        return dict(zip(HOSTS, pool.map(knock, HOSTS), strict=True))


@pytest.mark.parametrize("source", HOSTS)
def test_a_host_reaches_what_the_topology_says(reached, allowed, source):
    """From each host to each other host: the ports that answer are those of the flows."""
    assert reached[source] == allowed[source]


def test_no_port_is_left_out(run_python, addresses):
    """All 65535 of one host, in case something listens that its own host does not tell; a program may not have all open at once."""
    address = addresses["db1"]
    for first in range(1, 65536, 17000):
        ports = [[first, min(first + 16999, 65535)]]
        found = run_python("cache1", "knock.py", {"targets": {address: ports}, "pause": 0.002, "seconds": 1.5})
        assert found == {address: []}, ports


def test_the_world_reaches_the_balancer_alone(addresses):
    """From outside, as this controller is: 80 and 443 of the balancer, and nothing of the hosts behind it but SSH."""
    ports = [[port, port] for port in (80, 443, 2049, 5432, 6432, 8404, 11211)]
    order = {"targets": dict.fromkeys(addresses.values(), ports), "pause": 0.01, "seconds": 3}
    command = [sys.executable, str(HERE / "knock.py"), json.dumps(order)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    reached = {name: found[address] for name, address in addresses.items() if found[address]}
    assert reached == {"lb1": [80, 443]}


@pytest.mark.parametrize("name", HOSTS)
def test_the_firewall_stands(cluster, name):
    """The table is loaded and comes again with the next boot; it drops what it does not know, and lets no UDP in."""
    units = "ntier-firewall.service ntier-firewall-rollback.timer"
    states, _line, table = (
        cluster[name]
        .check_output(
            f"systemctl show --value -P ActiveState -P UnitFileState {units} | xargs; nft --json list table inet ntier"
        )
        .partition("\n")
    )
    assert states.split()[:3] == ["active", "enabled", "inactive"]  # nothing waits for taking the rules back
    chains = json.loads(table)["nftables"]
    assert [entry["chain"].get("policy") for entry in chains if "chain" in entry] == ["drop"]
    rules = [json.dumps(entry["rule"]["expr"]) for entry in chains if "rule" in entry]
    assert [rule for rule in rules if '"udp"' in rule and "fe80::" not in rule] == []  # but DHCPv6 of the own link


@pytest.mark.parametrize("name", HOSTS)
def test_nothing_waits_for_udp(cluster, name):
    """But on loopback: memcached by UDP is a weapon, and nobody here needs another one."""
    waiting = [pair for pair in listeners(cluster[name], "u") if pair[0] not in ("127.0.0.1", "::1")]
    assert waiting == []


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_serves_its_own_tier_and_no_other(cluster, name):
    """Units of its tiers run and come again with a boot; those of other tiers are not even there."""
    host = cluster[name]
    running = host.check_output("systemctl list-units --type=service --state=running --plain --no-legend")
    names = {line.split()[0].removesuffix(".service") for line in running.splitlines()}
    names = {"postgresql" if unit.startswith("postgresql@") else unit for unit in names}
    if host.run("systemctl is-active nfs-server").rc == 0:  # its threads are the kernel's
        names.add("nfs-server")
    assert {unit for unit in UNITS if unit in names} == {unit for unit, hosts in UNITS.items() if name in hosts}
    assert host.check_output("systemctl --failed --plain --no-legend") == ""


def test_the_statistics_are_shown_on_the_tiers_address(cluster, ask, addresses):
    """To the balancer's own host; nobody else reaches the port, as the tests above show."""
    status, text = ask("lb1", addresses["lb1"], "/;csv", port=8404)
    assert status == 200
    assert "site_guestbook,box1" in text
    assert "media,media1" in text
    status, text = ask("lb1", addresses["lb1"], "/metrics", port=8404)
    assert "haproxy_server_status" in text
    assert (addresses["lb1"], 8404) in listeners(cluster["lb1"], "t")
    assert ("127.0.0.1", 8404) not in listeners(cluster["lb1"], "t")
