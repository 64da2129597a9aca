"""The demo as the benchmark sees it: its hosts, a load generator that runs on them, and the clocks.

No load ever leaves the test network: wrk runs inside a test host, for a bounded time, and asks another test host.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import resource
import shlex
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = ROOT / "build/demo/inventory"
RESULTS = ROOT / "build/bench"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "8"))

# wrk rounds what it prints; to a script it says it exactly.
WRK_SCRIPT = """
done = function(summary, latency)
    local errors = summary.errors
    io.write(string.format('{"requests": %d, "seconds": %f, "bytes": %d, "p50_ms": %f, "p99_ms": %f, "failed": %d}\\n',
        summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


def say(text: str = "") -> None:
    """Print at once, so that progress shows."""
    print(text, flush=True)


def median(values) -> float:
    """Return the median of the rounds' values."""
    return statistics.median(list(values))


def run(*command: str, env: dict[str, str] | None = None) -> tuple[str, float, float]:
    """Run a command on the controller; return its output, and the seconds of wall clock and of CPU that it took."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}")
    return done.stdout, wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def playbook(name: str, *options: str, mitogen: bool = True) -> tuple[str, float, float]:
    """Run a playbook on the demo, with mitogen if it is at hand, or without."""
    env = {key: value for key, value in os.environ.items() if mitogen or not key.startswith("ANSIBLE_STRATEGY")}
    return run("ansible-playbook", "-i", str(INVENTORY), name, *options, env=env)


class Machine:
    """The machine below all test hosts."""

    def __init__(self) -> None:
        self.before = self._read()

    def busy(self) -> float:
        """Return the part of its CPU time that was used since this was made, from 0 to 1."""
        total, idle = (now - then for now, then in zip(self._read(), self.before, strict=True))
        return 1 - idle / total if total else 0.0

    @staticmethod
    def _read() -> tuple[int, int]:
        # user nice system idle iowait irq softirq steal; guest time is part of user
        figures = [int(figure) for figure in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(figures), figures[3] + figures[4]


class Engine(http.client.HTTPConnection):
    """The Docker engine, which the command line does not ask for exact figures."""

    def connect(self) -> None:
        """Connect to the socket that the command line uses."""
        place = run("docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")[0].strip()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(place.removeprefix("unix://"))

    def cpu(self, container: str) -> float:
        """Return the seconds of CPU that a container has used so far, its virtual machine included."""
        self.request("GET", f"/containers/{container}/stats?stream=false&one-shot=true")
        return json.load(self.getresponse())["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9


@dataclass
class Load:
    """What a page or a file gave under load: counts, bytes and milliseconds, and the load's length in seconds."""

    requests: int
    seconds: float
    bytes: int
    p50_ms: float
    p99_ms: float
    failed: int

    @property
    def per_second(self) -> float:
        """Return the requests of a second."""
        return self.requests / self.seconds

    @property
    def mb_per_second(self) -> float:
        """Return the megabytes of a second, headers included."""
        return self.bytes / self.seconds / 1e6


class Host:
    """A test host: a container, or a virtual machine in a container."""

    def __init__(self, name: str, variables: dict) -> None:
        self.name, self.variables = name, variables
        self.container, self.address = variables["test_container"], variables["ntier_address"]
        self.prepared = False

    def sh(self, script: str) -> str:
        """Run shell commands on the host."""
        if self.variables["ansible_connection"] != "ssh":
            return run("docker", "exec", self.container, "sh", "-ec", script)[0]
        options = shlex.split(self.variables["ansible_ssh_common_args"])
        key = self.variables["ansible_ssh_private_key_file"]
        return run("ssh", "-i", key, *options, f"root@{self.address}", f"sh -ec {shlex.quote(script)}")[0]

    def cpu(self) -> float:
        """Return the seconds of CPU that the whole host has used so far, as the machine below counts them."""
        return Engine("docker").cpu(self.container)

    def limit(self, cores: float | None) -> None:
        """Let the host use this part of a core, or again as much as it wants."""
        # Short periods: of a long one, the host would sleep away most in one piece, and answers would wait for it.
        quota = "-1" if cores is None else str(round(cores * 20_000))
        run("docker", "update", "--cpu-period=20000", f"--cpu-quota={quota}", self.container)

    def load(self, url: str, *headers: str, connections: int = 16, seconds: int = SECONDS) -> Load:
        """Have this host ask for a URL as fast as it comes, for a bounded time."""
        options = " ".join(f"-H {shlex.quote(header)}" for header in headers)
        if not self.prepared:
            self.sh("apt-get install -qq -y --no-install-recommends wrk curl > /dev/null")
            self.sh(f"cat > /run/bench.lua <<'END'\n{WRK_SCRIPT}END")
            self.prepared = True
        # Without a port, wrk looks for one in /etc/services, which not every host has.
        url = re.sub(r"^(http://[^/:]+)/", r"\1:80/", re.sub(r"^(https://[^/:]+)/", r"\1:443/", url))
        # To wrk, a redirection is a success.
        code = self.sh(f"curl -sko /dev/null -w '%{{http_code}}' -m 30 {options} {url}")
        if code != "200":
            sys.exit(f"{url}, asked for by {self.name}, answers {code}, so there is nothing to measure.")
        command = f"wrk -t1 -c{connections} -d{seconds}s --timeout 20s -s /run/bench.lua {options} {url}"
        output = self.sh(command)
        load = Load(**json.loads(output.strip().splitlines()[-1]))
        if load.failed:
            sys.exit(f"{self.name}: {command}: {load.failed} failed of {load.requests}\n{output}")
        return load


class Demo:
    """The demo that `make demo` left: its figure, its hosts and its sites."""

    def __init__(self) -> None:
        noted = INVENTORY.parent / "figure"
        if not (INVENTORY.exists() and noted.exists()):
            sys.exit("There is no demo to measure: run `make demo` first, for the cluster `make demo FIGURE=4`.")
        self.figure = noted.read_text().strip()
        self.read()
        running = set(run("docker", "ps", "--format", "{{.Names}}")[0].split())
        stopped = [host.name for host in self.hosts.values() if host.container not in running]
        if stopped:
            sys.exit(f"The demo does not run ({', '.join(stopped)}): run `make demo` first, which keeps what is there.")

    def read(self) -> None:
        """Read the inventory."""
        self.groups = json.loads(run("ansible-inventory", "-i", str(INVENTORY), "--list")[0])
        variables = self.groups["_meta"]["hostvars"]
        stray = sorted(name for name, values in variables.items() if "test_container" not in values)
        if stray:
            sys.exit(f"The demo is not up yet ({', '.join(stray)}): run `make demo` first.")
        self.hosts = {name: Host(name, values) for name, values in variables.items()}
        self.sites = next(iter(variables.values()))["ntier_sites"]
        self.site, self.domain = self.sites[0]["name"], self.sites[0]["domains"][0]

    def tier(self, name: str) -> list[Host]:
        """Return the hosts of a tier."""
        return [self.hosts[host] for host in self.groups[name]["hosts"]]

    def fill(self) -> None:
        """Give the guestbook a page full of rows."""
        self.tier("web")[0].sh(
            f"ntier-manage {self.site} shell -c '"
            "from django.contrib.auth.models import User; from entries.models import Entry;"
            'author, _new = User.objects.get_or_create(username="bench");'
            '[Entry.objects.create(author=author, message=f"Entry {n}") for n in range(20 - Entry.objects.count())]\''
        )


def recap(output: str, what: str) -> int:
    """Return how many tasks were `ok` or `changed`, over all hosts, after a playbook's own count."""
    lines = [line for line in output.splitlines() if "unreachable=" in line]
    return sum(int(found.group(1)) for line in lines if (found := re.search(rf"\b{what}=(\d+)", line)))


def changes(output: str) -> str:
    """Return the tasks of a playbook that changed something, and where."""
    task, found = "", []
    for line in output.splitlines():
        if line.startswith(("TASK [", "RUNNING HANDLER [")):
            task = line.split("[", 1)[1].rsplit("]", 1)[0]
        elif line.startswith("changed: "):
            found.append(f"  {task}: {line.removeprefix('changed: ')}")
    return "\n".join(found)
