"""What one more web host gives, and what the balancer before it costs."""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from pathlib import Path

from cluster import INVENTORY, RESULTS, ROUNDS, SECONDS, Demo, Host, Load, Machine, median, say

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from steps import ROOT, Steps, playbook

SHARE = float(os.environ.get("BENCH_CPU_SHARE", "0.3"))
HOSTS = 3
# Enough to keep three web hosts busy, and far below what the balancer allows one address.
CONNECTIONS = 24
SHIPPED = "    web2:\n      ansible_host: 192.0.2.12\n"
ADDED = "    web3:\n      ansible_host: 192.0.2.13\n"
ASK = """
python3 - <<'END'
import socket
client = socket.socket(socket.AF_UNIX)
client.connect("/run/haproxy/admin.sock")
client.sendall(b"{commands}\\n")
print(client.makefile().read())
END
"""


class Balancer:
    """HAProxy of the demo, and who may answer for the site."""

    def __init__(self, demo: Demo) -> None:
        self.host, self.backend = demo.tier("load_balancer")[0], f"site_{demo.site}"

    def ask(self, *commands: str) -> str:
        """Say something to HAProxy's socket, and return the answer."""
        return self.host.sh(ASK.format(commands="; ".join(commands)))

    def servers(self) -> dict[str, dict[str, str]]:
        """Return HAProxy's statistics of each web host."""
        table = csv.DictReader(io.StringIO(self.ask("show stat").strip().removeprefix("# ")))
        return {row["svname"]: row for row in table if row["pxname"] == self.backend and row["type"] == "2"}

    def answers(self) -> dict[str, int]:
        """Return how many good answers each web host has given so far."""
        return {name: int(row["hrsp_2xx"]) for name, row in self.servers().items()}

    def use(self, hosts: list[str]) -> None:
        """Have these web hosts answer, and no other."""
        # Drained, not in maintenance: whoever comes back from that is given its work little by little.
        states = {name: "ready" if name in hosts else "drain" for name in self.servers()}
        self.ask(*(f"set server {self.backend}/{name} state {state}" for name, state in states.items()))

    def settle(self) -> None:
        """Wait until all web hosts have been up for longer than they take to get their whole share."""
        states: dict[str, str] = {}
        for _try in range(60):
            rows = self.servers()
            states = {name: f"{row['status']} for {row['lastchg']} s" for name, row in rows.items()}
            if all(row["status"] == "UP" and int(row["lastchg"]) > 25 for row in rows.values()):
                return
            time.sleep(2)
        sys.exit(f"The web hosts do not all get up: {states}")


def grow(demo: Demo, balancer: Balancer) -> None:
    """Add the third web host to the demo's inventory and build it, unless there is one."""
    if len(demo.tier("web")) < HOSTS:
        path = INVENTORY / "hosts.yml"
        text = path.read_text()
        if SHIPPED not in text:
            sys.exit(
                f"{path.relative_to(ROOT)} has no web2 as shipped; add web hosts yourself until there are {HOSTS}."
            )
        path.write_text(text.replace(SHIPPED, SHIPPED + ADDED))
        say(f"  web3 is added to {path.relative_to(ROOT)}; it stays in the demo.")
    elif {host.name for host in demo.tier("web")} <= balancer.servers().keys():
        return
    steps = Steps(RESULTS / "logs")
    options = ("--inventory", str(INVENTORY.relative_to(ROOT)))
    site = ["ansible-playbook", *options, "ntier.django.site"]
    if not (
        steps.run("test hosts: create", playbook("create", *options))
        and steps.run("test hosts: prepare", playbook("prepare", *options))
        and steps.run("site, with the new web host", site)
    ):
        sys.exit("The third web host did not come up; the reason stands above. Run this again to go on from here.")
    demo.read()


