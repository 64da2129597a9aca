"""What the tools of a checkout remove: what it has made itself, and only when somebody asks for it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from clusters import ROOT

#: Ansible runs them all, with --list and with --host, when somebody names the checkout as the inventory.
EXECUTABLE = [".ci/run", "examples/guestbook/manage.py", "tools/clean", "tools/env", "tools/sanity", "tools/setup", "tools/stop"]  # fmt: skip
#: A Docker client that answers from files beside it and writes down what it is asked to do.
DOCKER = """#!/bin/bash
here=$(dirname "$0")
echo "$*" >> "$here/calls"
case "$1 $2" in
    "version "*) exit 0 ;;
    "ps --all")
        case "$*" in
            *ntier.checkout=*) all="$*"; wanted=${all##*ntier.checkout=}; awk -v c="$wanted" '$2 == c { print $1 }' "$here/hosts" ;;
            *--format*) cat "$here/hosts" ;;
            *) awk '{ print $1 }' "$here/hosts" ;;
        esac ;;
    "ps --quiet") cat "$here/running" ;;
    "rm --force") for name; do sed -i "/^$name /d" "$here/hosts"; done ;;
    "network ls" | "volume ls") echo "ours-$1" ;;
    "image ls") cat "$here/images" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    """Return a folder with the tools and nothing else, and a Docker engine beside it that has hosts of it, of another and of nobody."""
    root = tmp_path / "checkout"
    for name in ("tools", ".ci", "build/engine", ".venv/bin", ".ansible"):
        (root / name).mkdir(parents=True)
    for path in [*EXECUTABLE, "Makefile"]:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, root / path)
    (tmp_path / "bin").mkdir()
    for name in ("make", "pip", "python3", "django-admin", "apt-get", "ansible-test", "git", "uv", "systemctl"):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/bin/calls"\n')
    (tmp_path / "bin/docker").write_text(DOCKER)
    (tmp_path / "bin/calls").touch()
    (tmp_path / "bin/running").touch()
    (tmp_path / "bin/images").touch()
    (tmp_path / "bin/hosts").write_text(f"ntier-demo-box1 {root}\nntier-demo-web2 {root}\n")
    for path in (tmp_path / "bin").iterdir():
        path.chmod(0o755)
    return root


def run(checkout, *command):
    environment = {**os.environ, "PATH": f"{checkout.parent}/bin:{os.environ['PATH']}", "PYTHON": "python3"}
    done = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    calls = (checkout.parent / "bin/calls").read_text().splitlines()
    return done, calls


def add(checkout, **files):
    for name, text in files.items():
        with (checkout.parent / "bin" / name).open("a") as file:
            file.write(text)


