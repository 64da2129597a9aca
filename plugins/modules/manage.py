#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name, which shows on the controller what the host has run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: manage
short_description: Run a management command of a site and show its output
version_added: 1.2.0
author: ntier.django maintainers (@ntier)
description:
  - Runs a management command of a site's live release with C(ntier-manage), as the site's user and with its environment.
  - Shows what the command writes as it is, and fails when the command does.
options:
  site:
    description: Name of the site.
    type: str
    required: true
  command:
    description: The command with its arguments, quoted as in a shell. There is no shell.
    type: str
    required: true
attributes:
  check_mode:
    description: Nothing is run.
    support: full
"""

EXAMPLES = r"""
- name: Remove sessions that are over
  ntier.django.manage:
    site: polls
    command: clearsessions
"""

RETURN = r"""
stdout:
  description: What the command has written.
  type: str
  returned: when it has run
stderr:
  description: What it has written as errors.
  type: str
  returned: when it has run
rc:
  description: Its exit status.
  type: int
  returned: when it has run
"""
