#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Check everything that the controller can know
version_added: 1.0.0
author: ntier.django maintainers (@ntier)
description:
  - Checks ansible-core, groups, addresses, sites, secrets, source folders and the types of all role variables.
  - Fails with every fault at once. No host is contacted.
  - Belongs to the collection's own playbooks, and reads their variables.
options:
  build:
    description: Whether the cluster shall be built, so that what this version can't build is a fault too.
    type: bool
    default: true
  releases:
    description: Whether the run is one of releases alone, so that the variables C(site) and C(release_version) are read.
    type: bool
    default: false
    version_added: 1.2.0
  command:
    description: Whether the run is one of a single command, so that the variables C(site) and C(command) are read.
    type: bool
    default: false
    version_added: 1.2.0
  sources:
    description: Whether releases may be made of the source folders, so that what can't be released of them is a fault too.
    type: bool
    default: true
    version_added: 1.2.0
  rollback:
    description: Whether the run is a rollback, so that the variable C(site) is read.
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
  ntier.django.preflight:
  run_once: true
"""

RETURN = r"""
"""
