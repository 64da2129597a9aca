"""Which files of a folder on the controller make up a project, and how they travel."""

import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile

import pytest
from clusters import ROOT

from ansible_collections.ntier.django.plugins.filter.wiring import with_revisions
from ansible_collections.ntier.django.plugins.plugin_utils import private
from ansible_collections.ntier.django.plugins.plugin_utils.sources import (
    INVENTORY,
    SourceError,
    digest,
    files_of,
    look,
    pack,
)

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
    fill(project, *JUNK[1:], "media/photo.jpg", ".env.example")
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


@pytest.mark.parametrize("folder", ["blog", "blog/static"])
def test_a_folder_that_git_ignores_as_a_whole_is_refused(repository, folder):
    (repository / ".gitignore").write_text("blog/\n")
    with pytest.raises(SourceError, match=rf"git ignores .*/{folder} as a whole \(\.gitignore:1:blog/\)"):
        files_of(str(repository / folder))


def test_a_folder_that_git_ignores_as_a_whole_may_be_a_repository_itself(repository):
    (repository / ".gitignore").write_text("blog/\n")
    make_repository(repository / "blog")
    assert files_of(str(repository / "blog")) == ["__init__.py", "settings.py", "static/style.css"]


@pytest.mark.parametrize(("pattern", "folder"), [("*", "."), ("blog/*", "blog")])
def test_where_git_ignores_every_file_none_is_sent(repository, pattern, folder):
    (repository / ".gitignore").write_text(pattern)
    assert files_of(str(repository / folder)) == []


def test_an_empty_repository_has_the_files_that_nobody_has_added_yet(project):
    (project / ".gitignore").write_text("secret.env\n")
    fill(make_repository(project), "secret.env")
    assert files_of(str(project)) == sorted([*PROJECT, ".gitignore"])


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


@pytest.mark.parametrize("with_git", [False, True])
@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("target", ["shared.css", "shared"])
def test_a_link_that_leads_out_of_the_project_is_refused(project, with_git, absolute, target):
    if with_git:
        make_repository(project)
    (project.parent / "shared").mkdir()
    (project.parent / "shared.css").touch()
    (project / "blog/theme").symlink_to(project.parent / target if absolute else f"../../{target}")
    with pytest.raises(
        SourceError,
        match=r"/blog/theme is a link to .*shared.*, which leads out of the project's folder.* Put the files",
    ):
        files_of(str(project))


@pytest.mark.parametrize("target", ["{project}/manage.py", "../{name}/manage.py", "blog/../../{name}/manage.py"])
def test_a_link_that_leads_out_and_back_is_refused(project, target):
    (project / "link.py").symlink_to(target.format(project=project, name=project.name))
    with pytest.raises(SourceError, match=r"Make it a relative link that stays in the folder"):
        files_of(str(project))


def test_a_link_that_leads_nowhere_stays_one(project):
    (project / "lost.py").symlink_to("/nowhere/at/all.py")
    (project / "blog/up.py").symlink_to("../manage.py")
    assert {"lost.py", "blog/up.py"} <= set(files_of(str(project)))


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 120345\n"


def test_a_pointer_of_git_lfs_is_refused(project):
    (project / "logo.png").write_text(POINTER)
    with pytest.raises(SourceError, match=r"/logo\.png is a pointer of Git LFS.* Run 'git lfs pull' in "):
        files_of(str(project))
    (project / "logo.png").write_text(f"{POINTER}is how a pointer begins" + " and so on" * 100)
    assert "logo.png" in files_of(str(project))


@pytest.mark.parametrize("with_git", [False, True])
def test_a_virtual_environment_of_any_name_is_no_part_of_the_project(project, with_git):
    if with_git:
        make_repository(project)
    (project / "env/bin").mkdir(parents=True)
    (project / "env/pyvenv.cfg").touch()
    (project / "env/bin/python").symlink_to(sys.executable)
    (project / "environment.py").touch()
    names = files_of(str(project))
    assert "environment.py" in names
    assert not any(name.startswith("env/") for name in names)


