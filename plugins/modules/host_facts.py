#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Gather the few facts that the collection's roles and plugins read."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_facts
short_description: Gather the facts that the roles read
version_added: 1.2.0
author: ntier.django maintainers (@ntier)
description:
  - Gathers with Ansible's own collectors the distribution, memory, processors, virtualization and local facts, under the names that
    M(ansible.builtin.setup) gives them, and the packages of the system as M(ansible.builtin.package_facts) does.
  - It asks for nothing else. The subset C(hardware) of M(ansible.builtin.setup) looks at all disks and mounts, too, and the manager C(apt) of
    M(ansible.builtin.package_facts) opens the whole package cache. Together they take seconds on each host and in each run.
options: {}
attributes:
  check_mode:
    description: The module changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Gather the facts of all roles in one round
  ntier.django.host_facts:
"""

RETURN = r"""
ansible_facts:
  description: The facts.
  type: dict
  returned: success
  contains:
    ansible_distribution:
      description: Name of the distribution; C(ansible_distribution_version) and others of the kind stand beside it.
      type: str
      returned: success
    ansible_local:
      description: What the files in F(/etc/ansible/facts.d) say.
      type: dict
      returned: success
    ansible_memtotal_mb:
      description: Memory of the host in MiB.
      type: int
      returned: success
    ansible_processor_vcpus:
      description: How many processors the host has.
      type: int
      returned: success
    ansible_virtualization_tech_guest:
      description: The virtualizations that the host is a guest of.
      type: list
      elements: str
      returned: success
    packages:
      description: Name of each package that is installed → a list of its versions, each with C(name), C(version), C(arch).
      type: dict
      returned: success
"""

import platform  # noqa: E402
import re  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.facts.hardware.linux import LinuxHardware  # noqa: E402
from ansible.module_utils.facts.system.distribution import DistributionFactCollector  # noqa: E402
from ansible.module_utils.facts.system.local import LocalFactCollector  # noqa: E402
from ansible.module_utils.facts.virtual.linux import LinuxVirtual  # noqa: E402

DPKG = "/var/lib/dpkg/status"
LOCAL = "/etc/ansible/facts.d"


def packages(status):
    """Return the packages that are installed, from the text of dpkg's status file: name → [{name, version, arch}]."""
    found: dict[str, list[dict[str, str]]] = {}
    for block in status.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version|Architecture): (.*)$", block, flags=re.MULTILINE))
        # Wanted or on hold; one whose configuration alone is left is not there.
        if fields.get("Status", "").endswith(" installed"):
            package = {"name": fields["Package"], "version": fields["Version"], "arch": fields["Architecture"]}
            found.setdefault(fields["Package"], []).append({**package, "source": "apt"})
    return found


def main():
    """Run the module."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    hardware = LinuxHardware(module)
    module.params["fact_path"] = LOCAL
    facts = {
        **DistributionFactCollector().collect(module=module),
        **hardware.get_memory_facts(),
        **hardware.get_cpu_facts(collected_facts={"ansible_architecture": platform.machine()}),
        **LinuxVirtual(module).get_virtual_facts(),
        **LocalFactCollector().collect(module=module),
    }
    del module.params["fact_path"]
    facts = {f"ansible_{name}": value for name, value in facts.items()}
    # Something else than a Debian is refused afterwards, by its name.
    try:
        with open(DPKG, encoding="utf-8", errors="replace") as file:
            facts["packages"] = packages(file.read())
    except FileNotFoundError:
        facts["packages"] = {}
    module.exit_json(changed=False, ansible_facts=facts)


if __name__ == "__main__":
    main()