def measure_hosts(balancer: Balancer, generator: Host, web: list[Host], url: str, header: str) -> dict:
    """Count the requests that one, two and three web hosts answer, each with the same share of a core."""
    say(
        f"  A page with rows, {SECONDS} s with {CONNECTIONS} connections; each web host may use {SHARE:g} of a core; "
        f"load generator on {generator.name}"
    )
    names = [host.name for host in web]
    counts = range(1, len(names) + 1)
    rounds: list[dict[int, Load]] = []
    shares: dict[int, list[float]] = {count: [] for count in counts}
    busy: dict[int, list[float]] = {count: [] for count in counts}
    try:
        for host in web:
            host.limit(SHARE)
        for number in range(ROUNDS):
            turned = names[number % len(names) :] + names[: number % len(names)]  # each is the single one in turn
            entry = {}
            for count in counts if number % 2 == 0 else reversed(counts):
                balancer.use(turned[:count])
                generator.load(url, header, connections=CONNECTIONS, seconds=3)  # the queue of the last one ends
                before, machine = balancer.answers(), Machine()
                entry[count] = generator.load(url, header, connections=CONNECTIONS)
                busy[count].append(machine.busy())
                given = {name: answers - before[name] for name, answers in balancer.answers().items()}
                stray = {name: answers for name, answers in given.items() if answers and name not in turned[:count]}
                if stray:
                    sys.exit(f"Web hosts answered that were not asked: {stray}")
                shares[count].append(min(given[name] for name in turned[:count]) / max(given.values()))
            rounds.append(entry)
    finally:
        balancer.use(names)
        for host in web:
            host.limit(None)
    results: dict = {}
    say(
        f"  {'web hosts':<12}{'requests/s':>11}{'to one host':>13}{'to linear':>11}{'p50':>9}{'p99':>9}{'machine busy':>14}"
    )
    one = median(entry[1].per_second for entry in rounds)
    for count in counts:
        loads = [entry[count] for entry in rounds]
        rate = median(load.per_second for load in loads)
        p50, p99 = median(load.p50_ms for load in loads), median(load.p99_ms for load in loads)
        say(
            f"  {count:<12}{rate:>11.1f}{rate / one:>13.2f}{rate / one / count:>11.2f}{p50:>6.0f} ms{p99:>6.0f} ms"
            f"{median(busy[count]):>14.0%}"
        )
        results[str(count)] = {
            "per_second": rate,
            "growth": rate / one,
            "to_linear": rate / one / count,
            "p50_ms": p50,
            "p99_ms": p99,
            "machine_busy": median(busy[count]),
            "least_to_most_busy_host": median(shares[count]),
            "rounds": [load.per_second for load in loads],
        }
    return results


def measure_way(balancer: Balancer, web: Host, url: str, header: str) -> dict:
    """Measure how long one web host takes for an answer, asked by the balancer's host: past HAProxy, and through it."""
    say(f"  The same page of {web.name} alone, with all the CPU it wants; load generator on {balancer.host.name}")
    ways = {
        "nginx of the web host": (f"http://{web.address}/", header, "X-Forwarded-Proto: https"),
        "through the balancer": (url, header),
    }
    results: dict = {}
    say(f"  {'':<24}{'connections':>12}{'requests/s':>12}{'p50':>10}{'p99':>10}{'ratio: p50':>12}{'p99':>7}")
    try:
        balancer.use([web.name])
        for connections in (1, 8):
            for way in ways.values():  # warm
                balancer.host.load(*way, connections=connections, seconds=2)
            rounds: list[dict[str, Load]] = []
            for number in range(ROUNDS):
                order = list(ways) if number % 2 == 0 else list(reversed(ways))
                rounds.append({name: balancer.host.load(*ways[name], connections=connections) for name in order})
            for name in ways:
                loads, direct = ([entry[key] for entry in rounds] for key in (name, next(iter(ways))))
                pairs = list(zip(loads, direct, strict=True))
                rate = median(load.per_second for load in loads)
                p50, p99 = median(load.p50_ms for load in loads), median(load.p99_ms for load in loads)
                ratios = [median(a.p50_ms / b.p50_ms for a, b in pairs), median(a.p99_ms / b.p99_ms for a, b in pairs)]
                say(
                    f"  {name:<24}{connections:>12}{rate:>12.1f}{p50:>7.1f} ms{p99:>7.1f} ms"
                    f"{ratios[0]:>12.2f}{ratios[1]:>7.2f}"
                )
                results.setdefault(name, {})[str(connections)] = {
                    "per_second": rate,
                    "p50_ms": p50,
                    "p99_ms": p99,
                    "p50_ratio": ratios[0],
                    "p99_ratio": ratios[1],
                    "rounds": [[load.p50_ms, load.p99_ms] for load in loads],
                }
    finally:
        balancer.use([*balancer.servers()])
    return results


def measure(demo: Demo) -> dict:
    """Measure one to three web hosts behind the balancer, and one beside itself without it."""
    balancer = Balancer(demo)
    say(f"Web hosts behind {balancer.host.name}, {ROUNDS} rounds in turn")
    grow(demo, balancer)
    demo.fill()
    balancer.settle()
    web = demo.tier("web")[:HOSTS]
    url, header = f"https://{balancer.host.address}/", f"Host: {demo.domain}"
    return {
        "cpu_share": SHARE,
        "scaling": measure_hosts(balancer, demo.tier("memcached")[0], web, url, header),
        "way": measure_way(balancer, web[0], url, header),
    }
