"""How long writes wait while the database moves, and whether that grows with its size: figure 2, from host to host and back."""

from __future__ import annotations

import os
import re

from cluster import Demo, run, say
from moving import Writer, inventory

SIZES = [int(size) for size in os.environ.get("BENCH_SIZES", "100,1000,4000").split(",")]
#: Rows of a thousand bytes, which PostgreSQL stores as they are.
FILL = """
runuser -u postgres -- psql -qAtX -d {site} -c "
CREATE TABLE IF NOT EXISTS bench_filler (id bigserial PRIMARY KEY, body bytea);
ALTER TABLE bench_filler ALTER body SET STORAGE EXTERNAL;
INSERT INTO bench_filler (body) SELECT decode(repeat(md5(random()::text), 62), 'hex') FROM generate_series(1, {rows});
CHECKPOINT"
"""
SIZE = 'runuser -u postgres -- psql -qAtX -c "SELECT sum(pg_database_size(datname)) / 1000000 FROM pg_database"'
#: Writes some fifty entries in a second, by way of PgBouncer as the site does, and notes the longest of them.
WRITE = """
import json, os, time
from django.contrib.auth.models import User
from entries.models import Entry
author, _new = User.objects.get_or_create(username="bench")
slowest, count, end = 0.0, 0, time.monotonic() + 1200
while time.monotonic() < end and not os.path.exists("{room}/stop"):
    start = time.monotonic()
    Entry.objects.create(author=author, message=f"bench {{count}}")
    slowest, count = max(slowest, time.monotonic() - start), count + 1
    time.sleep(0.018)
found = Entry.objects.filter(author=author, message__startswith="bench ").delete()[0]
print(json.dumps({{"slowest_ms": slowest * 1000, "written": count, "found": found}}))
"""


def measure(demo: Demo) -> dict:
    """Move the database to the web host and back at each size, under writes."""
    web, database = demo.tier("web")[0], demo.tier("database")[0]
    say(f"The database moves between {database.name} and {web.name} under some 50 writes a second")
    say(f"  {'MB':>8}{'to':>10}{'run of site, s':>16}{'PgBouncer, ms':>16}{'longest write, ms':>20}{'lost':>6}")
    results: list[dict] = []
    for size in SIZES:
        now = int(database.sh(SIZE).split(".")[0])
        if size > now:
            database.sh(FILL.format(site=demo.site, rows=(size - now) * 1000))
        last = int(database.sh(SIZE).split(".")[0])
        for target, old in ((web, database), (database, web)):
            folder = inventory("handover", "database", target.name, old.name)
            writer = Writer(web, demo.site, WRITE)
            try:
                output, wall, _cpu = run("ansible-playbook", "-i", str(folder), "ntier.django.site")
            finally:
                noted = writer.stop()
            waited = int(re.findall(r"Clients waited (\d+) ms", " ".join(output.split()))[0])
            lost = noted["written"] - noted["found"]
            say(f"  {last:>8}{target.name:>10}{wall:>16.0f}{waited:>16}{noted['slowest_ms']:>20.0f}{lost:>6}")
            results.append({"mb": last, "to": target.name, "seconds": wall, "waited_ms": waited, **noted})
            # What was handed over stays aside, which the next copy has no room for.
            old.sh("rm -rf /var/lib/postgresql/*/main.handed-over-* /var/lib/postgresql/*/main.before-*")
    database.sh(f"runuser -u postgres -- psql -qAtX -d {demo.site} -c 'DROP TABLE IF EXISTS bench_filler'")
    return {"handover": results}
