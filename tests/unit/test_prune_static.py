"""Static files go with the last release that refers to them, and no sooner."""

import importlib.util
import json
import subprocess
import sys

import pytest
from clusters import ROOT

PROGRAM = ROOT / "roles/release/files/prune_static.py"
SPEC = importlib.util.spec_from_file_location("prune_static", PROGRAM)
prune_static = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(prune_static)


@pytest.fixture
def site(tmp_path):
    """Return a function that makes a release with a list of static files, and the folders of both."""
    root, releases = tmp_path / "static", tmp_path / "releases"
    root.mkdir()

    def release(name, **paths):
        folder = releases / name
        folder.mkdir(parents=True)
        for plain, hashed in paths.items():
            for file in (plain, hashed, f"{hashed}.gz"):
                (root / file).parent.mkdir(exist_ok=True)
                (root / file).write_text(file)
        (folder / "staticfiles.json").write_text(json.dumps({"paths": paths, "version": "1.1"}))
        return str(folder)

    return release, root, releases


def names(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_what_only_a_release_that_goes_refers_to_is_removed(site):
    release, root, _releases = site
    old = release("1", **{"a.css": "a.111.css", "b.css": "b.111.css", "c.txt": "c.txt"})
    release("2", **{"a.css": "a.222.css", "b.css": "b.111.css"})
    assert prune_static.prune(str(root), [old]) == 1
    assert names(root) == [
        "a.222.css",
        "a.222.css.gz",
        "a.css",
        "b.111.css",
        "b.111.css.gz",
        "b.css",
        "c.txt",
        "c.txt.gz",
    ]
    # A run that was cut off here does it again.
    assert prune_static.prune(str(root), [old]) == 0


def test_the_archives_of_releases_go_without_a_word(site):
    release, root, releases = site
    old = release("1", **{"a.css": "a.111.css"})
    for name in ("1.tar.gz", "2.tar.gz"):
        (releases / name).write_text("")
    assert prune_static.prune(str(root), [old, f"{old}.tar.gz"]) == 1
    assert names(root) == ["a.css"]


def test_what_goes_with_several_releases_is_removed_once(site):
    release, root, _releases = site
    going = [release("1", **{"a.css": "a.111.css"}), release("2", **{"a.css": "a.111.css"})]
    release("3", **{"a.css": "a.333.css"})
    assert prune_static.prune(str(root), going) == 1
    assert names(root) == ["a.333.css", "a.333.css.gz", "a.css"]


def test_a_list_beside_the_files_counts_as_a_release_that_stays(site):
    release, root, _releases = site
    old = release("1", **{"a.css": "a.111.css"})
    (root / "staticfiles.json").write_text(json.dumps({"paths": {"a.css": "a.111.css"}}))
    assert prune_static.prune(str(root), [old]) == 0


@pytest.fixture
def storage(site):
    """Return a function that gives a release the list of a storage: where its files lie, and name → name with the hash."""
    _release, root, releases = site

    def keep(release, key, location, text=None, name="staticfiles.json", **paths):
        path = releases / release / "manifests" / key / "lists" / name
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"paths": paths, "version": "1.1"}) if text is None else text)
        (releases / release / "manifests" / key / "location").write_text(location)
        for file in [file for file in paths.values() if location] if text is None else []:
            (root / location / file).parent.mkdir(exist_ok=True)
            (root / location / file).write_text(file)
            (root / location / f"{file}.br").write_text(file)
        return str(releases / release)

    return keep


def test_lists_of_every_storage_count_whatever_they_are_called(site, storage):
    _release, root, _releases = site
    old = storage("1", "a", ".", **{"a.css": "a.111.css", "b.css": "b.111.css"})
    storage("1", "b", "docs", name="lists/names.json", **{"a.css": "a.111.css", "c.css": "c.111.css"})
    storage("2", "a", ".", **{"a.css": "a.111.css"})
    storage("2", "b", "docs", **{"c.css": "c.222.css"})
    assert prune_static.prune(str(root), [old]) == 3
    assert names(root) == ["a.111.css", "a.111.css.br", "docs/c.222.css", "docs/c.222.css.br"]


def test_a_release_that_has_changed_its_storage_keeps_its_files(site, storage):
    release, root, _releases = site
    old = release("1", **{"a.css": "a.111.css", "b.css": "b.111.css"})
    storage("2", "a", ".", **{"a.css": "a.111.css"})
    assert prune_static.prune(str(root), [old]) == 1
    assert "a.111.css" in names(root)


def test_files_in_a_bucket_and_other_things_in_a_list_are_nobodys_here(site, storage):
    release, root, _releases = site
    (root / "a.111.css").write_text("")
    old = storage("1", "a", "", **{"a.css": "a.111.css"})
    storage("1", "b", ".", text="{")
    storage("1", "c", ".", text="[]")
    storage("1", "d", ".", text='{"paths": 1}')
    release("2")
    storage("2", "e", ".", text='"text"')
    assert prune_static.prune(str(root), [old]) == 0
    assert "a.111.css" in names(root)


def test_a_run_that_was_cut_off_before_it_wrote_a_list_is_in_nobodys_way(site, storage):
    _release, root, releases = site
    old = storage("1", "a", ".", **{"a.css": "a.111.css"})
    (releases / "2/manifests/a/lists").mkdir(parents=True)
    assert prune_static.prune(str(root), [old]) == 1


def test_a_list_of_another_name_beside_the_files_counts_and_other_files_do_not(site):
    release, root, _releases = site
    old = release("1", **{"a.css": "a.111.css"})
    (root / "names.json").write_text(json.dumps({"paths": {"a.css": "a.111.css"}}))
    (root / "broken.json").write_text("{")
    (root / "data.json").write_text("[1]")
    assert prune_static.prune(str(root), [old]) == 0


def test_a_release_without_a_list_takes_nothing_along(site):
    release, root, releases = site
    release("1", **{"a.css": "a.111.css"})
    (releases / "2").mkdir()
    assert prune_static.prune(str(root), [str(releases / "2")]) == 0
    assert "a.111.css" in names(root)


def test_a_name_that_leads_elsewhere_is_left_alone(site):
    release, root, _releases = site
    other = root.parent / "precious"
    other.write_text("x")
    old = release("1")
    (root.parent / "releases/1/staticfiles.json").write_text(json.dumps({"paths": {"a": "../precious"}}))
    assert prune_static.prune(str(root), [old]) == 0
    assert other.exists()


def test_it_runs_from_its_text_as_the_role_has_it(site):
    release, root, _releases = site
    old = release("1", **{"a.css": "a.111.css"})
    command = [sys.executable, "-", str(root), old]
    done = subprocess.run(command, input=PROGRAM.read_text(), capture_output=True, text=True, check=True)
    assert done.stdout == "1 removed\n"
    release("2")
    (root.parent / "releases/2/staticfiles.json").write_text("{")
    done = subprocess.run(command, input=PROGRAM.read_text(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("prune_static.py: ")
    assert "Traceback" not in done.stderr
