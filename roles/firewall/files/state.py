# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Answer, on a host: which rules its firewall shall have, whether they shut Ansible out, and what is loaded now.

The argument is the variable C(__firewall_question) in JSON; the answer, too, is one line of JSON:

- C(rules): what to accept, each with C(protocol), C(port), C(comment) and C(matches), the sources in the words of nft;
- C(faults): one sentence for everything that can't work;
- C(settled): nothing but the files is to be looked at: unit, table and boot are as the last run left them;
- C(active), C(installed), C(armed), C(table), C(present): the unit runs and has its rules, the unit is there, a way back
  is armed, the table is loaded, any of it is there.

Nothing is changed. Only the standard library is used, of Python 3.10 or later.
"""

from __future__ import annotations

import ipaddress
import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import typing as t

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = t.Callable[[str], list[str]]
#: Address of the peer and the host's own port.
Connection = tuple[str, int]

UNIT = "ntier-firewall.service"
ROLLBACK = "ntier-firewall-rollback.timer"
SSH_SOCKETS = ("ssh.socket", "sshd.socket")
FILE = "/etc/ntier/firewall.nft"
LOADED = "/run/ntier-firewall.loaded"
LISTEN, ESTABLISHED = "0A", "01"


# --- the rules ----------------------------------------------------------------------------------------------------


def addresses_of(name: str) -> list[str]:
    """Return the addresses that a name has on this host; none when nobody knows it."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return sorted({str(address[0]) for *_more, address in found})


def networks_of(source: str, resolve: Resolver) -> list[Network]:
    """Return a source's networks: of an address or a network itself, of a name all that it stands for."""
    try:
        return [ipaddress.ip_network(source, strict=False)]
    except ValueError:
        return [ipaddress.ip_network(plain(address)) for address in resolve(source)]


def plain(address: str) -> str:
    """Return an address without its interface, and an IPv4 address that came in by an IPv6 socket as such."""
    value = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    mapped = value.ipv4_mapped if isinstance(value, ipaddress.IPv6Address) else None
    return str(mapped or value)


def rules_of(
    question: t.Mapping[str, t.Any], ssh_ports: t.Sequence[int], resolve: Resolver
) -> tuple[list[t.Any], list[str]]:
    """Return the rules, one for each protocol and port, and the faults of what the user wrote."""
    faults: list[str] = []
    merged: dict[tuple[str, int], dict[str, t.Any]] = {}
    ssh = [{"port": port, "sources": question["ssh_sources"], "comment": "SSH"} for port in ssh_ports]
    wanted = {"firewall_ssh_sources": ssh, "firewall_rules": question["rules"], "firewall_open": question["open"]}
    for variable, rules in wanted.items():
        where = f"variable {variable} (host {question['host']})"
        for rule in rules:
            comment = rule.get("comment") or ""
            if re.search(r'["\\\n]', comment) or len(comment.encode()) > 100:
                what = f"the comment of port {rule['port']} is {comment!r}"
                faults.append(
                    f"{where}: {what}. Leave quotes, backslashes and line breaks out, and keep it below 100 letters."
                )
            if not 1 <= rule["port"] <= 65535:
                faults.append(f"{where}: the port {rule['port']} doesn't exist. Use one of 1 to 65535.")
            networks: list[Network] = []
            for source in rule.get("sources") or []:
                found = networks_of(source, resolve)
                networks += found
                if not found:
                    fix = "Use an address or a network, or let the host's resolver know the name; for a host of the cluster set ntier_address"
                    faults.append(f"{where}: the source {source!r} of port {rule['port']} has no address. {fix}.")
            one = merged.setdefault(
                (rule.get("protocol") or "tcp", rule["port"]), {"comments": [], "networks": [], "all": False}
            )
            one["all"] |= not rule.get("sources")
            one["networks"] += networks
            one["comments"] += [comment] if comment and comment not in one["comments"] else []
    result = []
    for (protocol, port), one in sorted(merged.items()):
        networks = [] if one["all"] else collapsed(one["networks"])
        comment = ", ".join(one["comments"]).encode()[:120].decode(errors="ignore")
        result.append({"protocol": protocol, "port": port, "comment": comment, "all": one["all"], "networks": networks})
    return result, list(dict.fromkeys(faults))


def collapsed(networks: t.Sequence[Network]) -> list[Network]:
    """Return networks in order, IPv4 first, without those that others contain: a set of nft refuses overlaps."""
    version4 = [network for network in networks if isinstance(network, ipaddress.IPv4Network)]
    version6 = [network for network in networks if isinstance(network, ipaddress.IPv6Network)]
    return [*ipaddress.collapse_addresses(version4), *ipaddress.collapse_addresses(version6)]


def matches(rule: t.Mapping[str, t.Any]) -> list[str]:
    """Return the beginnings of a rule's lines in nft's words: one for each family that has sources, an empty one for all."""
    if rule["all"]:
        return [""]
    lines = []
    for version, word in ((4, "ip"), (6, "ip6")):
        names = [
            str(network.network_address if network.prefixlen == network.max_prefixlen else network)
            for network in rule["networks"]
            if network.version == version
        ]
        if names:
            lines.append(f"{word} saddr {{ {', '.join(names)} }} ")
    return lines


