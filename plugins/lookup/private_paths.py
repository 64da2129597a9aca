# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Name what the controller keeps for itself."""

from __future__ import annotations

DOCUMENTATION = r"""
name: private_paths
short_description: Files and folders of the controller that never belong to a release
version_added: 1.2.0
author: ntier.django maintainers (@ntier)
description:
  - Returns the inventories of this run with their C(group_vars) and C(host_vars), the file with the secrets, the keys and certificates that sites
    name, the keys of connections, files with passwords, files of C(-e @FILE), playbooks and Ansible's configuration.
  - Only what exists is returned.
options: {}
"""

EXAMPLES = r"""
- name: Show what stays on this controller
  ansible.builtin.debug:
    msg: "{{ lookup('ntier.django.private_paths') }}"
"""

RETURN = r"""
_raw:
  description: One dictionary, absolute path → what it is.
  type: list
  elements: dict
"""

from ansible.errors import AnsibleError  # noqa: E402
from ansible.plugins.lookup import LookupBase  # noqa: E402

from ansible_collections.ntier.django.plugins.plugin_utils import private  # noqa: E402


class LookupModule(LookupBase):
    """Collect the paths from command line, configuration and variables."""

    def run(self, terms, variables=None, **kwargs):
        """Return a list of one dictionary."""
        self.set_options(var_options=variables, direct=kwargs)
        given = variables or {}

        def evaluate(name):
            try:
                return self._templar.template(given[name]) if name in given else None
            except AnsibleError:  # waits for facts, or is wrong, which others say
                return None

        return [private.paths(given, evaluate)]
