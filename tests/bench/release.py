"""What a release and a rollback take, beside `git pull && pip install && systemctl restart` by hand on the same hosts."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time

from cluster import RESULTS, ROOT, ROUNDS, Demo, Host, median, playbook, say

PROJECT = ROOT / "examples/guestbook"
COPY = RESULTS / "release/guestbook"
VARIABLES = RESULTS / "release/variables.json"
PAGE = "entries/templates/entries/entry_list.html"
# Asks HAProxy ten times a second which servers take no new requests, until it is told to stop.
WATCH = """
import csv, json, os, socket, sys, time
backend, room = sys.argv[1:]
away, last = {}, time.monotonic()
while not os.path.exists(room + "/stop"):
    client = socket.socket(socket.AF_UNIX)
    client.connect("/run/haproxy/admin.sock")
    client.sendall(b"show stat\\n")
    rows = csv.DictReader(client.makefile().read().lstrip("# ").splitlines())
    now = time.monotonic()
    for row in rows:
        if row["pxname"] == backend and row["type"] == "2":
            away[row["svname"]] = away.get(row["svname"], 0) + (now - last if row["status"] != "UP" else 0)
    last = now
    time.sleep(0.1)
with open(room + "/away.json", "w") as file:
    json.dump(away, file)
"""
# As a person sets a project up who has no Ansible: a clone, a virtual environment and a unit. Its origin is a folder beside it.
BY_HAND = """
rm -rf /opt/bench; mkdir /opt/bench; cd /opt/bench
cp -r /srv/{site}/current/project origin
git -C origin init -q -b main; git -C origin add .; git -C origin {identity} commit -q -m first
git clone -q origin guestbook
python3 -m venv venv; venv/bin/pip install -q gunicorn -r guestbook/requirements.txt
cat > /etc/systemd/system/bench-by-hand.service <<END
[Service]
User=nobody
WorkingDirectory=/opt/bench/guestbook
ExecStart=/opt/bench/venv/bin/gunicorn --workers 2 --threads 4 --bind 127.0.0.1:8098 guestbook.wsgi
END
systemctl daemon-reload
systemctl start bench-by-hand
"""
IDENTITY = "-c user.name=bench -c user.email=bench@example.com"
COMMIT = "cd /opt/bench/origin; sed -i 's#<h1>.*</h1>#<h1>{text}</h1>#' {page}; git {identity} commit -q -a -m change"
PULL = "cd /opt/bench/guestbook; git pull -q; ../venv/bin/pip install -q -r requirements.txt; systemctl restart bench-by-hand"
REMOVE = (
    "systemctl stop bench-by-hand; rm -rf /opt/bench /etc/systemd/system/bench-by-hand.service; systemctl daemon-reload"
)


class Watch:
    """Measures how long each web host takes no visitors while the body of a C(with) runs; afterwards C(away), in seconds."""

    def __init__(self, demo: Demo) -> None:
        self.host, self.backend = demo.tier("load_balancer")[0], f"site_{demo.site}"
        self.away: dict[str, float] = {}

    def __enter__(self) -> Watch:
        self.host.sh("rm -rf /run/bench-watch; mkdir /run/bench-watch")
        self.host.sh(f"cat > /run/bench-watch/watch.py <<'END'\n{WATCH}END")
        self.host.sh(
            f"systemd-run --quiet --property=RuntimeMaxSec=900 python3 /run/bench-watch/watch.py {self.backend} /run/bench-watch"
        )
        return self

    def __exit__(self, *_error: object) -> None:
        self.host.sh("touch /run/bench-watch/stop")
        wait = "for try in $(seq 100); do [ -s away.json ] && break; sleep 0.1; done; cat away.json"
        self.away = json.loads(self.host.sh(f"cd /run/bench-watch; {wait}"))


def released(demo: Demo, name: str, *options: str) -> tuple[float, dict[str, float]]:
    """Run a playbook that brings another release live; return the seconds of all of it, and those of each host without visitors."""
    with Watch(demo) as watch:
        output, wall, _cpu = playbook(name, *options)
    if any(seconds == 0 for seconds in watch.away.values()):
        sys.exit(f"{name} did not take every web host out of the balancer:\n{output[-3000:]}")
    return wall, watch.away


def by_hand(host: Host, text: str) -> float:
    """Return the seconds of a changed line's way to a web host by hand."""
    host.sh(COMMIT.format(text=text, page=PAGE, identity=IDENTITY))
    start = time.monotonic()
    host.sh(PULL)
    return time.monotonic() - start


def measure(demo: Demo) -> dict:
    """Measure a release of one changed line, the same by hand, and a rollback, in turn."""
    web = demo.tier("web")
    names = [host.name for host in web]
    say(f"A changed line to {' and '.join(names)}; {ROUNDS} rounds in turn")
    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(PROJECT, COPY, ignore=shutil.ignore_patterns("__pycache__"))
    sites = [{**site, "source": {"path": str(COPY)}} if site["name"] == demo.site else site for site in demo.sites]
    VARIABLES.write_text(json.dumps({"ntier_sites": sites}))
    for host in web:
        host.sh(BY_HAND.format(site=demo.site, identity=IDENTITY))
    rounds = []
    try:
        for number in range(ROUNDS):
            page = COPY / PAGE
            page.write_text(re.sub("<h1>.*</h1>", f"<h1>Round {time.time_ns()}</h1>", page.read_text()))
            release, release_away = released(demo, "ntier.django.release", "-e", f"@{VARIABLES}")
            hand = [by_hand(host, f"round {number}") for host in web]
            rollback, rollback_away = released(demo, "ntier.django.rollback", "-e", f"@{VARIABLES}")
            rounds.append(
                {
                    "release": release,
                    "release_away": release_away,
                    "by_hand": hand,
                    "rollback": rollback,
                    "rollback_away": rollback_away,
                }
            )
    finally:
        for host in web:
            host.sh(REMOVE)
        playbook("ntier.django.release")
    results: dict = {"rounds": rounds}
    say(f"  {'':<42}{'all hosts':>11}{'each host':>11}{'without visitors':>18}")
    for key, label in (("release", "release"), ("rollback", "rollback")):
        wall = median(entry[key] for entry in rounds)
        away = median(seconds for entry in rounds for seconds in entry[f"{key}_away"].values())
        say(f"  {label:<42}{wall:>9.1f} s{wall / len(web):>9.1f} s{away:>16.1f} s")
        results[key] = {"seconds": wall, "seconds_per_host": wall / len(web), "away_seconds": away}
    wall = median(sum(entry["by_hand"]) for entry in rounds)
    say(f"  {'git pull && pip install && systemctl restart':<42}{wall:>9.1f} s{wall / len(web):>9.1f} s")
    results["by_hand"] = {"seconds": wall, "seconds_per_host": wall / len(web)}
    return results
