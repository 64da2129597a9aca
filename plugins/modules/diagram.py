#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: diagram
short_description: Draw the cluster as an SVG
version_added: 1.1.0
author: ntier.django maintainers (@ntier)
description:
  - Draws tiers, hosts and flows after the inventory, into a file on the controller. No host is contacted.
  - Belongs to the collection's own playbooks, and reads their variables.
options:
  file:
    description:
      - The file to write; a relative path starts from the current folder.
      - Without it the picture is put beside the inventory, under its name, such as C(production.svg) for the folder
        C(production).
      - A file that is there and is no SVG is not replaced.
    type: str
attributes:
  check_mode:
    description: Says whether the picture would change, and leaves the file alone.
    support: full
  diff_mode:
    description: Shows which lines of the file change.
    support: full
"""

EXAMPLES = r"""
- name: Draw the cluster
  ntier.django.diagram:
    file: docs/production.svg
  run_once: true
"""

RETURN = r"""
path:
  description: The file with the picture.
  type: str
  returned: success
  sample: /home/me/cluster/production.svg
"""