def test_names_in_any_language(repository):
    fill(repository, "blog/static/Fotos von früher.css", 'a"b.txt')
    assert {"blog/static/Fotos von früher.css", 'a"b.txt'} <= set(files_of(str(repository)))


# --- git does not answer ------------------------------------------------------------------------------------------


@pytest.fixture
def ignoring(repository):
    """Return a work tree with a file that git ignores."""
    (repository / ".gitignore").write_text("secret.env\n")
    return fill(repository, "secret.env", "blog/secret.env")


def lose_head(repository):
    (repository / ".git/HEAD").unlink()


def garble_index(repository):
    (repository / ".git/index").write_text("no index")


def garble_config(repository):
    (repository / ".git/config").write_text("[core")


def lead_astray(repository):
    shutil.rmtree(repository / ".git")
    (repository / ".git").write_text("gitdir: /nowhere/.git/worktrees/x\n")


def empty_it(repository):
    shutil.rmtree(repository / ".git")
    (repository / ".git").mkdir()


def link_it_to_nothing(repository):
    shutil.rmtree(repository / ".git")
    (repository / ".git").symlink_to("/nowhere")


def make_it_bare(repository):
    git(repository, "config", "core.bare", "true")


def move_its_work_tree(repository):
    git(repository, "config", "core.worktree", "/nowhere")


BREAKS = [lose_head, garble_index, garble_config, lead_astray, empty_it, link_it_to_nothing, make_it_bare]


@pytest.mark.parametrize("folder", [".", "blog"])
@pytest.mark.parametrize("damage", [*BREAKS, move_its_work_tree])
@pytest.mark.parametrize("function", [files_of, lambda path: pack(path, io.BytesIO())])
def test_a_repository_that_git_can_not_read_is_refused_and_not_read_without_git(ignoring, damage, folder, function):
    damage(ignoring)
    with pytest.raises(SourceError, match=r"lies in a git repository \(.*\.git\), but git does not list its files: "):
        function(str(ignoring / folder))


@pytest.mark.parametrize("folder", [".", "blog"])
def test_a_repository_of_somebody_else_is_refused_with_the_command_that_trusts_it(ignoring, monkeypatch, folder):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(ignoring.parent / "gitconfig"))
    with pytest.raises(SourceError, match="dubious ownership") as error:
        files_of(str(ignoring / folder))
    command = f"git config --global --add safe.directory {ignoring}"
    assert error.value.fix.endswith(command)
    subprocess.run(command.split(), check=True)
    assert "secret.env" not in files_of(str(ignoring))


@pytest.mark.parametrize("folder", [".", "blog"])
def test_without_git_on_the_controller_a_repository_is_refused(ignoring, monkeypatch, folder):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SourceError, match=r"git can't be run on this controller.* Install git"):
        files_of(str(ignoring / folder))


