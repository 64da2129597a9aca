#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name, which waits and calls the module apt."""

from __future__ import annotations

DOCUMENTATION = r"""
module: packages
short_description: Install packages, and wait for other installations to end
version_added: 1.2.0
author: ntier.django maintainers (@ntier)
description:
  - Installs packages without what they recommend, by M(ansible.builtin.apt). A new machine upgrades itself at its first boot and holds dpkg's lock for some
    minutes. This waits for it, for C(host_apt_lock_timeout_seconds) at the most, and says once for whom.
options:
  name:
    description: Names of the packages.
    type: list
    elements: str
    required: true
  policy_rc_d:
    description: What C(policy-rc.d) answers while they are installed; 101 starts none of their services.
    type: int
attributes:
  check_mode:
    description: In check mode it does not wait.
    support: full
"""

EXAMPLES = r"""
- name: Install the web server
  ntier.django.packages:
    name: [nginx-light]
    policy_rc_d: 101
"""

RETURN = r"""
"""
