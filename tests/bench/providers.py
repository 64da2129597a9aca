"""What the four providers of the web tier give beside each other: the same page, the same workers, one box."""

from __future__ import annotations

import json

from cluster import ROUNDS, SECONDS, Demo, Host, median, playbook, say
from pages import cost

#: Provider → its units beside PgBouncer and PostgreSQL. Apache runs the site itself.
PROVIDERS = {
    "nginx_gunicorn": ["nginx", "django@{site}"],
    "nginx_granian": ["nginx", "django@{site}"],
    "lighttpd_uwsgi": ["lighttpd", "django@{site}"],
    "apache_mod_wsgi": ["apache2"],
}
#: Processes and threads of each.
WORKERS, THREADS = 2, 4


def measure_one(host: Host, demo: Demo, units: list[str]) -> dict:
    """Ask for the page again and again; return the medians of what came of it and what it cost the units."""
    rounds = []
    for _round in range(ROUNDS + 1):
        before = cost(host, units)
        load = host.load("http://127.0.0.1/", f"Host: {demo.domain}")
        rounds.append({**vars(load), "per_second": load.per_second, "cpu": cost(host, units) - before})
    rounds = rounds[1:]  # the first one warms
    return {
        "per_second": median(entry["per_second"] for entry in rounds),
        "p50_ms": median(entry["p50_ms"] for entry in rounds),
        "p99_ms": median(entry["p99_ms"] for entry in rounds),
        "per_cpu_second": median(entry["requests"] / entry["cpu"] for entry in rounds),
        "memory_mb": memory(host.sh("cat /proc/[0-9]*/smaps_rollup 2> /dev/null | grep ^Pss: || true")),
        "rounds": rounds,
    }


def measure(demo: Demo) -> dict:
    """Swap the demo from provider to provider and back to the first, and measure a page with rows at each."""
    host = demo.tier("web")[0]
    say(
        f"A page with rows, {SECONDS} s with 16 connections, {ROUNDS} times each; {WORKERS} processes of {THREADS} threads;"
        " load generator on the host"
    )
    demo.fill()
    version = host.sh("pg_lsclusters --no-header").split()[0]
    sites = [{**demo.sites[0], "workers": WORKERS, "threads": THREADS}, *demo.sites[1:]]
    results: dict = {}
    say(f"  {'':<24}{'requests/s':>12}{'ratio':>7}{'p50':>9}{'p99':>9}{'per CPU second':>16}{'ratio':>7}{'memory':>9}")
    try:
        # The first once more at the end: how far the machine is to be trusted.
        first = next(iter(PROVIDERS))
        for provider in [*PROVIDERS, first]:
            playbook("ntier.django.site", "-e", json.dumps({"ntier_sites": sites, "web_provider": provider}))
            units = [unit.format(site=demo.site) for unit in PROVIDERS[provider]]
            entry = measure_one(host, demo, [*units, "pgbouncer", f"postgresql@{version}-main"])
            name = f"{provider} again" if provider in results else provider
            results[name] = entry
            for key in ("per_second", "per_cpu_second"):
                entry[f"{key}_ratio"] = entry[key] / results[first][key]
            say(
                f"  {name:<24}{entry['per_second']:>12.0f}{entry['per_second_ratio']:>7.2f}"
                f"{entry['p50_ms']:>6.0f} ms{entry['p99_ms']:>6.0f} ms"
                f"{entry['per_cpu_second']:>16.0f}{entry['per_cpu_second_ratio']:>7.2f}{entry['memory_mb']:>6.0f} MB"
            )
    finally:
        playbook("ntier.django.site")
    say(
        "  CPU: of web server, app server, PgBouncer and PostgreSQL. Memory: of the whole box, what is shared counted once."
    )
    return {"providers": results}


def memory(text: str) -> float:
    """Return the megabytes of the proportional sizes of processes."""
    return sum(int(line.split()[1]) for line in text.splitlines()) / 1024
