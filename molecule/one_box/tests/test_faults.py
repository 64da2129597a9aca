"""What can only fail while a release is made: the running release stays live, and the message has the program's own words."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])


@pytest.fixture
def broken(tmp_path, web_playbook):
    """Return a copy of the guestbook to break, and a function that has the playbook release it."""
    folder = tmp_path / "guestbook"
    shutil.copytree(PROJECT / "examples/guestbook", folder)

    def release(**site) -> str:
        def change(sites: list[dict]) -> None:
            sites[0].update({"source": {"path": str(folder)}, **site})

        done = web_playbook(change)
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    return folder, release


def source_gone(folder: Path) -> dict:
    """Name a repository that is not there."""
    return {"source": {"git": "file:///srv/git/nowhere.git", "version": "main"}}


def version_gone(folder: Path) -> dict:
    """Name a version that the repository does not have."""
    return {"source": {"git": "file:///srv/git/plain.git", "version": "v9.9"}}


def package_gone(folder: Path) -> dict:
    """Require a package that nobody has published."""
    with (folder / "requirements.txt").open("a") as file:
        file.write("no-such-package-as-this-one==1.0\n")
    return {}


def wheel_broken(folder: Path) -> dict:
    """Require a package whose build fails."""
    (folder / "crooked").mkdir()
    (folder / "crooked/setup.py").write_text("raise SystemExit('the crooked package says no')\n")
    with (folder / "requirements.txt").open("a") as file:
        file.write("./crooked\n")
    return {}


def settings_broken(folder: Path) -> dict:
    """Import what is not there."""
    with (folder / "guestbook/settings.py").open("a") as file:
        file.write("\nimport no_such_module\n")
    return {}


def settings_misspelt(folder: Path) -> dict:
    """Name a settings module that the project does not have; the code is as it was."""
    return {"settings": "guestbook.nowhere"}


def migration_broken(folder: Path) -> dict:
    """Divide by zero in the database."""
    (folder / "entries/migrations/0002_broken.py").write_text(
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
        "    dependencies = [('entries', '0001_initial')]\n"
        "    operations = [migrations.RunSQL('SELECT 1 / 0')]\n"
    )
    return {}


def application_broken(folder: Path) -> dict:
    """Pass every check, and fail when the app server loads the application."""
    with (folder / "guestbook/wsgi.py").open("a") as file:
        file.write("\nraise RuntimeError('the application does not start')\n")
    return {}


#: Those that take long end at the same steps as another, or as one of the scenario release or of the background processes.
FAULTS = [
    pytest.param(source_gone, "can't be fetched", "nowhere.git", marks=pytest.mark.long),
    pytest.param(version_gone, "can't be fetched", "no branch, tag or commit 'v9.9'", marks=pytest.mark.long),
    (package_gone, "failed.", "no-such-package-as-this-one"),
    pytest.param(wheel_broken, "failed.", "the crooked package says no", marks=pytest.mark.long),
    (settings_broken, "check the settings failed.", "No module named 'no_such_module'"),
    pytest.param(
        settings_misspelt, "check the settings failed.", "No module named 'guestbook.nowhere'", marks=pytest.mark.long
    ),
    (migration_broken, "migrate failed.", "division by zero"),
    pytest.param(application_broken, "activate", "the application does not start", marks=pytest.mark.long),
]


@pytest.mark.parametrize(("breakage", "step", "reason"), FAULTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_release_that_fails_leaves_the_running_one_live(box, visit, broken, breakage, step, reason):
    """Whatever breaks: the old release answers, untouched, nothing of the new one is left, and the message says why."""
    folder, release = broken
    process = box.check_output("systemctl show --property=MainPID --value django@guestbook.service")
    live = box.file("/srv/guestbook/current").linked_to
    releases = box.check_output("ls /srv/guestbook/releases")
    output = release(**breakage(folder))
    words = " ".join(output.split())
    assert reason in words, output
    assert step in words, output
    assert "live" in words
    assert "The other sites are not affected: plain and shop." in words, output
    assert box.file("/srv/guestbook/current").linked_to == live
    assert box.check_output("ls /srv/guestbook/releases") == releases
    assert box.check_output("systemctl show --property=MainPID --value django@guestbook.service") == process
    assert not box.check_output("systemctl list-units --plain --no-legend 'django-next@*'")
    answer = visit().get("/server/?format=json")
    assert answer.status_code == 200
    assert answer.json()["release"].startswith(live)
