"""Draw what the scenario growth has seen: growth.py, after `make scenario SCENARIO=growth`; `make grow` does both.

Reads build/growth/walk.json, which the scenario writes: C(steps), each with C(from), C(to) (figures), C(start), C(end) (time of day, seconds), C(hosts)
(host → tiers afterwards, or C(retired)), C(words) if it is no way from figure to figure, and what was counted then; C(events), each with time of
day, kind, status, milliseconds; C(failures), each with C(when).
Writes growth.json (a list C(steps) of figures), growth.html and growth.png beside it.
"""

from __future__ import annotations

import base64
import collections
import html
import io
import itertools
import json
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "growth"
#: What a visitor waits for when something is written.
WRITES = ("entry", "upload")
#: What takes long by itself, because the visitor sends slowly, the page waits, or a password is hashed: it counts, and says nothing about waiting.
SLOW = ("slow upload", "slow page", "sign up", "sign in")
#: The colours of the figures in docs/figures.
COLOURS = {
    "load_balancer": "#0b6e6e",
    "web": "#1f5fbf",
    "media": "#2b6f2f",
    "memcached": "#a84f00",
    "database": "#7038a8",
    "retired": "#8c959f",
}
INK, MUTED, LINE, SHADE, FAULT = "#1f2328", "#59636e", "#8c959f", "#f6f8fa", "#c62828"
COUNTED = ("rows_acknowledged", "rows_found", "uploads_acknowledged", "uploads_found", "sessions_lost")


def percentile(values: list[float], part: float) -> float:
    """Return the value that *part* (0 to 1) of the values do not exceed; 0 without values."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] if values else 0


def summary(walk: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the figures of each step: from its beginning to that of the next one."""
    starts = [step["start"] for step in walk["steps"]]
    ends = [*starts[1:], float("inf")]
    result = []
    for step, start, end in zip(walk["steps"], starts, ends, strict=True):
        events = [event for event in walk["events"] if start <= event[0] < end]
        took = [event[3] for event in events if event[1] not in SLOW]
        result.append(
            {
                "from": step["from"],
                "to": step["to"],
                "words": step.get("words", ""),
                "killed": bool(step.get("killed")),
                "seconds": round(step["end"] - step["start"], 1),
                "requests": len(events),
                "failed": sum(start <= failure["when"] < end for failure in walk["failures"]),
                "p50_ms": round(percentile(took, 0.5)),
                "p99_ms": round(percentile(took, 0.99)),
                "max_ms": round(max(took, default=0)),
                "longest_write_pause_ms": round(max([event[3] for event in events if event[1] in WRITES], default=0)),
                **{key: step[key] for key in COUNTED if key in step},
            }
        )
    return result


def spans(walk: dict[str, Any], width: int = 1) -> list[tuple[int, float, float, float, int]]:
    """Return for each span of *width* seconds: when, answers in a second, median and longest latency in milliseconds, failures."""
    begin = walk["events"][0][0]

    def span(when: float) -> int:
        return int((when - begin) / width) * width

    found: dict[int, list[float]] = {}
    answers: collections.Counter[int] = collections.Counter()
    for event in walk["events"]:
        answers[span(event[0])] += 1
        if event[1] not in SLOW:
            found.setdefault(span(event[0]), []).append(event[3])
    failed = collections.Counter(span(failure["when"]) for failure in walk["failures"])
    last = max([*answers, *failed])
    nothing = [float("nan")]
    return [
        (
            second,
            answers[second] / width,
            statistics.median(found.get(second, nothing)),
            max(found.get(second, nothing)),
            failed[second],
        )
        for second in range(0, last + 1, width)
    ]


def title(step: dict[str, Any], narrow: bool = False) -> str:
    """Return a step in a few words, on more lines where it is narrow."""
    way = f"{step['from']} → {step['to']}" if step["from"] != step["to"] else f"{step['to']} again"
    way = step.get("words") or way
    if narrow:
        way = way.replace("→ ", "→\n").replace(" again", "\nagain")
    return f"{way}\ncut off" if step.get("killed") else way


