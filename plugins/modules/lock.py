#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take or release the lock of a run on a host. The action plugin of the same name runs first, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lock
short_description: Lock the hosts of a cluster for one run
version_added: 1.2.0
author: ntier.django maintainers (@ntier)
description:
  - Takes the lock of a host for the run that calls it. Where another run holds it, waits or fails with a sentence that says who runs what, from where and
    since when.
  - The lock is a file on every host of the run, so that two inventories which share a host exclude each other, too. It is created with a guard file held,
    so only one of two runs gets it. The playbooks lock one host first, the same for all who have the same hosts, and then the others, so that two runs do
    not take half of them each.
  - A run is dead when its process on the controller is gone; a second run on the same controller sees that at once, and takes the lock over. It compares
    host name, boot, process namespace and the time at which the process began, so neither a new process with the same number nor a container is mistaken.
  - From elsewhere a run is known by its signs of life. For every host that is locked a process on the controller, a child of the run that has a session of
    its own, renews the lock every 45 seconds through the connection of the task, and releases the lock when the run has ended, in whatever way. A lock
    that was not renewed for five minutes is a dead run's, as after a controller that lost its power, and is taken over.
  - A controller that slept for longer may wake up when another run has taken the lock over. The process that renews it notices this and interrupts its run.
  - Mitogen's connections can't be used outside of the run's own processes, so there is no renewal with them. Such a lock counts as a dead run's after six
    hours, and until then a run from another controller has to name it in C(take_over). The same holds where the first renewal fails.
  - Renewing by tasks alone was rejected, because a single task such as a migration may take hours. A process on the host that lives as long as the connection
    was rejected, because connections end between tasks, and C(docker exec) leaves its process behind.
  - Belongs to the collection's own playbooks.
options:
  state:
    description: Whether the run shall hold the lock.
    type: str
    choices: [present, absent]
    default: present
  wait_seconds:
    description: How long to wait for a run that holds the lock. By default the task fails at once.
    type: int
    default: 0
  take_over:
    description: The id of a run whose lock is taken over though nobody knows whether it is dead, as the message of the refusal names it.
    type: str
    default: ""
  facts:
    description: Gather the facts of M(ntier.django.host_facts) anew after a wait, since the other run may have changed them.
    type: bool
    default: false
  again:
    description: Gather them also when this task has not waited itself.
    type: bool
    default: false
  folder:
    description: Folder of the lock on the host. What it has in it is gone when the host restarts, which ends whatever a run did there.
    type: path
    default: /run/ntier
  claim:
    description: The run. The action plugin fills it in.
    type: dict
    default: {}
  over:
    description: The id of a run that is known to be dead. The action plugin fills it in.
    type: str
    default: ""
attributes:
  check_mode:
    description: No lock is taken, and none is looked for.
    support: full
"""

EXAMPLES = r"""
- name: Lock the host for this run
  ntier.django.lock:
    wait_seconds: 600

- name: Release the host
  ntier.django.lock:
    state: absent
"""

RETURN = r"""
holder:
  description: The run that holds the lock, when it is another one. C(age) is the seconds since its last sign of life.
  type: dict
  returned: success
waited:
  description: Whether the task had to wait for another run.
  type: bool
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ansible_collections.ntier.django.plugins.module_utils import lock  # noqa: E402


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "wait_seconds": {"type": "int", "default": 0},
            "take_over": {"type": "str", "default": ""},
            "facts": {"type": "bool", "default": False},
            "again": {"type": "bool", "default": False},
            "folder": {"type": "path", "default": lock.FOLDER},
            "claim": {"type": "dict", "default": {}},
            "over": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False)
    claim = module.params["claim"]
    if module.params["state"] == "absent":
        lock.release(module.params["folder"], claim.get("run", ""))
        module.exit_json(changed=False, holder=None)
    module.exit_json(changed=False, holder=lock.take(module.params["folder"], claim, module.params["over"]))


if __name__ == "__main__":
    main()
