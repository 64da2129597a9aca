"""Measure the demo: `make bench` after `make demo`. Prints tables, and keeps the figures in build/bench/bench.json.

Timings depend on the machine and on what else it does. So everything is measured beside something else in the same run,
in turn, several times; what counts is the ratio of the medians.
"""

from __future__ import annotations

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = ROOT / "build/demo/inventory"
RESULTS = ROOT / "build/bench"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "8"))


def say(text: str = "") -> None:
    """Print at once, so that progress shows."""
    print(text, flush=True)


def run(*command: str, env: dict[str, str] | None = None) -> tuple[str, float, float]:
    """Run a command on the controller; return its output, and the seconds of wall clock and of CPU that it took."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}")
    return done.stdout, wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def playbook(name: str, *options: str, mitogen: bool = True) -> tuple[str, float, float]:
    """Run a playbook on the demo, with or without mitogen."""
    env = {key: value for key, value in os.environ.items() if mitogen or not key.startswith("ANSIBLE_STRATEGY")}
    # mitogen only takes over the short name; the other one is what the collection's users would write.
    connection = "docker" if mitogen else "community.docker.docker"
    return run(
        *("ansible-playbook", "-i", str(INVENTORY), name, *options, "-e", f"ansible_connection={connection}"), env=env
    )


class Host:
    """The test host that serves the demo."""

    def __init__(self) -> None:
        listing = json.loads(run("ansible-inventory", "-i", str(INVENTORY), "--list")[0])
        self.name = listing["web"]["hosts"][0]
        variables = listing["_meta"]["hostvars"][self.name]
        self.container, self.sites = variables["ansible_host"], variables["ntier_sites"]
        self.domain = self.sites[0]["domains"][0]

    def sh(self, script: str) -> str:
        """Run shell commands on the host."""
        return run("docker", "exec", self.container, "sh", "-ec", script)[0]

    def cpu(self, units: list[str]) -> float:
        """Return the seconds of CPU that units have used so far."""
        return sum(int(value) for value in self.sh(f"systemctl show -P CPUUsageNSec {' '.join(units)}").split()) / 1e9

    def load(self, url: str, units: list[str]) -> dict[str, float]:
        """Ask for a page as fast as it comes, for a bounded time; return what it gave and what it cost the units."""
        before = self.cpu(units)
        output = self.sh(f"wrk -t2 -c16 -d{SECONDS}s -H 'Host: {self.domain}' {url}")
        cost = self.cpu(units) - before
        requests = int(re.search(r"(\d+) requests in", output).group(1))
        failed = re.search(r"Non-2xx or 3xx responses: (\d+)", output) or re.search(r"Socket errors: (.*)", output)
        if failed:
            sys.exit(f"{url} failed under load:\n{output}")
        return {"requests": requests, "per_second": requests / SECONDS, "per_cpu_second": requests / cost}


def measure_runs(results: dict) -> None:
    """Measure site on the converged box beside as many ping tasks."""
    say("site on the converged box, beside as many ping tasks")
    output, _wall, _cpu = playbook("ntier.django.site")
    recap = [line for line in output.splitlines() if "unreachable=" in line]
    tasks = sum(int(re.search(r"ok=(\d+)", line).group(1)) for line in recap)
    changed = sum(int(re.search(r"changed=(\d+)", line).group(1)) for line in recap)
    if changed:
        sys.exit(f"The box was not converged: site changed {changed} things. Run make bench again.")
    RESULTS.mkdir(parents=True, exist_ok=True)
    pings = RESULTS / "pings.yml"
    task = "    - name: Ping\n      ansible.builtin.ping:\n"
    pings.write_text(
        "---\n- name: Ping\n  hosts: web\n  gather_facts: false\n  become: true\n  tasks:\n" + task * tasks
    )
    say(f"  {tasks} tasks, changed={changed}")
    say(f"  {'':<18}{'site: wall':>12}{'CPU':>8}{'ping: wall':>13}{'CPU':>8}{'ratio: wall':>14}{'CPU':>8}")
    results["runs"] = {"tasks": tasks, "changed": changed}
    for mitogen in (False, True):
        pairs = []
        for _round in range(ROUNDS):
            site = playbook("ntier.django.site", mitogen=mitogen)[1:]
            ping = playbook(str(pings), mitogen=mitogen)[1:]
            pairs.append((*site, *ping))
        figures = [statistics.median(column) for column in zip(*pairs, strict=True)]
        ratios = [statistics.median(pair[index] / pair[index + 2] for pair in pairs) for index in (0, 1)]
        name = "with mitogen" if mitogen else "without mitogen"
        say(
            f"  {name:<18}{figures[0]:>10.1f} s{figures[1]:>6.1f} s{figures[2]:>11.1f} s{figures[3]:>6.1f} s"
            f"{ratios[0]:>14.2f}{ratios[1]:>8.2f}"
        )
        results["runs"][name] = {
            "site_seconds": figures[0],
            "site_cpu_seconds": figures[1],
            "ping_seconds": figures[2],
            "ping_cpu_seconds": figures[3],
            "ratio": ratios[0],
            "cpu_ratio": ratios[1],
        }


BARE = """
# The same code, workers and threads without what the collection puts before and behind them.
live=$(readlink /srv/{site}/current)
install -d -o {site} /run/bare
sed 's/"port": 6432/"port": 5432/' $live/settings.json > /run/bare/settings.json
systemctl reset-failed bare 2>/dev/null || true
systemd-run --quiet --unit=bare --uid={site} -p EnvironmentFile=$live/environment \\
    -E NTIER_SETTINGS=/run/bare/settings.json -E NTIER_RELEASE=$live -E PYTHONPATH=$live/ntier -p WorkingDirectory=$live/project \\
    $live/venv/bin/gunicorn --bind 127.0.0.1:8001 --worker-class gthread --workers {workers} --threads {threads} \\
    --keep-alive 5 ntier_wsgi:application
