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
cp -r /srv/{site}/current/project/. origin
find origin -name __pycache__ -prune -exec rm -r {{}} +
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
# Any answer will do: that of a page without a database is an error.
ANSWERS = """
import http.client, sys, time
for _try in range(300):
    try:
        client = http.client.HTTPConnection("127.0.0.1", 8098, timeout=30)
        client.request("GET", "/")
        sys.exit(not client.getresponse().status)
    except OSError:
        time.sleep(0.1)
sys.exit("gunicorn by hand does not answer")
"""
IDENTITY = "-c user.name=bench -c user.email=bench@example.com"
COMMIT = "cd /opt/bench/origin; sed -i 's#<h1>.*</h1>#<h1>{text}</h1>#' {page}; git {identity} commit -q -a -m change"
PULL = f"""
cd /opt/bench/guestbook; git pull -q; ../venv/bin/pip install -q -r requirements.txt
start=$(date +%s.%N)
systemctl restart bench-by-hand
python3 -c '{ANSWERS}'
echo $start $(date +%s.%N)
"""
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


def by_hand(host: Host, text: str) -> tuple[float, float]:
    """Return the seconds of a changed line's way to a web host by hand, until it answers, and those of them without an answer."""
    host.sh(COMMIT.format(text=text, page=PAGE, identity=IDENTITY))
    start = time.monotonic()
    stopped, answered = map(float, host.sh(PULL).split()[-2:])
    return time.monotonic() - start, answered - stopped


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
            hand = {host.name: by_hand(host, f"round {number}") for host in web}
            rollback, rollback_away = released(
                demo, "ntier.django.rollback", "-e", f"@{VARIABLES}", "-e", "rollback_migrations=keep"
            )
            rounds.append(
                {
                    "release": {"seconds": release, "away": release_away},
                    "by_hand": {
                        "seconds": sum(seconds for seconds, _refused in hand.values()),
                        "away": {name: refused for name, (_seconds, refused) in hand.items()},
                    },
                    "rollback": {"seconds": rollback, "away": rollback_away},
                }
            )
    finally:
        for host in web:
            host.sh(REMOVE)
        playbook("ntier.django.release")
    return {"rounds": rounds, **told(rounds, len(web))}


def told(rounds: list[dict], hosts: int) -> dict:
    """Print the medians of the rounds, and return them."""
    results: dict = {}
    say(f"  {'':<40}{'all hosts':>11}{'each host':>11}{'ratio':>7}{'of that, each host is away':>29}")
    hand = median(entry["by_hand"]["seconds"] for entry in rounds)
    for key, label in (
        ("by_hand", "git pull, pip install, systemctl restart"),
        ("release", "release"),
        ("rollback", "rollback"),
    ):
        wall = median(entry[key]["seconds"] for entry in rounds)
        away = median(seconds for entry in rounds for seconds in entry[key]["away"].values())
        how = "refuses visitors" if key == "by_hand" else "others answer"
        say(f"  {label:<40}{wall:>9.1f} s{wall / hosts:>9.1f} s{wall / hand:>7.2f}{away:>9.1f} s, {how}")
        results[key] = {
            "seconds": wall,
            "seconds_per_host": wall / hosts,
            "to_by_hand": wall / hand,
            "away_seconds": away,
        }
    return results
