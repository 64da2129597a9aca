"""Which files of a folder on the controller make up a project, and how they travel."""

import io
import os
import shutil
import stat
import subprocess
import tarfile

import pytest

from ansible_collections.ntier.django.plugins.filter.wiring import with_revisions
from ansible_collections.ntier.django.plugins.plugin_utils.sources import digest, files_of, pack

PROJECT = ("manage.py", "blog/__init__.py", "blog/settings.py", "blog/static/style.css")


@pytest.fixture
def project(tmp_path):
    """Return the folder of a small project."""
    return fill(tmp_path / "project", *PROJECT)


@pytest.fixture
def repository(project):
    """Return the same folder as a git work tree with nothing committed yet."""
    return make_repository(project)


def fill(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    return folder


def make_repository(folder):
    git(folder, "init", "-q")
    return folder


def git(folder, *arguments):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True)


# --- which files --------------------------------------------------------------------------------------------------

JUNK = (
    ".git/config",
    ".venv/lib/x.py",
    "blog/__pycache__/x.cpython-313.pyc",
    "node_modules/a/b.js",
    "blog/x.pyc",
    "a.py~",
    ".b.swp",
)


def test_outside_of_git_all_but_junk_belongs_to_the_project(project):
    fill(project, *JUNK, "media/photo.jpg", ".env.example")
    assert files_of(str(project)) == sorted([*PROJECT, "media/photo.jpg", ".env.example"])


def test_in_a_work_tree_gitignore_is_respected(repository):
    (repository / ".gitignore").write_text("media/\n*.log\n")
    fill(repository, "media/photo.jpg", "debug.log", "new.py")
    assert files_of(str(repository)) == sorted([*PROJECT, ".gitignore", "new.py"])


def test_in_a_work_tree_what_is_tracked_belongs_to_the_project_even_if_it_is_ignored(repository):
    (repository / ".gitignore").write_text("dist/\n")
    fill(repository, "dist/app.js")
    git(repository, "add", "--force", "dist/app.js")
    assert "dist/app.js" in files_of(str(repository))


def test_what_git_tracks_and_somebody_deleted_is_left_out(repository):
    git(repository, "add", ".")
    (repository / "manage.py").unlink()
    assert "manage.py" not in files_of(str(repository))


def test_a_folder_inside_a_work_tree_has_its_own_files_only(repository):
    assert files_of(str(repository / "blog")) == ["__init__.py", "settings.py", "static/style.css"]


def test_a_folder_that_git_ignores_as_a_whole_is_read_without_git(repository):
    (repository / ".gitignore").write_text("blog/\n")
    assert files_of(str(repository / "blog")) == ["__init__.py", "settings.py", "static/style.css"]


def test_a_repository_inside_a_repository_is_part_of_the_project(repository):
    inner = make_repository(fill(repository / "libs/theme", "theme.py", "x.log"))
    (inner / ".gitignore").write_text("*.log\n")
    expected = {"libs/theme/theme.py", "libs/theme/.gitignore"}
    assert {name for name in files_of(str(repository)) if name.startswith("libs")} == expected
    git(inner, "add", ".")
    git(inner, "commit", "-qm", "theme")
    git(repository, "add", "libs/theme")  # tracked as a submodule is
    assert {name for name in files_of(str(repository)) if name.startswith("libs")} == expected
    shutil.rmtree(inner)
    inner.mkdir()  # as a clone without its submodules has it
    assert {name for name in files_of(str(repository)) if name.startswith("libs")} == set()


@pytest.mark.parametrize("with_git", [False, True])
def test_links_travel_as_links_and_are_not_followed(project, with_git):
    if with_git:
        make_repository(project)
    (project / "current.py").symlink_to("manage.py")
    (project / "theme").symlink_to("blog/static")
    (project / "gone").symlink_to("nowhere")
    names = files_of(str(project))
    assert {"current.py", "theme", "gone"} <= set(names)
    assert not any(name.startswith("theme/") for name in names)


def test_names_in_any_language(repository):
    fill(repository, "blog/static/Fotos von früher.css", 'a"b.txt')
    assert {"blog/static/Fotos von früher.css", 'a"b.txt'} <= set(files_of(str(repository)))