def test_without_git_on_the_controller_a_plain_folder_is_read_all_the_same(project, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert files_of(str(project)) == sorted(PROJECT)


@pytest.mark.parametrize("outer", ["repository", "project"])
def test_a_repository_inside_the_project_that_git_can_not_read_is_refused(request, outer):
    folder = request.getfixturevalue(outer)
    inner = make_repository(fill(folder / "libs/theme", "theme.py", "secret.env"))
    (inner / ".gitignore").write_text("secret.env\n")
    assert {name for name in files_of(str(folder)) if "theme" in name} == {
        "libs/theme/theme.py",
        "libs/theme/.gitignore",
    }
    garble_index(inner)
    with pytest.raises(SourceError, match=r"libs/theme/\.git\), but git does not list"):
        files_of(str(folder))


def test_a_file_with_rules_that_git_can_not_read_is_no_file_without_rules(ignoring):
    (ignoring / ".gitignore").unlink()
    (ignoring / ".gitignore").symlink_to(".gitignore")  # a loop, which not even root can read
    with pytest.raises(SourceError, match=r"unable to access|Too many levels"):
        files_of(str(ignoring))


@pytest.mark.parametrize(
    "name", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_CEILING_DIRECTORIES", "GIT_OBJECT_DIRECTORY"]
)
def test_the_environment_leads_git_nowhere_else(ignoring, tmp_path, monkeypatch, name):
    other = make_repository(fill(tmp_path / "other", "x"))
    place = {"GIT_DIR": other / ".git", "GIT_INDEX_FILE": other / ".git/index", "GIT_CEILING_DIRECTORIES": ignoring}
    monkeypatch.setenv(name, str(place.get(name, other)))
    assert files_of(str(ignoring)) == sorted([*PROJECT, ".gitignore"])
    assert files_of(str(ignoring / "blog")) == ["__init__.py", "settings.py", "static/style.css"]


def test_a_work_tree_beside_the_repository_is_one_too(ignoring, tmp_path):
    git(ignoring, "add", ".")
    git(ignoring, "commit", "-qm", "x")
    git(ignoring, "worktree", "add", "-q", tmp_path / "second")
    fill(tmp_path / "second", "secret.env")
    assert files_of(str(tmp_path / "second")) == sorted([*PROJECT, ".gitignore"])


def test_a_bare_repository_is_no_project(tmp_path):
    git(tmp_path, "init", "-q", "--bare", "blog.git")
    for folder in ("blog.git", "blog.git/refs"):
        with pytest.raises(SourceError, match=r"lies in the bare git repository .*/blog\.git"):
            files_of(str(tmp_path / folder))


def test_a_folder_that_can_not_be_read_is_an_error(project, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        files_of(str(project))


# --- what is no folder --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [files_of, digest, lambda path: pack(path, io.BytesIO())])
def test_what_is_no_folder_is_refused(project, function):
    for name in ("manage.py", "nowhere"):
        with pytest.raises(OSError, match=f"{name} is no folder"):
            function(str(project / name))


# --- what must not leave the controller ---------------------------------------------------------------------------

#: Relative path → content, of an inventory that somebody keeps in the project's folder.
VAULTED = "$ANSIBLE_VAULT;1.1;AES256\n6162\n"
PLAIN_SECRETS = (
    "---\nntier_secrets:\n  blog: {database_password: x, secret_key: y}\nntier_cluster:\n  authority_key: z\n"
)
SSH_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n"
TLS_KEY = "-----BEGIN PRIVATE KEY-----\nx\n"


def write_all(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize("with_git", [False, True])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("group_vars/ntier_secrets.yml", PLAIN_SECRETS),
        ("group_vars/all/sites.yml", "x: 1\n"),
        ("deploy/live/host_vars/box1.yml", "x: 1\n"),
        ("ansible.cfg", "[defaults]\n"),
        (".vault_pass", "hunter2\n"),
        ("deploy/vault-password.txt", "hunter2\n"),
        (".ansible/galaxy_token", "x\n"),
        ("collections/ansible_collections/ntier/django/galaxy.yml", "x\n"),
        ("deploy/secret.yml", VAULTED),
        ("blog/data.bin", VAULTED),
        ("deploy/vars.yml", "password: !vault |\n  $ANSIBLE_VAULT;1.2;AES256;live\n  6162\n"),
        ("old-secrets.txt", PLAIN_SECRETS),
        ("deploy/secrets.yml.bak", PLAIN_SECRETS),
        ("deploy/secrets.json", '{\n "ntier_secrets": {"blog": {"secret_key": "x"}}}'),
        ("deploy/sites.yml", "ntier_sites:\n  - name: blog\n"),
        ("deploy/live/hosts", "[web]\nbox1 ansible_host=192.0.2.1\n"),
        ("deploy/live/hosts.yml", "all:\n  hosts:\n    box1:\n      ansible_password: hunter2\n"),
    ],
)
def test_what_is_ansibles_is_left_out_of_a_release_and_named(project, with_git, name, text):
    before = digest(str(project))
    write_all(project, {name: text})
    if with_git:
        make_repository(project)
        git(project, "add", ".")
    content = look(str(project))
    assert content.names == sorted(PROJECT)
    assert list(content.guessed) == [name]
    assert digest(str(project)) == before
    archive = io.BytesIO()
    assert pack(str(project), archive) == len(PROJECT)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("docs/deploy.md", "ntier_sites:\n  - name: blog\nansible_host: box1\n"),
        ("blog/secrets.py", "secret_key = 'x'\nntier = 1\n"),
        ("blog/keys/jwt.pem", TLS_KEY),
        ("tests/localhost.key", TLS_KEY),
        (".env", "SECRET_KEY=x\n"),
        ("blog/vault.py", "# $ANSIBLE_VAULT;1.1;AES256\n"),
        ("compose.yml", "services: {web: {}}\n"),
    ],
)
def test_what_is_the_projects_stays_in_it(project, name, text):
    write_all(project, {name: text})
    assert look(str(project)).guessed == {}
    assert name in files_of(str(project))


