#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: status
short_description: Show how the cluster is
version_added: 1.1.0
author: ntier.django maintainers (@ntier)
description:
  - Shows what the playbook C(ntier.django.status) asked the hosts. Runs on the controller.
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
"""

EXAMPLES = r"""
- name: Show how the cluster is
  ntier.django.status:
  run_once: true
"""

RETURN = r"""
status:
  description: The lines that were shown.
  type: list
  elements: str
  returned: success
"""
