"""Measure the demo: `make bench` after `make demo`, or by parts: `tools/env python tests/bench/bench.py noop scaling`.

    noop      figure 1 to 5: a run of `site` that has nothing to do, beside as many ping tasks
    pages     figure 1: a page through all that the collection puts before and behind Django, beside bare gunicorn
    providers figure 1: the same page by each provider of the web tier, in turn
    handover  figure 2: how long writes wait while the database moves, at three sizes
    uploads   figure 3: how long uploads wait while the sites' files move, with three numbers of them
    static    figure 4: a file from the media host, beside an nginx as Debian ships it, and through the balancer
    release   figure 4: a release and a rollback of a changed line, beside git pull, pip install and a restart by hand
    scaling   figure 4: a page from one, two and three web hosts of the same share of a core; and what the balancer costs

Without a name, all parts for which the demo has the right figure. Tables are printed, and kept in build/bench/PART.json.
Timings depend on the machine and on what else it does. So everything is measured beside something else in the same run,
in turn, several times; what counts is the ratio of the medians.

    BENCH_ROUNDS=3         rounds
    BENCH_SECONDS=8        length of each load
    BENCH_SIZES=100,1000,4000  megabytes of the database that moves
    BENCH_FILES=200,2000,20000  numbers of files that move
    BENCH_CPU_SHARE=0.3    cores that each web host may use while it is counted what more of them give
"""

from __future__ import annotations

import json
import sys

import handover
import noop
import pages
import providers
import release
import scaling
import static
import uploads
from cluster import RESULTS, Demo, say

# What measures a part, and of which figures the demo has to be.
PARTS = {
    "noop": (noop.measure, "12345"),
    "pages": (pages.measure, "1"),
    "providers": (providers.measure, "1"),
    "handover": (handover.measure, "2"),
    "uploads": (uploads.measure, "3"),
    "static": (static.measure, "4"),
    "release": (release.measure, "4"),
    "scaling": (scaling.measure, "4"),  # last, since it adds a host to the demo
}


def main(*wanted: str) -> None:
    """Measure the parts of these names, or all that the demo's figure has."""
    unknown = [part for part in wanted if part not in PARTS]
    if unknown:
        sys.exit(f"There is nothing to measure called {', '.join(unknown)}. There are: {', '.join(PARTS)}")
    demo = Demo()
    for part in wanted:
        figures = PARTS[part][1]
        if demo.figure not in figures:
            sys.exit(
                f"The demo is figure {demo.figure}, and {part} measures figure {figures}: "
                f"run `make demo FIGURE={figures}` first. It starts anew, from empty hosts."
            )
    RESULTS.mkdir(parents=True, exist_ok=True)
    for part, (measure, figures) in PARTS.items():
        if part not in wanted if wanted else demo.figure not in figures:
            continue
        results = {"figure": demo.figure, **measure(demo), "hosts": sorted(demo.hosts)}
        path = RESULTS / f"{part}.json"
        path.write_text(json.dumps(results, indent=2) + "\n")
        say(f"  The figures are in build/bench/{path.name}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