def test_a_private_key_of_ssh_is_refused_unless_git_tracks_it(project):
    write_all(project, {"keys/deploy": SSH_KEY})
    with pytest.raises(SourceError, match=r"keys/deploy is a private key of SSH.* Move it out of the folder"):
        files_of(str(project))
    make_repository(project)
    with pytest.raises(SourceError, match="private key of SSH"):
        files_of(str(project))
    git(project, "add", ".")
    assert "keys/deploy" in files_of(str(project))
    git(project, "rm", "-q", "--cached", "keys/deploy")
    (project / ".gitignore").write_text("keys/\n")
    assert "keys/deploy" not in files_of(str(project))


@pytest.mark.parametrize("way", ["path", "link to it", "link above it", "hard link", "dots"])
@pytest.mark.parametrize("what", ["deploy/live.txt", "deploy"])
def test_what_the_run_uses_is_left_out_however_it_is_named(project, tmp_path, way, what):
    fill(project, "deploy/live.txt")
    path = project / what
    if way == "link to it":
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"
    elif way == "link above it":
        (tmp_path / "link").symlink_to(project)
        path = tmp_path / "link" / what
    elif way == "hard link":
        (tmp_path / "same").hardlink_to(project / "deploy/live.txt")
        path = tmp_path / "same"
    elif way == "dots":
        path = f"{project}/blog/../{what}"
    content = look(f"{project}/blog/..", {str(path): "the secrets"})
    assert (content.names, content.guessed) == (sorted(PROJECT), {})


def test_the_folder_itself_may_be_a_link(project, tmp_path):
    fill(project, "hosts.yml")
    (tmp_path / "link").symlink_to(project)
    assert files_of(str(tmp_path / "link"), {str(project / "hosts.yml"): INVENTORY}) == sorted(PROJECT)


def test_a_key_that_the_run_uses_is_left_out_without_a_word(project):
    write_all(project, {"keys/deploy": SSH_KEY})
    assert look(str(project), {str(project / "keys/deploy"): "a private key"}).names == sorted(PROJECT)


def test_a_folder_that_is_the_inventory_too_is_refused(project, tmp_path):
    (tmp_path / "link").symlink_to(project)
    for path in (project, tmp_path / "link", f"{project}/blog/.."):
        with pytest.raises(SourceError, match=r"is the inventory, too.* Name the inventory's file with -i"):
            files_of(str(project), {str(path): INVENTORY})


