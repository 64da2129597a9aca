"""What a page costs on one box, through all that the collection puts before and behind Django."""

from __future__ import annotations

import json

from cluster import ROUNDS, SECONDS, Demo, Host, median, playbook, say

BARE = """
# The same code, workers and threads without what the collection puts before and behind them.
live=$(readlink /srv/{site}/current)
install -d -o {site} /run/bare
sed 's/"port": 6432/"port": 5432/' $live/settings.json > /run/bare/settings.json
. /etc/ntier/sites/{site}.env
systemctl reset-failed bare 2>/dev/null || true
systemd-run --quiet --unit=bare --uid={site} -p EnvironmentFile=$live/environment \\
    -E NTIER_SETTINGS=/run/bare/settings.json -E NTIER_RELEASE=$live -E PYTHONPATH=$live/ntier -p WorkingDirectory=$live/project \\
    $live/venv/bin/gunicorn --bind 127.0.0.1:8001 --worker-class gthread --workers $NTIER_WORKERS --threads $NTIER_THREADS \\
    --keep-alive 5 ntier_wsgi:application
for try in $(seq 50); do
    curl -fso /dev/null -H 'Host: {domain}' http://127.0.0.1:8001/ && exit 0
    sleep 0.2
done
journalctl -u bare --no-pager -n 20 >&2
exit 1
"""


def cost(host: Host, units: list[str]) -> float:
    """Return the seconds of CPU that units have used so far."""
    return sum(int(value) for value in host.sh(f"systemctl show -P CPUUsageNSec {' '.join(units)}").split()) / 1e9


def load(host: Host, domain: str, url: str, units: list[str]) -> dict[str, float]:
    """Ask for a page as fast as it comes; return what it gave and what it cost the units."""
    before = cost(host, units)
    given = host.load(url, f"Host: {domain}")
    return {"per_second": given.per_second, "per_cpu_second": given.requests / (cost(host, units) - before)}


def measure(demo: Demo) -> dict:
    """Measure a page with rows from the database: the whole way beside bare gunicorn, then with the one-second cache."""
    host = demo.tier("web")[0]
    say(f"A page with rows, {SECONDS} s with 16 connections, {ROUNDS} rounds in turn; load generator on the host")
    demo.fill()
    version = host.sh("pg_lsclusters --no-header").split()[0]
    database = f"postgresql@{version}-main.service"
    ways = {
        "bare gunicorn": ("http://127.0.0.1:8001/", ["bare", database]),
        "the whole way": ("http://127.0.0.1/", ["nginx", f"django@{demo.site}", "pgbouncer", database]),
    }
    host.load("http://127.0.0.1/", f"Host: {demo.domain}", seconds=1)  # also installs what the next line needs
    host.sh(BARE.format(site=demo.site, domain=demo.domain))
    try:
        for way in ways.values():
            load(host, demo.domain, *way)  # warm
        rounds = [{name: load(host, demo.domain, *way) for name, way in ways.items()} for _round in range(ROUNDS)]
    finally:
        host.sh("systemctl stop bare; rm -rf /run/bare")
    cached_sites = json.dumps({"ntier_sites": [{**demo.sites[0], "anonymous_cache_seconds": 1}, *demo.sites[1:]]})
    playbook("ntier.django.web", "-e", cached_sites)
    try:
        for entry in rounds:
            entry["with the one-second cache"] = load(host, demo.domain, *ways["the whole way"])
    finally:
        playbook("ntier.django.web")
    say(f"  {'':<28}{'requests/s':>12}{'requests per CPU second':>26}{'ratio':>8}")
    results: dict = {}
    for name in rounds[0]:
        rate = median(entry[name]["per_second"] for entry in rounds)
        worth = median(entry[name]["per_cpu_second"] for entry in rounds)
        pairs = [entry[name]["per_cpu_second"] / entry["bare gunicorn"]["per_cpu_second"] for entry in rounds]
        say(f"  {name:<28}{rate:>12.0f}{worth:>26.0f}{median(pairs):>8.2f}")
        results[name] = {"per_second": rate, "per_cpu_second": worth, "ratio": median(pairs), "rounds": pairs}
    return {"pages": results}
