"""What the roles create does not depend on the umask of who connects: a hardened PAM gives root and administrators 077."""

import os
import re

import pytest
import yaml
from clusters import ROOT

from ansible_collections.ntier.django.plugins.modules import release_state

#: Programs that the roles bring to the hosts, and modules: each starts with the umask of who connects, or runs it. The settings overlay is none: it
#: belongs to a site's processes, whose umask ntier-manage and the units set.
PROGRAMS = [
    path
    for path in [*ROOT.glob("roles/*/files/**/*.py"), *ROOT.glob("plugins/modules/*.py")]
    if path.parent.name != "overlay"
]
#: Makes a folder, or a file of its own.
CREATES = re.compile(r"os\.makedirs\(|os\.mkdir\(|\.mkdir\(|(?<!fd)open\([^\n]*\"[wxa]b?\"")


def tasks_of(path):
    found = yaml.safe_load(path.read_text()) or []
    for task in found:
        for key in ("block", "rescue", "always"):
            found += task.get(key, [])
    return found


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_a_program_that_creates_files_sets_its_umask(path):
    code = path.read_text()
    started = "__main__" in code  # else it is a part of one that has set it
    assert not (started and CREATES.search(code)) or "os.umask(0o0" in code


def test_pip_installs_for_every_user():
    tasks = [task for path in (ROOT / "roles").glob("*/tasks/**/*.yml") for task in tasks_of(path)]
    pips = [task["ansible.builtin.pip"] for task in tasks if "ansible.builtin.pip" in task]
    assert pips and all(pip.get("umask") == "0022" for pip in pips)


@pytest.fixture
def tools(tmp_path):
    """Return uv in a virtual environment as a run leaves it."""
    folder = tmp_path / "tools"
    for name in ("bin", "lib/python3/site-packages/pip"):
        (folder / name).mkdir(parents=True)
    (folder / "bin/uv").write_text("#!/bin/sh\necho uv 1.2.3\n")
    (folder / "bin/python").symlink_to("/nowhere")
    (folder / "lib/python3/site-packages/pip/__init__.py").touch()
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
    return folder


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        (".", 0o700),
        ("bin", 0o700),
        ("bin/uv", 0o700),
        ("bin/uv", 0o754),
        ("lib/python3/site-packages", 0o750),
        ("lib/python3/site-packages/pip/__init__.py", 0o600),
    ],
)
def test_tools_that_a_strict_umask_has_closed_are_opened_by_the_next_run(tools, name, mode):
    uv = str(tools / "bin/uv")
    assert release_state.uv_version(uv) == "1.2.3"
    os.chmod(tools / name, mode)
    assert release_state.uv_version(uv) == ""


def test_the_processes_of_a_site_have_a_umask_of_their_own():
    units = [path for path in (ROOT / "roles").glob("*/templates/*.service.j2") if "User=" in path.read_text()]
    assert units and all("UMask=0027" in path.read_text() for path in units)
    assert "os.umask(0o027)" in (ROOT / "roles/release/files/ntier-manage").read_text()