def test_a_project_below_an_inventory_is_refused_where_ansible_reads_it_as_a_part(project, tmp_path):
    fill(project, "hosts.yml")
    around = {str(tmp_path): INVENTORY}
    assert "hosts.yml" in files_of(str(project), around)
    with pytest.raises(SourceError, match=r"lies in the inventory .*, and Ansible reads .*hosts\.yml as a part"):
        files_of(str(project), {**around, str(project / "hosts.yml"): INVENTORY})


@pytest.mark.parametrize("folder", ["/", "/etc", "/home", "/tmp/../usr"])
def test_a_folder_of_the_system_is_no_project(folder):
    with pytest.raises(SourceError, match="is a folder of the system"):
        files_of(folder)


def test_a_home_directory_is_no_project(project, monkeypatch):
    monkeypatch.setenv("HOME", str(project))
    with pytest.raises(SourceError, match="is the home directory"):
        files_of(str(project))
    with pytest.raises(SourceError, match="holds the home directory"):
        files_of(str(project.parent))
    assert files_of(str(project / "blog"))
    monkeypatch.setenv("HOME", "/nowhere")
    (project / ".ssh").mkdir()
    with pytest.raises(SourceError, match=r"has a folder \.ssh"):
        files_of(str(project))


# --- which paths those are ----------------------------------------------------------------------------------------


@pytest.fixture
def known(monkeypatch, tmp_path):
    """Return a function that collects the paths for a command line and variables."""

    def collect(variables=None, options=None):
        monkeypatch.setattr(private.context, "CLIARGS", {"inventory": (), **(options or {})})
        monkeypatch.chdir(tmp_path)
        given = {"ntier_inventory_directory": str(tmp_path), **(variables or {})}
        return {os.path.relpath(path, tmp_path): what for path, what in private.paths(given, given.get).items()}

    return collect


def test_an_inventory_file_comes_with_the_variables_beside_it(known, tmp_path):
    fill(tmp_path, "live/hosts.yml", "live/group_vars/all.yml", "live/host_vars/box1.yml", "live/other.yml")
    for given in (
        {"options": {"inventory": ("live/hosts.yml", "box9,")}},
        {"variables": {"ansible_inventory_sources": ["live/hosts.yml"]}},
    ):
        found = known(**given)
        for name in ("live/hosts.yml", "live/group_vars", "live/host_vars"):
            assert found[name] == INVENTORY
        assert "live" not in found
        assert "live/other.yml" not in found


def test_several_inventories_count_each(known, tmp_path):
    fill(tmp_path, "a/hosts.yml", "b/hosts.yml", "b.svg")
    found = known(options={"inventory": (str(tmp_path / "a/hosts.yml"), str(tmp_path / "b"))})
    assert found.keys() >= {"a/hosts.yml", "b", "b.svg"}


def test_what_an_inventorys_links_lead_to_is_a_part_of_it(known, project, tmp_path):
    fill(tmp_path, "live/hosts.yml", "live/group_vars/x.yml")
    fill(project, "vars/all.yml", "hosts/box.yml", "more/a.yml")
    (tmp_path / "live/group_vars/all.yml").symlink_to(project / "vars/all.yml")
    (tmp_path / "live/host_vars").symlink_to(project / "more")
    (tmp_path / "live/zone").symlink_to(project / "hosts")
    found = known(options={"inventory": (str(tmp_path / "live"),)})
    absolute = {str(tmp_path / path): what for path, what in found.items()}
    assert files_of(str(project), absolute) == sorted(PROJECT)


def test_files_that_the_command_line_names_are_known(known, tmp_path):
    names = ("vp", "vp2", "vp3", "become", "login", "id", "id2", "more.yml", "play.yml", "group_vars/x.yml")
    fill(tmp_path, *names, "media")
    found = known(
        options={
            "vault_password_files": ["vp"],
            "vault_ids": ["live@vp2", "vp3", "asked@prompt"],
            "become_password_file": "become",
            "connection_password_file": "login",
            "private_key_file": str(tmp_path / "id"),
            "ssh_extra_args": "-i id2 -o User=media.x",
            "extra_vars": ("@more.yml", "x=1"),
            "args": ["play.yml", "ntier.django.site"],
        }
    )
    assert set(found) - {os.path.relpath(str(ROOT / "ansible.cfg"), tmp_path)} >= {*names[:-1], "group_vars"}
    assert "media" not in found


