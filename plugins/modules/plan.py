#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Check what the hosts reported and show the plan
version_added: 1.0.0
author: ntier.django maintainers (@ntier)
description:
  - Fails when a host runs an unsupported operating system or has too little memory for what it shall serve.
  - Otherwise prints figure, tiers, sites, flows and memory shares. No host is contacted.
  - Belongs to the collection's own playbooks, and reads their variables.
options:
  show:
    description: Whether to print the plan.
    type: bool
    default: true
  built:
    description: Whether the web hosts have to be built already.
    type: bool
    default: false
    version_added: 1.2.0
  moves:
    description: Whether data may move in this run. Otherwise a move that is due is refused.
    type: bool
    default: true
    version_added: 1.2.0
  media:
    description: Whether uploads and static files may move to another host, as databases do.
    type: bool
    default: false
    version_added: 1.2.0
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
"""

EXAMPLES = r"""
- name: Run the step as site.yml does
  ntier.django.plan:
  run_once: true
"""

RETURN = r"""
plan:
  description: The lines of the plan.
  type: list
  elements: str
  returned: success
move:
  description: How the database moves, with C(from), C(to), C(poolers), C(bytes) and C(seconds); empty where it stays.
  type: dict
  returned: success
media_move:
  description:
    - How the uploads and static files move, with C(from), C(to), C(followers), C(bytes), C(files), C(seconds) and C(moved); empty where they stay.
  type: dict
  returned: success
empty:
  description: The hosts that begin without what they shall keep, tier → hosts. On a new cluster that is as it should be.
  type: dict
  returned: success
  version_added: 1.2.0
leaving:
  description: What hosts serve and shall not any more, host → tiers.
  type: dict
  returned: success
doors:
  description:
    - Where visitors come to, C(at), and where they shall, C(to); who of the first pass visitors on, C(passing), and whether they do already, C(begun);
      which balancers stay in service meanwhile, C(staying). Empty on a new cluster.
  type: dict
  returned: success
poolers:
  description: The hosts whose PgBouncer has clients of the database, who wait when PostgreSQL restarts. None on a new cluster.
  type: list
  elements: str
  returned: success
  version_added: 1.2.0
"""
