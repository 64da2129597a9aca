"""How long uploads wait while the sites' files move, and whether that grows with their number: figure 3, to the web host and back."""

from __future__ import annotations

import os
import re

from cluster import Demo, run, say
from moving import Writer, inventory

COUNTS = [int(count) for count in os.environ.get("BENCH_FILES", "200,2000,20000").split(",")]
#: Makes files of 10 KB where the sites have them, a hundred in a folder.
FILL = """
import os
for number in range({first}, {last}):
    folder = f"/srv/media/{site}/media/bench/{{number // 100}}"
    os.makedirs(folder, exist_ok=True)
    with open(f"{{folder}}/{{number}}", "wb") as file:
        file.write(os.urandom(10_000))
"""
#: Uploads some twenty files in a second, as a form does, looks whether each can be read, and notes the longest of them.
UPLOAD = """
import json, os, time
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
slowest, names, end = 0.0, [], time.monotonic() + 1800
while time.monotonic() < end and not os.path.exists("{room}/stop"):
    start = time.monotonic()
    names.append(default_storage.save("written/bench", ContentFile(b"x" * 10_000)))
    slowest = max(slowest, time.monotonic() - start)
    time.sleep(0.05)
found = sum(default_storage.size(name) == 10_000 for name in names)
for name in names:
    default_storage.delete(name)
print(json.dumps({{"slowest_ms": slowest * 1000, "written": len(names), "found": found}}))
"""


def measure(demo: Demo) -> dict:
    """Move the files to the web host and back with each number of them, while somebody uploads."""
    web, media = demo.tier("web")[0], demo.tier("media")[0]
    say(f"The uploads move between {media.name} and {web.name} under some 20 uploads a second")
    say(f"  {'files':>8}{'to':>10}{'run of site, s':>16}{'processes, ms':>16}{'longest upload, ms':>20}{'lost':>6}")
    results: list[dict] = []
    made = 0
    for count in COUNTS:
        program = FILL.format(first=made, last=count, site=demo.site)
        web.sh(f"runuser -u {demo.site} -- python3 - <<'END'\n{program}END")
        made = max(made, count)
        for target, old in ((web, media), (media, web)):
            folder = inventory("uploads", "media", target.name, old.name)
            writer = Writer(web, demo.site, UPLOAD)
            try:
                output, wall, _cpu = run("ansible-playbook", "-i", str(folder), "ntier.django.site")
            finally:
                noted = writer.stop()
            words = " ".join(output.split())
            waited = int(re.findall(r"waited (\d+) ms\. [\d.]+ MB were copied", words)[0])
            files = int(re.findall(r"(\d+) files have moved", words)[0])
            lost = noted["written"] - noted["found"]
            say(f"  {files:>8}{target.name:>10}{wall:>16.0f}{waited:>16}{noted['slowest_ms']:>20.0f}{lost:>6}")
            results.append({"files": files, "to": target.name, "seconds": wall, "waited_ms": waited, **noted})
            # What was moved stays aside, and takes up the disk.
            old.sh("rm -rf /srv/media-kept-*")
    web.sh(
        f"rm -rf /srv/media/{demo.site}/media/bench || runuser -u {demo.site} -- rm -rf /srv/media/{demo.site}/media/bench"
    )
    return {"uploads": results}