def lockouts(
    host: str, rules: t.Sequence[t.Any], ssh_ports: t.Sequence[int], connections: t.Sequence[Connection]
) -> list[str]:
    """Return a sentence for each connection of Ansible that the rules would not let in again."""
    sentences = []
    for peer, port in connections:
        address = ipaddress.ip_address(peer)
        if address.is_loopback or any(
            rule["protocol"] == "tcp"
            and rule["port"] == port
            and (rule["all"] or any(address in each for each in rule["networks"]))
            for rule in rules
        ):
            continue
        variable, addition = ("firewall_ssh_sources", peer) if port in ssh_ports else ("firewall_ssh_ports", port)
        what = f"Ansible comes in from {peer} to port {port}, and these rules would shut it out"
        sentences.append(f"variable {variable} (host {host}): {what}. Add {addition} to it; nothing has been loaded.")
    return sentences


# --- the host -----------------------------------------------------------------------------------------------------


def read(path: str) -> str:
    """Return a file's text; nothing when it is gone, as files below /proc often are."""
    try:
        return pathlib.Path(path).read_text(errors="replace")
    except OSError:
        return ""


def output_of(*command: str) -> str:
    """Return what a program prints; nothing when it fails or is not there."""
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def decoded(word: str) -> Connection:
    """Return address and port of C(0100007F:0016), as /proc/net/tcp writes it: words of 32 bits in the machine's order."""
    address, port = word.split(":")
    raw = b"".join(struct.pack("=I", int(address[start : start + 8], 16)) for start in range(0, len(address), 8))
    return plain(str(ipaddress.ip_address(raw))), int(port, 16)


def sockets(state: str) -> t.Iterator[tuple[Connection, Connection, str]]:
    """Yield own end, other end and inode of every TCP socket in a state."""
    for path in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        for line in read(path).splitlines()[1:]:
            words = line.split()
            if words[3] == state:
                yield decoded(words[1]), decoded(words[2]), words[9]


def listening_ports(units: t.Mapping[str, t.Mapping[str, list[str]]]) -> list[int]:
    """Return the ports on which sshd waits itself, or systemd for it; what its sessions forward is not counted."""
    inodes = set()
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        if read(f"{folder}/comm").strip() == "sshd" and "[listener]" in read(f"{folder}/cmdline"):
            for number in os.listdir(folder / "fd"):
                inodes.add(re.sub(r"\D", "", os.readlink(folder / "fd" / number)))
    ports = {port for (_address, port), _peer, inode in sockets(LISTEN) if inode in inodes}
    for name in SSH_SOCKETS:
        if units.get(name, {}).get("ActiveState") == ["active"]:
            ports.update(
                int(port) for port in re.findall(r":(\d+) \(Stream\)", " ".join(units[name].get("Listen", [])))
            )
    return sorted(ports)


def session() -> Connection | None:
    """Return the SSH connection that this program was started through; sudo hides it, but not the processes above."""
    pid = os.getpid()
    while pid > 1:
        found = re.search(r"(?:^|\0)SSH_CONNECTION=([\da-f.:]+)\S* \d+ \S+ (\d+)", read(f"/proc/{pid}/environ"))
        if found:
            return plain(found[1]), int(found[2])
        parent = re.search(r"^PPid:\s*(\d+)", read(f"/proc/{pid}/status"), flags=re.MULTILINE)
        pid = int(parent[1]) if parent else 0
    return None


def connections(ssh_ports: t.Sequence[int], ansible_ssh: bool) -> list[Connection]:
    """Return the connection through which Ansible came; where that can't be told, all that it may be."""
    known = {(peer[0], own[1]) for own, peer, _inode in sockets(ESTABLISHED)}
    mine = session()
    if mine in known:
        return [mine]
    # A session that has ended has left its name in a terminal that lives on.
    return sorted(each for each in known if each[1] in ssh_ports) if ansible_ssh else []


def units_of(text: str) -> dict[str, dict[str, list[str]]]:
    """Return unit → property → values, of what C(systemctl show) prints."""
    units: dict[str, dict[str, list[str]]] = {}
    for block in text.split("\n\n"):
        unit: dict[str, list[str]] = {}
        for line in block.splitlines():
            name, _equals, value = line.partition("=")
            unit.setdefault(name, []).append(value)
        units[unit.get("Id", [""])[0]] = unit
    return units


def answer(question: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the answer to the question; see above."""
    properties = "--property=Id,ActiveState,UnitFileState,Listen"
    units = units_of(output_of("systemctl", "show", properties, UNIT, ROLLBACK, *SSH_SOCKETS))
    listening = listening_ports(units)
    told = {question["ansible_port"]} - {0}
    ssh_ports = sorted(set(question["ssh_ports"]) or {*listening, *told} or {22})
    rules, faults = rules_of(question, ssh_ports, addresses_of)
    ways = connections([*ssh_ports, *listening], question["ansible_ssh"])
    table = output_of("/usr/sbin/nft", "-s", "list", "table", "inet", "ntier")
    active = units.get(UNIT, {}).get("ActiveState") == ["active"] and os.path.exists(FILE)
    armed = units.get(ROLLBACK, {}).get("ActiveState") == ["active"]
    booting = units.get(UNIT, {}).get("UnitFileState") == ["enabled"]
    installed = os.path.exists(f"/etc/systemd/system/{UNIT}")
    return {
        "rules": [
            {"protocol": rule["protocol"], "port": rule["port"], "comment": rule["comment"], "matches": matches(rule)}
            for rule in rules
        ],
        "faults": faults or lockouts(question["host"], rules, ssh_ports, ways),
        "settled": active and booting and not armed and table != "" and table == read(LOADED),
        "active": active,
        "installed": installed,
        "armed": armed,
        "table": table != "",
        "present": bool(installed or armed or table or os.path.exists(FILE) or os.path.exists(f"{FILE}.new")),
    }


if __name__ == "__main__":
    print(json.dumps(answer(json.loads(sys.argv[1]))))
