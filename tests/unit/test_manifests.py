"""A release reads the manifests of static files as they were when it was built, whatever later releases write in their place."""

import importlib.util
import json
import subprocess
import sys

import pytest
import yaml
from clusters import ROOT
from test_settings_overlay import Host

OVERLAY = ROOT / "roles/release/files/overlay"
SPEC = importlib.util.spec_from_file_location("ntier_manifests", OVERLAY / "ntier_manifests.py")
ntier_manifests = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(ntier_manifests)

#: What tools write, and what they write beside it.
MANIFESTS = ["CACHE/manifest.json", "manifest.json", ".vite/manifest.json", "shop/dist/webpack-stats.json"]
OTHERS = ["CACHE/css/output.1a2b3c.css", "staticfiles.json", "shop/data.json", "shop/dist/app-1a2b3c.js", "admin/css/base.css"]  # fmt: skip


@pytest.fixture
def root(tmp_path):
    """Return a folder of static files, as the first release has left it."""
    for name in [*MANIFESTS, *OTHERS]:
        path = tmp_path / "static" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"of": "release 1", "name": name}))
    return tmp_path / "static"


def build(root, release):
    """Do as the role does once the files are collected."""
    release.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(OVERLAY / "ntier_compress.py"), str(root), str(release)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        *((name.rsplit("/", 1)[-1], True) for name in MANIFESTS),
        *((name, True) for name in ("asset-manifest.json", "rev-manifest.json", "mix-manifest.json", "manifest.prod.json")),
        *((name, True) for name in ("entrypoints.json", "importmap.json")),
        *((name.rsplit("/", 1)[-1], False) for name in OTHERS),
        *((name, False) for name in ("manifest.0123456789ab.json", "manifest.json.gz", "manifest.js", "stations.json")),
    ],
)  # fmt: skip
def test_manifests_are_known_by_their_names(name, is_one):
    assert bool(ntier_manifests.NAMES.match(name)) is is_one


def test_a_release_keeps_its_manifests_and_shares_all_other_files(root, tmp_path):
    build(root, tmp_path / "1")
    view = tmp_path / "1/static"
    for name in MANIFESTS:
        (root / name).write_text(json.dumps({"of": "release 2"}))
    for name in [*MANIFESTS, *OTHERS]:
        assert json.loads((view / name).read_text()) == {"of": "release 1", "name": name}
    assert not (view / "CACHE/css").is_symlink() or (view / "CACHE/css").samefile(root / "CACHE/css")
    # To build it again, after a run that was cut off, is no fault.
    build(root, tmp_path / "1")
    assert json.loads((view / "manifest.json").read_text()) == {"of": "release 2"}


def test_without_manifests_there_is_no_view(root, tmp_path):
    for name in MANIFESTS:
        (root / name).unlink()
    build(root, tmp_path / "1")
    assert not (tmp_path / "1/static").exists()
    # And none is left of what was there before.
    assert ntier_manifests.static_root(str(root), str(tmp_path / "1")) == str(root)


def test_the_settings_name_the_view_where_there_is_one(tmp_path):
    host = Host(tmp_path, "INSTALLED_APPS = []\nROOT_URLCONF = 'mysite.urls'\n")
    assert host.settings()["STATIC_ROOT"] == str(tmp_path / "static")
    (tmp_path / "static").mkdir()
    (tmp_path / "static/manifest.json").write_text("{}")
    build(tmp_path / "static", host.release)
    assert host.settings()["STATIC_ROOT"] == str(host.release / "static")


def test_the_list_of_a_storage_stays_the_one_that_collectstatic_has_kept(tmp_path):
    """Its place in the release goes by the folder's path below STATIC_ROOT, which the view does not change."""
    settings = """
INSTALLED_APPS = ["django.contrib.staticfiles"]
STATICFILES_DIRS = [{!r}]
STORAGES = {{
    "default": {{"BACKEND": "django.core.files.storage.FileSystemStorage"}},
    "staticfiles": {{"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}},
}}
"""
    (tmp_path / "assets").mkdir()
    for name, text in (("site.css", "body {}"), ("manifest.json", "{}")):
        (tmp_path / "assets" / name).write_text(text)
    host = Host(tmp_path, settings.format(str(tmp_path / "assets")))
    django = ["-m", "django"]
    host.run(*django, "collectstatic", "--noinput")
    build(tmp_path / "static", host.release)
    assert (host.release / "static").is_dir()
    code = "from django.templatetags.static import static; print(static('site.css'))"
    said = host.run(*django, "shell", "-c", code)
    assert "site." in said
    assert "site.css" not in said


def test_hooks_run_between_the_static_files_and_what_is_compressed_of_them():
    names = [
        task["name"].removeprefix("check | ")
        for task in yaml.safe_load((ROOT / "roles/release/tasks/check.yml").read_text())
    ]
    first = names.index("Collect the static files")
    assert [name for name in names[first:] if not name.startswith("Report")][:3] == [
        "Collect the static files",
        "Run what comes after the static files",
        "Compress the static files",
    ]
