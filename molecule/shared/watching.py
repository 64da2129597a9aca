"""What tests under constant requests share: visitors on a test host, who notice everything, and what came of a playbook."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOM = "/run/visitors"
PROGRAM = Path(__file__).parent / "visitors.py"
#: What visitors do unless a scenario says otherwise, see visitors.py.
ORDER = {
    "domain": "guestbook.example.com",
    "seconds": 3000,
    "most": 60000,
    "readers": 2,
    "readers2": 0,
    "writers": 1,
    "uploaders": 1,
    # A page costs an emulated host a tenth of a second of a core, which the runs under test need more.
    "pause": 1.0,
    "patience": 45,
    "folder": ROOM,
}


def until(condition: Callable[[], Any], seconds: float, what: str, pause: float = 0.5) -> Any:
    """Ask again and again until the condition holds, and return what it returned; *what* says what never came.

    A host that can't be reached answers with an exception; it counts as no.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            last = condition()
            if last:
                return last
        except RuntimeError as error:
            last = repr(error)
        assert time.monotonic() < end, f"{what}, not even after {seconds} seconds: {last}"
        time.sleep(pause)


def act(action: str, container: str) -> None:
    """Have Docker do something to a container: act("pause", "ntier-release-web1").

    A busy machine does not freeze all processes of a container within the time that Docker gives it, so a pause is tried again.
    """
    for attempt in range(5):
        done = subprocess.run(["docker", action, container], check=False, capture_output=True, text=True, timeout=180)
        if done.returncode == 0:
            return
        if action != "pause":
            break
        time.sleep(attempt)
    raise AssertionError(f"docker {action} {container}: {done.stderr}")


@dataclasses.dataclass
class Run:
    """What came of a playbook."""

    code: int
    output: str
    seconds: float

    @property
    def words(self) -> str:
        """Return the output without line breaks, which a message may have anywhere."""
        return " ".join(self.output.split())

    def changed(self) -> dict[str, int]:
        """Return how much was changed on each host."""
        recap = self.output.split("PLAY RECAP")[1]
        return {host: int(number) for host, number in re.findall(r"^(\S+) +:.*\bchanged=(\d+)", recap, re.M)}


class Visitors:
    """Visitors who come from a test host, all the time."""

    def __init__(self, host, **order) -> None:
        self.host = host
        self.order = {**ORDER, **order}
        self.word = f"run{time.time_ns()}"

    def start(self, address: str) -> None:
        """Have them come, and wait for the first answers."""
        self.host.check_output("systemctl stop visitors.service; rm -rf %s; mkdir -p %s", ROOM, ROOM)
        for name, text in {
            "visitors.py": PROGRAM.read_text(),
            "order.json": json.dumps({**self.order, "address": address, "word": self.word}),
        }.items():
            self.host.check_output(f"cat > {ROOM}/{name} <<'END-OF-FILE'\n{text}\nEND-OF-FILE")
        self.host.check_output(
            "systemd-run --quiet --unit=visitors --service-type=exec python3 %s/visitors.py %s/order.json", ROOM, ROOM
        )
        until(lambda: self.host.file(f"{ROOM}/progress.json").exists, 20, "no visitor comes")
        until(lambda: self.report()["answered"] > 30, 60, "no visitor is answered")

    def come_to(self, address: str, scheme: str) -> None:
        """Lead them elsewhere, as DNS does, and wait until each has gone there."""
        where = json.dumps({"address": address, "scheme": scheme})
        self.host.check_output(f"cd {ROOM} && echo '{where}' > where.new && mv where.new where.json")
        self.until(lambda seen: all(place[0] == address for place in seen["places"].values()), "some visitors stay", 90)

    def report(self) -> dict:
        """Return what they have seen so far."""
        return json.loads(self.host.check_output("cat %s/progress.json", ROOM))

    def until(self, condition: Callable[[dict], Any], what: str, seconds: float = 30) -> dict:
        """Wait until the condition holds for what they have seen, and return it."""
        seen: list[dict] = []
        until(lambda: condition(seen.append(self.report()) or seen[-1]), seconds, what)
        return seen[-1]

    def events(self, since: float = 0) -> list[tuple[float, str, str, int]]:
        """Return the answers since a time of day: when, kind, status, milliseconds."""
        lines = self.host.check_output("cat %s/events.csv", ROOM).splitlines()
        rows = [line.split(",") for line in lines if line.count(",") == 3]
        return [(float(at), kind, status, int(took)) for at, kind, status, took in rows if float(at) > since]

    def clock(self) -> float:
        """Return the time of day where they are."""
        return float(self.host.check_output("date +%s", "%s.%N"))

    @contextlib.contextmanager
    def notice_nothing(self) -> Iterator[None]:
        """Fail when one of them notices anything of what is done in the meantime."""
        before = self.report()
        yield
        time.sleep(3)  # for what comes of it
        after = self.report()
        failures = after["failures"][len(before["failures"]) :]
        first = f"the first is {failures[0]['what']}\n{json.dumps(failures[:10], indent=1)}" if failures else ""
        assert after["failed"] == before["failed"], f"{after['failed'] - before['failed']} failures; {first}"
        assert not after["ended"], f"the visitors have gone: {after['ended']}"
        assert after["answered"] > before["answered"]

    def stop(self) -> dict:
        """Let them finish what they have begun, and return their report."""
        self.host.check_output("touch %s/stop", ROOM)
        until(
            lambda: self.host.file(f"{ROOM}/report.json").exists, self.order["patience"] + 20, "the visitors do not go"
        )
        return json.loads(self.host.check_output("cat %s/report.json", ROOM))
