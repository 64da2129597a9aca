#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name, which packs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: source_folder
short_description: Bring a project folder of the controller to a host
version_added: 1.0.0
author: ntier.django maintainers (@ntier)
description:
  - Sends the files of a project in one piece. In a git work tree these are the files that git tracks or would offer to track; elsewhere all but what
    tools leave behind, such as C(__pycache__) and virtual environments.
  - What belongs to Ansible is left out, such as C(group_vars) and files that its vault encrypted.
options:
  src:
    description: Folder on the controller.
    type: path
    required: true
  dest:
    description: Folder on the host, which has to be there.
    type: path
    required: true
  private:
    description: Files and folders of the controller that are left out, path → what it is. The lookup P(ntier.django.private_paths#lookup) knows them.
    type: dict
    default: {}
    version_added: 1.2.0
attributes:
  check_mode:
    description: Nothing is sent in check mode.
    support: full
"""

EXAMPLES = r"""
- name: Bring the project
  ntier.django.source_folder:
    src: /home/me/polls
    dest: /srv/polls/releases/20260101T120000-4f2a/app
"""

RETURN = r"""
files:
  description: How many files were sent.
  type: int
  returned: success
"""
