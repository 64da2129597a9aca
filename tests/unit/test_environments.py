"""Packages that releases of a site share: with a real uv and real virtual environments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.ntier.django.plugins.module_utils import environments, requirements
from ansible_collections.ntier.django.plugins.modules import release_remove

UV = str(Path(sys.executable).with_name("uv"))
LOCK = "django==5.2 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # from https://pypi.org/simple\ngunicorn==23 \\\n    --hash=sha256:cc\n"
PYTHON = "3.11.2 linux-x86_64 ('glibc', '2.36') /usr\n"


def key(lock=LOCK, options=(), python=PYTHON):
    """Return the key of a lock file's text."""
    return environments.key_of(requirements.read_lock(lock), list(options), python)


@pytest.mark.parametrize(
    "same",
    [
        {
            "lock": LOCK.replace(
                "    # from https://pypi.org/simple\n", "    # from https://mirror.example.com/simple\n"
            )
        },
        {"lock": "\n".join(reversed(LOCK.replace("\\\n    ", "").splitlines()))},
        {"lock": LOCK.replace("sha256:aa \\\n    --hash=sha256:bb", "sha256:bb \\\n    --hash=sha256:aa")},
        {"options": [("--index-url", "https://me:secret@example.com/simple")]},
        {"python": PYTHON.strip()},
    ],
)
def test_what_gives_the_same_packages_has_the_same_key(same):
    assert key(**same) == key()


@pytest.mark.parametrize(
    "other",
    [
        {"lock": LOCK.replace("5.2", "5.3")},
        {"lock": LOCK.replace("sha256:aa", "sha256:dd")},
        {"lock": LOCK + "uwsgi==2 --hash=sha256:ee\n"},
        {"options": [("--no-binary", "django")]},
        {"python": PYTHON.replace("3.11.2", "3.11.9")},
    ],
)
def test_what_may_give_other_packages_has_another_key(other):
    assert key(**other)
    assert key(**other) != key()


@pytest.mark.parametrize(
    "lock",
    [
        "",
        LOCK + "./crooked\n",
        LOCK + "crooked @ file:///srv/polls/releases/1/app/crooked\n",
        LOCK + "tool @ git+https://example.com/tool.git@1a2b3c\n",
        LOCK + "internal==1\n",  # an index that names no hashes
    ],
)
def test_packages_whose_content_is_not_known_are_shared_with_no_other_release(lock):
    assert key(lock) is None


# --- on a disk ----------------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path):
    """Return the folder of a site, and a function that makes the virtual environment of a release, which may have a package with a program."""
    (tmp_path / "polls/environments").mkdir(parents=True)

    def release(name, package=False):
        folder = tmp_path / "polls/releases" / name
        folder.mkdir(parents=True)
        subprocess.run([UV, "venv", "-q", "--python", sys.executable, folder / "venv"], check=True)
        if package:
            source = tmp_path / "source"
            source.mkdir()
            (source / "hello.py").write_text("import sys\ndef main():\n    print('hello', sys.prefix, __file__)\n")
            wheel(source / "hello.py", folder / "wheels")
            install = [
                UV,
                "pip",
                "install",
                "-q",
                "--offline",
                "--no-index",
                "--compile-bytecode",
                "--python",
                folder / "venv/bin/python",
            ]
            subprocess.run(
                [*install, *(folder / "wheels").iterdir()],
                check=True,
                env={**os.environ, "UV_CACHE_DIR": str(tmp_path / "cache")},
            )
        return folder

    return tmp_path / "polls", release


