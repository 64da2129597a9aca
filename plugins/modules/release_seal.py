#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hand a release over to root, and its packages to all releases with the same requirements."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_seal
short_description: Hand a release over to root
version_added: 1.2.0
author: ntier.django maintainers (@ntier)
description:
  - The site runs the code of its release, and must not be able to change it. All files get root as their owner, the site's group may read them, and
    nobody else may.
  - Packages that M(ntier.django.release_build) has just installed become those of all releases of the site with the same requirements, which install
    none of them again.
options:
  folder:
    description: Folder of the release.
    type: path
    required: true
  group:
    description: Group of the site.
    type: str
    required: true
attributes:
  check_mode:
    description: The module does nothing in check mode.
    support: none
"""

EXAMPLES = r"""
- name: Hand the release over to root
  ntier.django.release_seal:
    folder: /srv/polls/releases/20261201T120000-1a2b3c4d5e6f
    group: polls
"""

RETURN = r"""
environment:
  description: The key of the packages that releases with the same requirements share, empty if the release has its own.
  type: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ansible_collections.ntier.django.plugins.module_utils import environments  # noqa: E402


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"folder": {"type": "path", "required": True}, "group": {"type": "str", "required": True}}
    )
    folder = module.params["folder"]
    # Thousands of files, for which Python would take ten times as long; the owner first, so that nobody but root can replace one when its mode is set.
    for command in (
        ["chown", "--recursive", "--no-dereference", f"root:{module.params['group']}", folder],
        ["chmod", "--recursive", "u=rwX,g=rX,o=", folder],
    ):
        module.run_command(command, check_rc=True)
    key = environments.read_key(folder)
    try:
        if key:
            environments.share(folder, key)
    except OSError as error:
        module.fail_json(msg=f"the packages of {folder} can't be put into {environments.store_of(folder)}: {error}")
    module.exit_json(changed=True, environment=key or "")


if __name__ == "__main__":
    main()
