# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read the secrets of sites and cluster, and make those that are missing."""

from __future__ import annotations

DOCUMENTATION = r"""
name: secrets
short_description: Secrets of the sites and of their cluster, made once beside the inventory
version_added: 1.0.0
author: ntier.django maintainers (@ntier)
description:
  - Returns the database password and the C(SECRET_KEY) of every site; on request also the cluster's id and its certificate authority.
  - What is not in the file yet is made and kept in it, with mode C(0600); encrypted when a vault password is configured.
  - In check mode nothing is written, and a stand-in is returned for what a real run would make.
options:
  _terms:
    description: Names of the sites.
    type: list
    elements: str
    required: true
  path:
    description: The file on the controller.
    type: str
    required: true
  supplied:
    description: Whether the user keeps the file. Then it is only read, and everything that is asked for has to be in it.
    type: bool
    default: false
  cluster:
    description: Whether to return what belongs to the cluster, too; it changes the shape of the result.
    type: bool
    default: false
    version_added: 1.1.0
"""

EXAMPLES = r"""
- name: Show the sites that have secrets
  ansible.builtin.debug:
    msg: "{{ lookup('ntier.django.secrets', 'polls', path=inventory_dir ~ '/group_vars/ntier_secrets.yml').keys() }}"

- name: Show the cluster's id
  ansible.builtin.debug:
    msg: "{{ lookup('ntier.django.secrets', 'polls', path=inventory_dir ~ '/group_vars/ntier_secrets.yml', cluster=true).cluster.id }}"
"""

RETURN = r"""
_raw:
  description:
    - One dictionary, site → C(database_password) and C(secret_key).
    - With O(cluster) it has the keys C(sites), which is the dictionary above, and C(cluster) with C(id), C(authority_key) and
      C(authority_certificate).
  type: list
  elements: dict
"""

import fcntl  # noqa: E402
import os  # noqa: E402
import tempfile  # noqa: E402

from ansible.errors import AnsibleError, AnsibleLookupError  # noqa: E402
from ansible.module_utils.common.text.converters import to_bytes  # noqa: E402
from ansible.parsing.vault import VaultLib, is_encrypted  # noqa: E402
from ansible.plugins.lookup import LookupBase  # noqa: E402
from ansible.utils.display import Display  # noqa: E402

from ansible_collections.ntier.django.plugins.plugin_utils import secrets  # noqa: E402
from ansible_collections.ntier.django.plugins.plugin_utils.faults import Faults, InventoryError, listed  # noqa: E402

display = Display()


class LookupModule(LookupBase):
    """Read or make the secrets of the sites that are named by the terms, and of their cluster."""

    def run(self, terms, variables=None, **kwargs):
        """Return a list of one dictionary: site → key → secret, or with the option cluster the keys sites and cluster."""
        self.set_options(var_options=variables, direct=kwargs)
        path = os.path.abspath(os.path.expanduser(self.get_option("path")))
        supplied, cluster = self.get_option("supplied"), self.get_option("cluster")
        sites = [str(name) for term in terms for name in (term if isinstance(term, (list, tuple)) else [term])]
        dry = bool((variables or {}).get("ansible_check_mode"))
        try:
            found, own = self._secrets(path, sites, supplied, cluster, dry)
        except InventoryError as error:
            raise AnsibleLookupError("The secrets can't be used") from error
        return [{"sites": found, "cluster": own} if cluster else found]

    def _secrets(self, path, sites, supplied, cluster, dry):
        """Return the secrets of the sites, and those of the cluster when *cluster* asks for them."""
        # The preflight looks with check mode first: that one look of a run may be slow.
        present, own, encrypted = self._read(path, sites, supplied, cluster, thorough=dry)
        vault = self._vault_secrets()
        complete = all(site in present for site in sites) and (own or not cluster)
        if supplied or (complete and (encrypted or not vault)):
            return present, own
        if dry:
            return secrets.placeholders(present, sites), own or (secrets.placeholder_cluster() if cluster else {})
        os.makedirs(os.path.dirname(path), exist_ok=True)
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # two hosts' tasks, or two runs, may come here at the same time
            return self._write_missing(path, sites, cluster, vault)
        finally:
            os.close(folder)

    def _read(self, path, sites, supplied, cluster, thorough=False, whole=False):
        """Return the file's secrets of the sites and of the cluster, and whether the file is encrypted as a whole.

        With *whole* everything that stands in the file, so that it can be written anew without a loss.
        """
        content, encrypted = None, False
        if os.path.exists(path):
            try:
                with open(path, "rb") as file:
                    encrypted = is_encrypted(file.read(64))
                content = self._loader.load_from_file(path, cache="none")
            except OSError as error:
                fix = "Name a file that you may read, in ntier_secrets_file when you keep it yourself"
                raise InventoryError([f"file {path}: can't be read: {error.strerror}. {fix}."]) from None
            except AnsibleError as error:
                fix = "Correct it, or give the vault password that it was encrypted with"
                raise InventoryError([f"file {path}: can't be read: {error.message.rstrip('.')}. {fix}."]) from None
        faults = Faults()
        if whole and isinstance(content, dict) and isinstance(content.get(secrets.TOP), dict):
            sites = list(dict.fromkeys([*sites, *map(str, content[secrets.TOP])]))
            for key in content.keys() - {secrets.TOP, secrets.CLUSTER}:
                faults.add(
                    f"file {path}",
                    f"has '{key}' beside '{secrets.TOP}'",
                    "Move it to another file: this one is written anew",
                )
        result = secrets.check(content, sites, path, supplied, faults)
        own = secrets.check_cluster(content, path, supplied, faults, thorough) if cluster or whole else {}
        faults.raise_if_any()
        return result, own, encrypted

    def _write_missing(self, path, sites, cluster, vault):
        present, own, encrypted = self._read(path, sites, False, cluster, whole=True)
        result, made = secrets.complete(present, sites)
        if cluster and not own:
            own = secrets.make_cluster()
            made = [*made, "the cluster"]
        text = secrets.text(result, own)
        if vault or encrypted:
            text = VaultLib(vault).encrypt(text, secret=vault[0][1], vault_id=vault[0][0])
        # The new file is complete before it takes the place of the old one.
        handle, name = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".ntier_secrets.")
        with os.fdopen(handle, "wb") as file:
            file.write(to_bytes(text))
        os.chmod(name, 0o600)
        os.replace(name, path)
        if made:
            display.display(f"Made the secrets of {listed(made)}: {path}")
        return {site: result[site] for site in sites}, own if cluster else {}

    def _vault_secrets(self):
        """Return the configured vault passwords as pairs of id and secret; the loader keeps them for ansible itself."""
        vault = getattr(self._loader, "_vault", None)
        return list(getattr(vault, "secrets", None) or [])
