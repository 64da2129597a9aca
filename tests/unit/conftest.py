"""The collection as Ansible itself imports it, and its own ansible.cfg, wherever pytest is started."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ["ANSIBLE_CONFIG"] = str(ROOT / "ansible.cfg")

from ansible.plugins.loader import init_plugin_loader  # noqa: E402 - it reads the configuration

init_plugin_loader([str(ROOT / ".ansible/collections")])
