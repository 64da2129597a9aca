"""Visitors for a while, on a test host: python3 -c SOURCE '{"address": …}'; they go when the file *stop* appears.

Each asks for one page again and again, as a browser without patience for errors would: nothing is asked twice. Prints JSON:
C(answers), status → how many; C(failed), what else than 200 came: status or exception, seconds that it took, and when;
C(hosts), web host → pages that it answered; C(slowest) seconds.
"""

import collections
import http.client
import json
import pathlib
import re
import ssl
import sys
import threading
import time

order = json.loads(sys.argv[1])
start = time.monotonic()
stop = pathlib.Path(order["stop"])
stop.unlink(missing_ok=True)
# Certificates are other tests' subject.
context = ssl._create_unverified_context()
answers = collections.Counter()
hosts = collections.Counter()
failed = []
durations = []


def visit():
    """Ask until it is enough."""
    connection = None
    while time.monotonic() - start < order["seconds"] and len(durations) < order["most"] and not stop.exists():
        before = time.monotonic()
        try:
            if connection is None:
                connection = http.client.HTTPSConnection(order["address"], timeout=order["patience"], context=context)
            connection.request("GET", order["path"], headers={"Host": order["domain"], "Cookie": order["cookie"]})
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
            what = answer.status
            host = re.search(r'id="web-host">([^<]+)<', text)
            if host:
                hosts[host[1]] += 1
        except Exception as error:
            what = repr(error)
            connection = None
        took = time.monotonic() - before
        durations.append(took)
        answers[what] += 1
        if what != 200:
            failed.append([what, round(took, 2), round(before - start, 2)])
        time.sleep(order["pause"])


threads = [threading.Thread(target=visit) for _number in range(order["visitors"])]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps({"answers": answers, "failed": failed, "hosts": hosts, "slowest": max(durations, default=0)}))
