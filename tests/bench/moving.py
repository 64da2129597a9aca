"""What the benches of moves share: somebody who writes all the time, and the demo's inventory with a tier on another host."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import yaml
from cluster import INVENTORY, Host


class Writer:
    """Somebody who writes all the time on a web host.

    :arg program: in Python, for the site's own shell. It ends when there is a file C({room}/stop), and prints what it noted as JSON.
    """

    def __init__(self, host: Host, site: str, program: str) -> None:
        self.host, self.room = host, "/run/bench-write"
        host.sh(f"rm -rf {self.room}; install -d -m 0777 {self.room}")
        host.sh(f"cat > {self.room}/write.py <<'END'\n{program.format(room=self.room)}END")
        host.sh(
            f"systemd-run --quiet --unit=bench-write sh -c"
            f" 'ntier-manage {site} shell -c \"$(cat {self.room}/write.py)\" > {self.room}/out 2>&1'"
        )
        time.sleep(3)

    def stop(self) -> dict:
        """Let it end, and return what it noted."""
        self.host.sh(f"touch {self.room}/stop; while systemctl is-active -q bench-write; do sleep 0.2; done")
        return json.loads(self.host.sh(f"tail -n 1 {self.room}/out"))


def inventory(part: str, tier: str, target: str, old: str) -> Path:
    """Return a copy of the demo's inventory with a tier on one host, and the other one retired if it serves nothing.

    It lies beside the demo's, so that relative paths in it lead to the same place.
    """
    folder = INVENTORY.parent / f"{part}-{target}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(INVENTORY, folder, symlinks=True)
    path = folder / "hosts.yml"
    groups = yaml.safe_load(path.read_text())
    ways = {name: way for group in groups.values() for name, way in (group.get("hosts") or {}).items() if way}
    groups[tier] = {"hosts": {target: ways.get(target)}}
    groups.pop("retired", None)
    if not any(old in (group.get("hosts") or {}) for group in groups.values()):
        groups["retired"] = {"hosts": {old: ways.get(old)}}
    path.write_text(yaml.safe_dump(groups, sort_keys=False))
    return folder
