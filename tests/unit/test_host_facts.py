"""The facts that roles and plugins read, as Ansible's own modules give them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.ntier.django.plugins.modules import host_facts

STATUS = """\
Package: nginx
Status: install ok installed
Priority: httpd
Architecture: amd64
Version: 1.22.1-9
Description: small, powerful
 Package: of lies
Conffiles:
 /etc/nginx 0

Package: chrony
Status: deinstall ok config-files
Architecture: amd64
Version: 4.3-2

Package: libc6
Status: hold ok installed
Architecture: amd64
Version: 2.36-9

Package: libc6
Status: install ok installed
Architecture: i386
Version: 2.36-9

Package: half
Status: install ok half-installed
Architecture: amd64
Version: 1
"""


def test_what_is_installed_is_told_and_nothing_else():
    found = host_facts.packages(STATUS)
    assert set(found) == {"nginx", "libc6"}
    assert found["nginx"] == [{"name": "nginx", "version": "1.22.1-9", "arch": "amd64", "source": "apt"}]
    assert [package["arch"] for package in found["libc6"]] == ["amd64", "i386"]


def ask(module):
    """Return the facts that a module gathers on this machine."""
    command = [sys.executable, "-m", "ansible", "adhoc", "localhost", "-c", "local", "-m", module]
    command += ["-a", "gather_subset=!all,!min,distribution,hardware,local,virtual"] if module.endswith("setup") else []
    text = subprocess.check_output([*command, "-e", f"ansible_python_interpreter={sys.executable}"], text=True)
    return json.loads(text.partition("=>")[2])["ansible_facts"]


@pytest.mark.skipif(not Path(host_facts.DPKG).exists(), reason="this is no Debian")
def test_facts_are_those_of_ansibles_own_module(monkeypatch):
    """A new ansible-core may move its collectors, or name a fact otherwise."""
    monkeypatch.setenv("ANSIBLE_CALLBACK_RESULT_FORMAT", "json")
    monkeypatch.setenv("ANSIBLE_NOCOLOR", "1")
    monkeypatch.delenv("ANSIBLE_STRATEGY", raising=False)
    ours, theirs = ask("ntier.django.host_facts"), ask("ansible.builtin.setup")
    names = ["distribution", "distribution_major_version", "distribution_version", "local", "memtotal_mb"]
    for name in [*names, "processor_vcpus"]:
        assert ours[f"ansible_{name}"] == theirs[f"ansible_{name}"], name
    guest = "ansible_virtualization_tech_guest"
    assert sorted(ours[guest]) == sorted(theirs[guest])  # made of a set
    assert "dpkg" in ours["packages"]