def snapshot(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# --- who runs them ------------------------------------------------------------------------------------------------


def test_only_tools_are_executable():
    found = []
    for place, folders, names in os.walk(ROOT):
        hidden = [".git", ".venv", ".ansible", "build", "__pycache__", "node_modules"]
        folders[:] = [
            name for name in folders if name not in hidden and not name.startswith((".mypy", ".ruff", ".pyt"))
        ]
        paths = [Path(place, name) for name in names]
        found += [
            str(path.relative_to(ROOT)) for path in paths if path.stat().st_mode & 0o111 and not path.is_symlink()
        ]
    assert sorted(found) == sorted(EXECUTABLE)


@pytest.mark.parametrize("path", [path for path in EXECUTABLE if not path.endswith(".py")])
@pytest.mark.parametrize("words", [["--list"], ["--host", "web1"]])
def test_a_checkout_that_is_taken_for_an_inventory_is_left_as_it_is(checkout, path, words):
    before = snapshot(checkout)
    done, calls = run(checkout, checkout / path, *words)
    assert done.returncode == 2 and done.stderr.startswith(f"usage: {path}")
    assert calls == [] and snapshot(checkout) == before


@pytest.mark.parametrize("words", [["--host"], ["hosts"], ["--hosts", "x"], ["-n"], [""], ["--help"]])
@pytest.mark.parametrize("path", ["tools/stop", "tools/clean"])
def test_an_argument_that_is_not_known_is_no_yes(checkout, path, words):
    done, calls = run(checkout, checkout / path, *words)
    assert done.returncode == 2 and "usage" in done.stderr and calls == []
    assert (checkout / "build/engine").exists()


# --- what they remove ---------------------------------------------------------------------------------------------


def test_stop_removes_the_hosts_and_networks_of_this_checkout_alone(checkout):
    add(checkout, hosts="ntier-release-web1 /srv/other\nntier-growth-box1 \n")
    done, calls = run(checkout, checkout / "tools/stop", "--hosts")
    assert done.returncode == 0, done.stderr
    assert "rm --force --volumes ntier-demo-box1 ntier-demo-web2" in calls
    assert (
        f"network ls --quiet --filter label=ntier.checkout={checkout}" in calls and "network rm ours-network" in calls
    )
    assert (checkout.parent / "bin/hosts").read_text() == "ntier-release-web1 /srv/other\nntier-growth-box1 \n"
    assert "Left alone: the test host ntier-release-web1 of the checkout /srv/other.\n" in done.stdout
    assert "docker rm --force --volumes ntier-growth-box1" in done.stdout


@pytest.fixture
def engine(checkout):
    """Return a program that passes for the engine that this checkout has started."""
    path = checkout / "build/engine/dockerd.pid"
    program = subprocess.Popen(["sh", "-c", f"while :; do sleep 0.1; done # {path}"])
    path.write_text(str(program.pid))
    yield program
    program.kill()
    program.wait()


def test_an_engine_that_others_use_goes_on(checkout, engine):
    add(checkout, running="4f2a\n", hosts="ntier-release-web1 /srv/other\n")
    done, calls = run(checkout, checkout / "tools/clean")
    assert done.returncode == 0, done.stderr
    assert engine.poll() is None and "engine that was started here goes on" in done.stdout
    # By this folder a later run knows it again.
    assert snapshot(checkout / "build") == ["engine", "engine/dockerd.pid"] and not (checkout / ".venv").exists()
    assert not [call for call in calls if call.startswith(("image rm", "volume rm"))]
    assert done.stdout.count("ntier-release-web1") == 1 and "Left alone: the images" in done.stdout


def test_clean_removes_what_this_checkout_has_made(checkout):
    (checkout / "build/images").write_text("sha256:older\nsha256:younger\n")
    add(checkout, images="ntier-testhost:debian-13\n")
    done, calls = run(checkout, checkout / "tools/clean")
    assert done.returncode == 0, done.stderr
    assert [call for call in calls if call.startswith("image rm")] == [
        "image rm --force sha256:younger",
        "image rm --force sha256:older",
    ]
    assert f"volume ls --quiet --filter label=ntier.checkout={checkout}" in calls and "volume rm ours-volume" in calls
    assert "docker image rm ntier-testhost:debian-13" in done.stdout
    assert not [name for name in ("build", ".venv", ".ansible") if (checkout / name).exists()]


# --- what molecule/shared creates ---------------------------------------------------------------------------------


def test_hosts_networks_and_volumes_bear_the_label_that_the_tools_look_for():
    (play,) = yaml.safe_load((ROOT / "molecule/shared/create.yml").read_text())
    tasks = {task["name"]: task for task in play["tasks"]}
    network = tasks["Create the network"]["block"][1]["community.docker.docker_network"]
    hosts = tasks["Create the new hosts"]["community.docker.docker_container"]
    assert network["labels"]["ntier.checkout"] == hosts["labels"]["ntier.checkout"] == "{{ test_checkout }}"
    assert "ntier.checkout={{ test_checkout | quote }}" in tasks["Ensure the volume of downloaded packages"]["ansible.builtin.command"]  # fmt: skip
    order = list(tasks)
    assert order.index("Refuse the hosts and the network of another checkout") < order.index("Create the network")