def test_files_that_the_configuration_names_are_known(known, tmp_path, monkeypatch):
    fill(tmp_path, "vp", "vp2", "key", "log")
    for name, value in {
        "DEFAULT_VAULT_PASSWORD_FILE": str(tmp_path / "vp"),
        "DEFAULT_VAULT_IDENTITY_LIST": [f"live@{tmp_path}/vp2"],
        "DEFAULT_PRIVATE_KEY_FILE": str(tmp_path / "key"),
        "DEFAULT_LOG_PATH": str(tmp_path / "log"),
    }.items():
        monkeypatch.setattr(private.constants, name, value)
    assert known().keys() >= {"vp", "vp2", "key", "log"}


def test_files_that_variables_name_are_known(known, tmp_path):
    fill(tmp_path, "s.yml", "keys/blog", "tls/a.pem", "tls/a.key", "id", "id2", "live/hosts.yml", "blog/x")
    hosts = {
        "box1": {
            "ansible_ssh_private_key_file": "id",
            "inventory_file": str(tmp_path / "live/hosts.yml"),
            "other": "blog/x",
        },
        "box2": {"ansible_ssh_common_args": "-o IdentityFile='id2' -o ProxyJump=blog"},
    }
    site = {
        "source": {"git": "x", "key_file": "keys/blog"},
        "certificate": {"file": "tls/a.pem", "key_file": "tls/a.key"},
    }
    found = known({"hostvars": hosts, "ntier_sites": [site], "ntier_secrets_path": "s.yml"})
    assert found.keys() >= {"s.yml", "keys/blog", "tls/a.pem", "tls/a.key", "id", "id2", "live/hosts.yml"}
    assert "blog/x" not in found
    assert "blog" not in found


BEGINNER = {
    "hosts.yml": "all: {hosts: {box1: {ansible_connection: local, ansible_ssh_private_key_file: deploy_key}}}\n",
    "deploy_key": SSH_KEY,
    "secrets/blog.yml": "x: 1\n",
    "more.yml": "own: 1\n",
    "vp": "hunter2\n",
    "group_vars/all.yml": "ntier_sites: [{name: blog, source: {path: .}}]\nntier_secrets_file: secrets/blog.yml\n",
    "group_vars/ntier_secrets.yml": PLAIN_SECRETS,
    "play.yml": """\
- hosts: box1
  gather_facts: false
  vars:
    kept: "{{ lookup('ntier.django.private_paths') }}"
    site: {name: blog, source: {kind: path, location: "{{ inventory_dir }}"}}
    ntier_secrets_path: "{{ inventory_dir }}/{{ ntier_secrets_file }}"
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - ntier.django.source_folder: {src: "{{ inventory_dir }}/.", dest: "{{ inventory_dir }}/../host", private: "{{ kept }}"}
    - debug: {msg: "revision={{ ([site] | ntier.django.with_revisions(kept))[0].source.revision }}="}
""",
}


def test_a_project_and_its_inventory_may_share_a_folder(project, tmp_path):
    before = digest(str(project))
    write_all(project, BEGINNER)
    (tmp_path / "host").mkdir()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ansible",
            "playbook",
            "-i",
            "hosts.yml",
            "play.yml",
            "-e",
            "@more.yml",
            "--vault-id",
            "a@vp",
        ],
        cwd=project,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "COLUMNS": "400", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(
        str(p.relative_to(tmp_path / "host")) for p in (tmp_path / "host").rglob("*") if p.is_file()
    ) == sorted(PROJECT)
    assert f"revision={before}=" in done.stdout


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
    fill(project, *JUNK[1:])
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
