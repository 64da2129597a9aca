"""The archive that people install: it works by name, away from the checkout, and holds nothing of the workshop."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile

import pytest
import yaml
from conftest import ROOT


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Return the collection's archive, built from the files that git has or would take."""
    folder = tmp_path_factory.mktemp("package")
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in listing.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / "source" / name)
    command = ["ansible-galaxy", "collection", "build", "--output-path", str(folder), str(folder / "source")]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("ntier-django-*.tar.gz"))


def test_the_archive_holds_what_is_callable_and_the_examples(archive):
    with tarfile.open(archive) as tar:
        tops = {name.split("/")[0] for name in tar.getnames()}
        names = tar.getnames()
    assert {"README.md", "LICENSE", "CHANGELOG.md", "meta", "playbooks", "plugins", "roles", "inventories"} <= tops
    assert not tops & {"molecule", "tests", "tools", "build", ".ansible", ".venv", ".git", ".ci", "Makefile"}
    assert not tops & {".github", ".editorconfig", ".pre-commit-config.yaml", ".gitignore", "pyproject.toml"}
    assert {path.relative_to(ROOT).as_posix() for path in ROOT.glob("roles/*/README.md")} <= {*names}
    assert not [name for name in names if "__pycache__" in name or "ntier_secrets" in name or "_cache" in name]


def test_the_execution_environment_names_files_of_the_archive(archive):
    with tarfile.open(archive) as tar:
        names = tar.getnames()
        wanted = yaml.safe_load(tar.extractfile("meta/execution-environment.yml"))["dependencies"]
    assert {*wanted} == {"python", "system"}
    assert {*wanted.values()} <= {*names}


def test_the_installed_collection_works_by_name(archive, tmp_path):
    install = [
        "ansible-galaxy",
        "collection",
        "install",
        "--offline",
        "-p",
        str(tmp_path / "collections"),
        str(archive),
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment.update(
        ANSIBLE_COLLECTIONS_PATH=str(tmp_path / "collections"), ANSIBLE_HOME=str(tmp_path / "home"), COLUMNS="300"
    )
    subprocess.run(install, check=True, capture_output=True, cwd=tmp_path, env=environment)
    shutil.copytree(ROOT / "inventories/5-n-tier", tmp_path / "inventory")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    group_vars = tmp_path / "inventory/group_vars/all.yml"
    group_vars.write_text(group_vars.read_text().replace("../../examples", "../examples"))
    done = subprocess.run(
        ["ansible-playbook", "-i", "inventory", "ntier.django.site"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    # Its own plugins and wiring have spoken, and only they.
    assert done.returncode != 0
    assert "The inventory draws figure 20-5" in output, output
    assert "(1 fault; no host has been changed)" in output
    assert "UNREACHABLE" not in output
