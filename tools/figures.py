"""Write docs/figures/*.svg, the pictures of the shipped inventories: figures.py [--check]."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".ansible/collections"))

from ansible.inventory.manager import InventoryManager  # noqa: E402 - from here on the collection is found
from ansible.parsing.dataloader import DataLoader  # noqa: E402
from ansible.vars.manager import VariableManager  # noqa: E402

from ansible_collections.ntier.django.plugins.filter.topology import topology  # noqa: E402
from ansible_collections.ntier.django.plugins.plugin_utils.diagram import draw  # noqa: E402

TARGET = ROOT / "docs" / "figures"


def render() -> dict[Path, str]:
    """Return file → content of every picture."""
    pictures = {}
    for folder in sorted((ROOT / "inventories").glob("[0-9]-*")):
        loader = DataLoader()
        manager = InventoryManager(loader=loader, sources=[str(folder)])
        variables = VariableManager(loader=loader, inventory=manager)
        hosts = {host.name: variables.get_vars(host=host) for host in manager.get_hosts()}
        cluster = topology(manager.get_groups_dict(), hosts, next(iter(hosts.values()))["ntier_sites"])
        pictures[TARGET / f"{folder.name}.svg"] = draw(cluster)
    return pictures


def main(arguments: list[str]) -> int:
    """Write the pictures, or with --check say whether they are up to date."""
    pictures = render()
    if arguments == ["--check"]:
        there = {path: path.read_text(encoding="utf-8") for path in TARGET.glob("*.svg")}
        fresh = there == pictures
        print(f"docs/figures is {'up to date' if fresh else 'stale: run tools/env python tools/figures.py'}")
        return 0 if fresh else 1
    if arguments:
        sys.exit(__doc__)
    TARGET.mkdir(parents=True, exist_ok=True)
    for path, content in pictures.items():
        path.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