def did(walk: dict[str, Any]) -> str:
    """Return what a site does in a walk, from its first figure on."""
    figures = [step["to"] for step in walk["steps"]]
    return "grows and shrinks" if any(later < earlier for earlier, later in itertools.pairwise(figures)) else "grows"


def draw(walk: dict[str, Any], steps: list[dict[str, Any]]) -> Any:
    """Return the chart as a figure of matplotlib: requests, latency and errors over time, and the hosts of each step."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    pyplot.rcParams.update({"font.size": 10, "axes.edgecolor": LINE, "text.color": INK, "svg.fonttype": "none"})
    begin = walk["events"][0][0]
    # Some hundred spans are what the eye can part.
    width = max(1, round((walk["events"][-1][0] - begin) / 300))
    each = spans(walk, width)
    figure, (rate, wait, fault, hosts) = pyplot.subplots(
        4, 1, sharex=True, figsize=(13, 8.6), height_ratios=[2.0, 2.6, 0.6, 2.8], layout="constrained"
    )
    when = [row[0] for row in each]
    rate.fill_between(when, [row[1] for row in each], step="post", color=COLOURS["web"], alpha=0.75, linewidth=0)
    rate.set_ylabel("requests / s")
    rate.set_ylim(0, None)
    wait.plot(when, [row[3] for row in each], color=COLOURS["memcached"], linewidth=0.9, label="longest")
    wait.plot(when, [row[2] for row in each], color=COLOURS["load_balancer"], linewidth=1.4, label="median")
    wait.set_yscale("log")
    wait.axhline(1000, color=FAULT, linewidth=0.8, linestyle=(0, (4, 4)), label="a second")
    wait.set_ylabel("latency, ms")
    wait.legend(loc="upper right", frameon=False, ncols=3)
    fault.bar(when, [row[4] for row in each], width=width, align="edge", color=FAULT)
    fault.set_ylabel("failed")
    fault.set_ylim(0, max(1, *(row[4] for row in each)))
    fault.set_yticks([0, max(1, *(row[4] for row in each))])
    total = sum(step["requests"] for step in steps)
    failures = sum(step["failed"] for step in steps)
    slowest = max(step["longest_write_pause_ms"] for step in steps)
    figure.suptitle(
        f"A site {did(walk)} while {total:,} requests come: {failures} failed, longest wait of a write {slowest} ms",
        fontsize=14,
        fontweight="bold",
        x=0.01,
        ha="left",
    )
    for axes in (rate, wait, fault):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=MUTED)
        for step in walk["steps"]:
            axes.axvspan(
                step["start"] - begin, step["end"] - begin, color=SHADE if axes is fault else "#eef2f7", zorder=0
            )
    for step in walk["steps"]:
        left, right = max(0, step["start"] - begin), step["end"] - begin
        # Nobody had come yet, or there is no room for words.
        if right < 0 or (right - left < when[-1] * 0.04 and not step.get("killed")):
            continue
        rate.text(
            (left + right) / 2, 1.02, title(step, right - left < when[-1] * 0.09), transform=rate.get_xaxis_transform(), ha="center", va="bottom",
            fontsize=9, fontweight="bold",
        )  # fmt: skip
    picture(hosts, walk, begin, when[-1] + width)
    hosts.set_xlabel("minutes")
    hosts.xaxis.set_major_locator(ticker.MultipleLocator(60 if when[-1] < 1000 else 120))
    hosts.xaxis.set_major_formatter(lambda second, _position: f"{second / 60:.0f}")
    rate.set_xlim(0, when[-1] + width)
    return figure


def picture(axes: Any, walk: dict[str, Any], begin: float, end: float) -> None:
    """Draw the hosts of each figure below the time for which they serve: a box for each, a band for each of its tiers."""
    from matplotlib.patches import Rectangle

    # What is shown in one column: from the end of a run to that of the next one that ended in order.
    ended = [step for step in walk["steps"] if not step.get("killed")]
    ended = [step for at, step in enumerate(ended) if not at or step["hosts"] != ended[at - 1]["hosts"]]
    starts = [max(0, step["end"] - begin) for step in ended]
    rows = max(sum(1.3 + len(tiers) for tiers in step["hosts"].values()) for step in ended)
    axes.set_ylim(rows, 0)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(colors=MUTED)
    for step, left, right in zip(ended, starts, [*starts[1:], end], strict=True):
        x, width, y = left + end * 0.002, right - left - end * 0.004, 0.0
        told = width > end * 0.05  # there is room for words
        for name, tiers in step["hosts"].items():
            words = name if told else ""
            axes.text(
                x + width / 2, y + 0.5, words, fontsize=8, fontweight="bold", ha="center", va="center", clip_on=True
            )
            for number, tier in enumerate(tiers, start=1):
                axes.add_patch(Rectangle((x, y + number), width, 0.94, color=COLOURS[tier], linewidth=0))
                axes.text(
                    x + width / 2, y + number + 0.47, tier.replace("_", " ") if told else "", color="white", fontsize=7, ha="center", va="center", clip_on=True
                )  # fmt: skip
            axes.add_patch(Rectangle((x, y), width, 0.97 + len(tiers), fill=False, edgecolor=LINE, linewidth=0.8))
            y += 1.3 + len(tiers)


def page(steps: list[dict[str, Any]], image: bytes) -> str:
    """Return the page with the chart and a table of the steps."""
    names = {
        "seconds": "run of site, s", "requests": "requests", "failed": "failed", "p50_ms": "p50, ms", "p99_ms": "p99, ms", "max_ms": "longest, ms",
        "longest_write_pause_ms": "longest write, ms", "rows_acknowledged": "rows accepted", "rows_found": "rows found",
        "uploads_acknowledged": "uploads accepted", "uploads_found": "uploads found", "sessions_lost": "sessions lost",
    }  # fmt: skip
    head = "".join(f"<th>{name}</th>" for name in ("step", *names.values()))
    rows = "".join(
        "<tr>" + f"<td>{html.escape(title(step)).replace(chr(10), ', ')}</td>"
        + "".join(f"<td>{step.get(key, '')}</td>" for key in names) + "</tr>"
        for step in steps
    )  # fmt: skip
    source = base64.b64encode(image).decode()
    return f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>ntier.django: growth</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; color: {INK}; max-width: 1240px; margin: 24px auto; padding: 0 16px; }}
img {{ width: 100%; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 5px 8px; border-bottom: 1px solid #d8dee4; text-align: right; font-size: 13px; }}
th {{ color: {MUTED}; font-weight: 600; vertical-align: bottom; }}
th:first-child, td:first-child {{ text-align: left; white-space: nowrap; }}
div {{ overflow-x: auto; }}
</style>
<h1>A running site, from figure to figure</h1>
<p>The inventory is changed, <code>site</code> runs, and visitors read, write, and send pictures all the time.</p>
<img alt="Requests, latency and errors over time, and the hosts of each step" src="data:image/png;base64,{source}">
<div><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>
</html>
"""


def main() -> None:
    """Write the three files, and say where they are."""
    path = FOLDER / "walk.json"
    if not path.exists():
        sys.exit(f"There is no {path.relative_to(ROOT)}. Run make grow, which takes the walk first.")
    walk = json.loads(path.read_text())
    steps = summary(walk)
    (FOLDER / "growth.json").write_text(json.dumps({"steps": steps}, indent=2) + "\n")
    image = io.BytesIO()
    draw(walk, steps).savefig(image, format="png", dpi=110)
    (FOLDER / "growth.png").write_bytes(image.getvalue())
    (FOLDER / "growth.html").write_text(page(steps, image.getvalue()))
    for step in steps:
        print(
            f"  {title(step).replace(chr(10), ', '):<22}{step['seconds']:7.1f} s  {step['requests']:6} requests, {step['failed']} failed,"
            f" longest write {step['longest_write_pause_ms']} ms"
        )
    print("The chart: build/growth/growth.html, build/growth/growth.png")


if __name__ == "__main__":
    main()
