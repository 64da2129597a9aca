"""What the four providers of the web tier give beside each other: the same page, the same workers, one box."""

from __future__ import annotations

import json

from cluster import ROUNDS, SECONDS, Demo, median, playbook, say

PROVIDERS = ["nginx_gunicorn", "nginx_granian", "lighttpd_uwsgi", "apache_mod_wsgi"]
#: Processes and threads of each.
WORKERS, THREADS = 2, 4


def measure(demo: Demo) -> dict:
    """Swap the demo from provider to provider and back to the first, and measure a page with rows at each."""
    host = demo.tier("web")[0]
    say(
        f"A page with rows, {SECONDS} s with 16 connections, {ROUNDS} times each; {WORKERS} processes of {THREADS} threads"
    )
    demo.fill()
    sites = [{**demo.sites[0], "workers": WORKERS, "threads": THREADS}, *demo.sites[1:]]
    results: dict = {}
    say(f"  {'':<28}{'requests/s':>12}{'p50, ms':>10}{'p99, ms':>10}{'ratio':>8}{'MB':>7}")
    try:
        # The first once more at the end: how far the machine is to be trusted.
        for number, provider in enumerate([*PROVIDERS, PROVIDERS[0]]):
            playbook("ntier.django.site", "-e", json.dumps({"ntier_sites": sites, "web_provider": provider}))
            loads = [host.load("http://127.0.0.1/", f"Host: {demo.domain}") for _round in range(ROUNDS + 1)][1:]
            rate = median(load.per_second for load in loads)
            name = provider if number < len(PROVIDERS) else f"{provider} again"
            results[name] = {
                "per_second": rate,
                "p50_ms": median(load.p50_ms for load in loads),
                "p99_ms": median(load.p99_ms for load in loads),
                "ratio": rate / results[PROVIDERS[0]]["per_second"] if results else 1.0,
                "memory_mb": memory(host.sh("cat /proc/[0-9]*/smaps_rollup 2> /dev/null | grep ^Pss: || true")),
            }
            entry = results[name]
            say(
                f"  {name:<28}{rate:>12.0f}{entry['p50_ms']:>10.1f}{entry['p99_ms']:>10.1f}{entry['ratio']:>8.2f}"
                f"{entry['memory_mb']:>7.0f}"
            )
    finally:
        playbook("ntier.django.site")
    say("  MB: all processes of the box, what they share counted once.")
    return {"providers": results}


def memory(text: str) -> float:
    """Return the megabytes of the proportional sizes of processes."""
    return sum(int(line.split()[1]) for line in text.splitlines()) / 1024