def wheel(module, folder):
    """Write a wheel of one module, with a program."""
    import zipfile

    folder.mkdir()
    with zipfile.ZipFile(folder / "hello-1-py3-none-any.whl", "w") as file:
        file.write(module, "hello.py")
        file.writestr("hello-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: hello\nVersion: 1\n")
        file.writestr("hello-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("hello-1.dist-info/entry_points.txt", "[console_scripts]\nhello = hello:main\n")
        file.writestr("hello-1.dist-info/RECORD", "")


def says(release):
    """Return what the release's program says of itself, and what its interpreter does."""
    program = subprocess.check_output([release / "venv/bin/hello"], text=True).split()
    module = subprocess.check_output(
        [release / "venv/bin/python", "-c", "import hello; hello.main()"], text=True
    ).split()
    return program, module


def test_a_release_uses_the_packages_of_another_and_knows_itself(site):
    """Its programs and its interpreter have the release's own prefix, from which a site's processes know which release they run."""
    folder, release = site
    first = release("20260101T000000-a", package=True)
    environments.write_key(first, "k1")
    assert not environments.is_whole(first, "k1")
    environments.share(first, "k1")
    assert environments.is_whole(first, "k1")
    assert [path.name for path in (first / "wheels").iterdir()] == ["hello-1-py3-none-any.whl"]
    second = release("20260102T000000-b")
    environments.write_key(second, "k1")
    environments.use(second, "k1")
    for made in (first, second):
        for prefix, path in (words[1:] for words in says(made)):
            assert prefix == str(made / "venv")
            assert path.startswith(f"{made}/venv/lib/")
            assert os.path.realpath(path).startswith(str(folder / "environments/k1/lib/"))
    assert not list((second / "venv").rglob("*.whl"))
    # Each goes without the other.
    subprocess.run(["rm", "-r", first], check=True)
    assert says(second)[0][1] == str(second / "venv")
    assert environments.unused(str(folder)) == []


def test_a_run_that_ended_in_the_middle_leaves_no_half_of_the_packages(site):
    folder, release = site
    first = release("20260101T000000-a", package=True)
    for left in (".new/lib", "k1/lib"):
        (folder / "environments" / left).mkdir(parents=True)
    assert not environments.is_whole(first, "k1")
    environments.share(first, "k1")
    assert environments.is_whole(first, "k1")
    assert says(first)[0][0] == "hello"
    assert [path.name for path in (folder / "environments").iterdir()] == ["k1"]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_sites_group_reads_what_releases_share_and_cant_change_it(site, umask):
    folder, release = site
    first = release("20260101T000000-a", package=True)
    subprocess.run(["chmod", "-R", "u=rwX,g=rX,o=", first], check=True)
    before = os.umask(umask)
    try:
        environments.share(first, "k1")
    finally:
        os.umask(before)
    shared = folder / "environments/k1"
    for path in (shared, *shared.rglob("*")):
        if not path.is_symlink():
            wanted = 0o050 if path.is_dir() or path.parent.name == "bin" else 0o040
            assert path.stat().st_mode & 0o077 == wanted, path


class Removal:
    """Stands for AnsibleModule."""

    def __init__(self, folders, check_mode=False):
        self.params, self.check_mode, self.result = {"folders": folders}, check_mode, {}

    def __call__(self, **_arguments):
        return self

    def exit_json(self, **result):
        self.result = result


def test_packages_go_with_the_last_release_that_uses_them(tmp_path, monkeypatch):
    """Of releases that never went live, too; a release of an older version of this collection has its own."""
    site = tmp_path / "polls"
    for name, key in {"1": None, "2": "old", "3": "old", "4": "new"}.items():
        (site / "releases" / name).mkdir(parents=True)
        if key:
            environments.write_key(site / "releases" / name, key)
    for key in ("old", "new", "failed"):
        (site / "environments" / key / "lib").mkdir(parents=True)

    def remove(*names, check_mode=False):
        module = Removal([str(site / "releases" / name) for name in names], check_mode)
        monkeypatch.setattr(release_remove, "AnsibleModule", module)
        release_remove.main()
        return module.result

    kept = sorted(path for path in site.rglob("*"))
    assert remove("1", "2", check_mode=True)["changed"]
    assert sorted(path for path in site.rglob("*")) == kept
    remove("1", "2")
    assert sorted(path.name for path in (site / "environments").iterdir()) == ["new", "old"]
    assert remove("3")["removed"] == [str(site / "releases/3"), str(site / "environments/old")]
    assert [path.name for path in (site / "environments").iterdir()] == ["new"]
    assert not remove("3")["changed"]
