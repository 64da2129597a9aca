#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look whether a host has a way to the hosts that it needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: routes
short_description: Which addresses a host has no route to
version_added: 1.1.0
author: ntier.django maintainers (@ntier)
description:
  - Asks the kernel for its route to each address; names are resolved as the host resolves them. Sends nothing and changes nothing.
options:
  addresses:
    description: IP addresses or host names.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
"""

EXAMPLES = r"""
- name: Look for a way to the database
  ntier.django.routes:
    addresses: [192.0.2.21]
  register: __routes
"""

RETURN = r"""
missing:
  description: Address → why there is no way to it.
  type: dict
  returned: success
"""

import socket  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"addresses": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True
    )
    missing = {}
    for address in module.params["addresses"]:
        try:
            target = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)[0][4][0]
        except OSError as error:
            missing[address] = f"the name is not known there ({error.strerror})"
            continue
        status, _output, stderr = module.run_command(["ip", "route", "get", target])
        if status:
            missing[address] = stderr.strip().replace("RTNETLINK answers: ", "")
    module.exit_json(changed=False, missing=missing)


if __name__ == "__main__":
    main()