def test_without_git_on_the_controller_the_folder_is_read_all_the_same(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert files_of(str(repository)) == sorted(PROJECT)


@pytest.mark.parametrize("function", [files_of, digest, lambda path: pack(path, io.BytesIO())])
def test_what_is_no_folder_is_refused(project, function):
    for name in ("manage.py", "nowhere"):
        with pytest.raises(OSError, match=f"{name} is no folder"):
            function(str(project / name))


# --- digest -------------------------------------------------------------------------------------------------------


def change_content(project):
    (project / "manage.py").write_text("# other\n")


def change_name(project):
    (project / "manage.py").rename(project / "manage2.py")


def change_mode(project):
    (project / "manage.py").chmod(0o755)


def add_empty_file(project):
    (project / "blog/empty.py").touch()


def remove_file(project):
    (project / "blog/static/style.css").unlink()


def swap_content(project):
    one, two = project / "manage.py", project / "blog/settings.py"
    text = one.read_text()
    one.write_text(two.read_text())
    two.write_text(text)


def make_link(project):
    (project / "blog/static/style.css").unlink()
    (project / "blog/static/style.css").symlink_to("../settings.py")


CHANGES = [change_content, change_name, change_mode, add_empty_file, remove_file, swap_content, make_link]


@pytest.mark.parametrize("change", CHANGES)
def test_the_digest_changes_with_every_change_of_the_project(project, change):
    before = digest(str(project))
    change(project)
    assert digest(str(project)) != before


def test_the_digest_changes_with_the_target_of_a_link(project):
    link = project / "link"
    link.symlink_to("manage.py")
    before = digest(str(project))
    link.unlink()
    link.symlink_to("nowhere")
    assert digest(str(project)) != before


def touch(project):
    os.utime(project / "manage.py", (1, 1))


def leave_junk(project):
    fill(project, *JUNK[1:])


def add_empty_folder(project):
    (project / "blog/empty").mkdir()


def forbid_others(project):
    (project / "manage.py").chmod(0o600)


@pytest.mark.parametrize("change", [touch, leave_junk, add_empty_folder, forbid_others, make_repository])
def test_the_digest_stays_when_nothing_of_the_project_changes(project, change):
    before = digest(str(project))
    change(project)
    assert digest(str(project)) == before


def test_the_digest_does_not_depend_on_where_the_project_lies(project, tmp_path):
    copy = shutil.copytree(project, tmp_path / "elsewhere" / "copy")
    assert digest(str(copy)) == digest(str(project))


def test_the_digest_is_a_name_for_a_folder(project):
    assert len(digest(str(project))) == 12
    assert int(digest(str(project)), 16)


# --- pack ---------------------------------------------------------------------------------------------------------


def test_a_packed_project_is_the_same_project_again(project, tmp_path):
    (project / "manage.py").chmod(0o755)
    (project / "link").symlink_to("manage.py")
    fill(project, *JUNK)
    archive = io.BytesIO()
    count = pack(str(project), archive)
    archive.seek(0)
    with tarfile.open(fileobj=archive) as tar:
        entries = tar.getmembers()
        tar.extractall(tmp_path / "host", filter="data")
    assert count == len(PROJECT) + 1
    assert files_of(str(tmp_path / "host")) == files_of(str(project))
    assert digest(str(tmp_path / "host")) == digest(str(project))
    assert {(entry.uid, entry.gid, entry.uname, entry.gname) for entry in entries} == {(0, 0, "root", "root")}


def test_in_the_archive_everybody_may_read_and_nobody_but_the_owner_write(project):
    (project / "manage.py").chmod(0o777)
    (project / "blog/settings.py").chmod(0o600)
    archive = io.BytesIO()
    pack(str(project), archive)
    archive.seek(0)
    with tarfile.open(fileobj=archive) as tar:
        modes = {entry.name: stat.S_IMODE(entry.mode) for entry in tar}
    assert modes == {**dict.fromkeys(PROJECT, 0o644), "manage.py": 0o755}


# --- revisions ----------------------------------------------------------------------------------------------------


def test_the_controller_knows_the_revision_of_a_folder_and_of_a_package(project):
    sites = [
        {"name": "a", "source": {"kind": "path", "location": str(project)}},
        {"name": "b", "source": {"kind": "package", "location": "shop[redis]==1.2"}},
        {"name": "c", "source": {"kind": "git", "location": "https://git.example.com/c.git"}},
    ]
    revisions = [site["source"].get("revision") for site in with_revisions(sites)]
    assert revisions == [digest(str(project)), "1.2", None]
    assert "revision" not in sites[0]["source"]