for try in $(seq 50); do
    curl -fso /dev/null -H 'Host: {domain}' http://127.0.0.1:8001/ && exit 0
    sleep 0.2
done
journalctl -u bare --no-pager -n 20 >&2
exit 1
"""


def measure_pages(results: dict, host: Host) -> None:
    """Measure a page with rows from the database: the whole way beside bare gunicorn, then with the one-second cache."""
    site = host.sites[0]["name"]
    say(f"\nA page with rows, {SECONDS} s with 16 connections, {ROUNDS} rounds in turn; load generator on the host")
    host.sh("command -v wrk curl >/dev/null || apt-get install -qq -y --no-install-recommends wrk curl >/dev/null")
    host.sh(
        f"ntier-manage {site} shell -c '"
        "from django.contrib.auth.models import User; from entries.models import Entry;"
        'author, _new = User.objects.get_or_create(username="bench");'
        '[Entry.objects.create(author=author, message=f"Entry {n}") for n in range(20 - Entry.objects.count())]\''
    )
    values = json.loads(host.sh(f"cat /srv/{site}/current/settings.json"))
    version = host.sh("pg_lsclusters --no-header").split()[0]
    database = f"postgresql@{version}-main.service"
    ways = {
        "bare gunicorn": ("http://127.0.0.1:8001/", ["bare", database]),
        "the whole way": ("http://127.0.0.1/", ["nginx", f"django@{site}", "pgbouncer", database]),
    }
    host.sh(BARE.format(site=site, domain=host.domain, workers=values["workers"], threads=values["threads"]))
    try:
        for url, units in ways.values():
            host.load(url, units)  # warm
        rounds = [{name: host.load(*way) for name, way in ways.items()} for _round in range(ROUNDS)]
    finally:
        host.sh("systemctl stop bare; rm -rf /run/bare")
    cached_sites = json.dumps({"ntier_sites": [{**host.sites[0], "anonymous_cache_seconds": 1}, *host.sites[1:]]})
    playbook("ntier.django.web", "-e", cached_sites)
    try:
        for entry in rounds:
            entry["with the one-second cache"] = host.load(*ways["the whole way"])
    finally:
        playbook("ntier.django.web")
    say(f"  {'':<28}{'requests/s':>12}{'requests per CPU second':>26}{'ratio':>8}")
    results["pages"] = {}
    for name in rounds[0]:
        rate = statistics.median(entry[name]["per_second"] for entry in rounds)
        worth = statistics.median(entry[name]["per_cpu_second"] for entry in rounds)
        pairs = [entry[name]["per_cpu_second"] / entry["bare gunicorn"]["per_cpu_second"] for entry in rounds]
        ratio = statistics.median(pairs)
        say(f"  {name:<28}{rate:>12.0f}{worth:>26.0f}{ratio:>8.2f}")
        results["pages"][name] = {"per_second": rate, "per_cpu_second": worth, "ratio": ratio, "rounds": pairs}


def main() -> None:
    """Measure what is named on the command line, or everything."""
    if not INVENTORY.exists():
        sys.exit("There is no demo to measure: run `make demo` first.")
    wanted = sys.argv[1:] or ["runs", "pages"]
    results: dict = {}
    if "runs" in wanted:
        measure_runs(results)
    if "pages" in wanted:
        measure_pages(results, Host())
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "bench.json").write_text(json.dumps(results, indent=2) + "\n")
    say("\nThe figures are in build/bench/bench.json")


if __name__ == "__main__":
    main()
