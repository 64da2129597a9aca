#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check which accounts of the sites a host has, and that they are the sites' own."""

from __future__ import annotations

DOCUMENTATION = r"""
module: account_state
short_description: Which accounts of the sites a host has
version_added: 1.2.0
author: ntier.django maintainers (@ntier)
description:
  - Looks up accounts and groups by the names and numbers of the sites' users, and fails when one of them was not created by the role
    P(ntier.django.host#role). A site must not run with the rights of somebody else's account. Changes nothing.
options:
  accounts:
    description: Name of each account and of its group → the number of both.
    type: dict
    required: true
  fixed:
    description: Whether an account with another number is refused, because files are shared by NFS.
    type: bool
    default: false
  home:
    description: Folder below which each site has its own.
    type: path
    default: /srv
  host:
    description: What a message calls the host.
    type: str
    default: this host
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
"""

EXAMPLES = r"""
- name: Check the accounts of the sites
  ntier.django.account_state:
    accounts: {guestbook: 24711}
    host: "{{ inventory_hostname }}"
  register: __account_state
"""

RETURN = r"""
present:
  description: The names whose account exists.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ansible_collections.ntier.django.plugins.module_utils import accounts  # noqa: E402


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "accounts": {"type": "dict", "required": True},
            "fixed": {"type": "bool", "default": False},
            "home": {"type": "path", "default": "/srv"},
            "host": {"type": "str", "default": "this host"},
        },
        supports_check_mode=True,
    )
    found = accounts.look(module.params["accounts"])
    faults = [
        f"host {module.params['host']}: {what}. {fix}."
        for name, number in module.params["accounts"].items()
        for what, fix in accounts.faults_of(
            name, int(number), found[name], module.params["fixed"], module.params["home"]
        )
    ]
    if faults:
        module.fail_json(msg="\n".join(faults))
    module.exit_json(changed=False, present=[name for name, entry in found.items() if entry["account"]])


if __name__ == "__main__":
    main()
