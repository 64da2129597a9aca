#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: answers
short_description: Refuse to go on without hosts that can't be asked
version_added: 1.2.0
author: ntier.django maintainers (@ntier)
description:
  - Fails with a sentence for each host that did not answer a task before, which says what the host keeps and what to do, and for each host on which that
    task failed.
  - Belongs to the collection's own playbooks, and reads their variables.
options:
  asked:
    description: Name of the variable that the task before has registered. That task has C(ignore_unreachable), and C(any_errors_fatal) is off there.
    type: str
    required: true
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
"""

EXAMPLES = r"""
- name: Ask every host for its facts
  ansible.builtin.setup:
  ignore_unreachable: true
  any_errors_fatal: false
  register: asked

- name: Check that every host answers
  ntier.django.answers:
    asked: asked
  run_once: true
"""

RETURN = r"""
"""
