"""What a release is made of, which one is needed, and which may go. No network, no uv: the programs are stand-ins."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from clusters import ROOT

from ansible_collections.ntier.django.plugins.module_utils import releases
from ansible_collections.ntier.django.plugins.modules import release_build, release_state
from ansible_collections.ntier.django.plugins.modules.release_build import Builder, BuildError

SITE = {
    "name": "blog",
    "source": {"kind": "path", "location": "/src/blog", "directory": "", "revision": "abc"},
    "settings": "blog.settings",
    "python": "python3",
    "requirements": "",
    "packages": [],
    "configuration": "c0ffee",
    "health_url": "http://blog.example.com/",
}


# --- inputs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"source": {**SITE["source"], "revision": "abd"}},
        {"source": {**SITE["source"], "directory": "backend"}},
        {"python": "3.13"},
        {"requirements": "requirements/live.txt"},
        {"packages": ["sentry-sdk"]},
        {"configuration": "decaf"},
    ],
)
def test_a_release_is_made_anew_when_what_goes_into_it_changes(change):
    assert releases.inputs_digest({**SITE, **change}) != releases.inputs_digest(SITE)


@pytest.mark.parametrize("change", [{"health_url": "http://x/"}, {"name": "other"}, {"settings": "blog.live"}])
def test_a_release_stays_when_something_changes_that_it_does_not_contain(change):
    assert releases.inputs_digest({**SITE, **change}) == releases.inputs_digest(SITE)


@pytest.mark.parametrize(
    ("source", "elsewhere"),
    [
        ({"kind": "path", "location": "/home/ada/blog", "revision": "abc"}, {"location": "/home/eve/blog"}),
        (
            {"kind": "git", "location": "git@git:blog", "revision": "abc", "key_file": "/home/ada/key"},
            {"key_file": "/k"},
        ),
    ],
)
def test_another_persons_checkout_gives_the_same_release(source, elsewhere):
    moved = {**SITE, "source": {**source, **elsewhere}}
    assert releases.inputs_digest(moved) == releases.inputs_digest({**SITE, "source": source})


def test_another_repository_is_another_release():
    source = {"kind": "git", "location": "git@git:blog", "revision": "abc", "key_file": ""}
    moved = {**source, "location": "git@git:other"}
    assert releases.inputs_digest({**SITE, "source": moved}) != releases.inputs_digest({**SITE, "source": source})


def test_the_order_of_the_keys_does_not_matter():
    assert releases.inputs_digest(dict(reversed(SITE.items()))) == releases.inputs_digest(SITE)


def test_a_new_base_package_makes_every_release_anew(monkeypatch):
    before = releases.inputs_digest(SITE)
    monkeypatch.setattr(releases, "BASE_PACKAGES", ("pymemcache>=99",))
    assert releases.inputs_digest(SITE) != before


# --- on the host --------------------------------------------------------------------------------------------------


def make_releases(folder, *names, broken=(), live=None):
    """Make the folder of a site with complete and broken releases."""
    for name in (*names, *broken):
        path = folder / "releases" / name
        path.mkdir(parents=True)
        if name in names:
            (path / releases.RECORD).write_text(json.dumps({"name": "blog", "inputs": f"inputs-{name}"}))
    if live:
        (folder / "current").symlink_to(folder / "releases" / live)
    return releases.releases_of(str(folder))


def test_a_host_without_releases(tmp_path):
    assert make_releases(tmp_path) == {"live": None, "complete": {}, "broken": []}


def test_releases_are_told_from_what_a_failed_run_left(tmp_path):
    state = make_releases(tmp_path, "2025b", "2025a", broken=["2025c"], live="2025b")
    assert state["live"] == "2025b"
    assert list(state["complete"]) == ["2025a", "2025b"]
    assert state["complete"]["2025a"]["inputs"] == "inputs-2025a"
    assert state["broken"] == ["2025c"]


def test_a_record_that_is_cut_off_is_no_record(tmp_path):
    make_releases(tmp_path, "2025a")
    (tmp_path / "releases/2025a" / releases.RECORD).write_text('{"name": "bl')
    assert releases.releases_of(str(tmp_path))["broken"] == ["2025a"]


def test_a_link_to_nothing_is_no_live_release(tmp_path):
    assert make_releases(tmp_path, "2025a", live="2025z")["live"] is None


def state_of(*complete, live=None, broken=()):
    return {"live": live, "complete": {name: {} for name in complete}, "broken": list(broken)}


@pytest.mark.parametrize(
    ("state", "keep", "gone"),
    [
        (state_of("a", "b", "c", "d", live="d"), 3, ["a"]),
        (state_of("a", "b", "c", "d", live="d"), 1, ["a", "b", "c"]),
        (state_of("a", "b", "c", "d", live="d"), 0, ["a", "b", "c"]),
        (state_of("a", "b", "c", "d", live="d"), 9, []),
        (state_of("a", "b", "c", "d", live="a"), 2, ["b", "c"]),
        (state_of("a", "b", live="b", broken=["x"]), 3, ["x"]),
        (state_of("a", live=None), 3, []),
        (state_of(), 3, []),
        (state_of("a", live="x", broken=["x", "y"]), 3, ["y"]),
    ],
)
def test_the_oldest_releases_and_the_broken_ones_may_go(state, keep, gone):
    assert releases.removable(state, keep) == gone


def test_the_live_release_never_goes():
    names = ["a", "b", "c"]
    for live in names:
        for keep in range(-1, 5):
            for broken in ([], [live], ["x"]):
                assert live not in releases.removable(state_of(*names, live=live, broken=broken), keep)


# --- revisions ----------------------------------------------------------------------------------------------------

ANSWER = """\
1111111111111111111111111111111111111111\tHEAD
2222222222222222222222222222222222222222\trefs/heads/main
3333333333333333333333333333333333333333\trefs/heads/release/1.2
4444444444444444444444444444444444444444\trefs/heads/both
5555555555555555555555555555555555555555\trefs/tags/both
6666666666666666666666666666666666666666\trefs/tags/v1
7777777777777777777777777777777777777777\trefs/tags/v1^{}
8888888888888888888888888888888888888888\trefs/tags/v2
"""


@pytest.mark.parametrize(
    ("version", "digit"),
    [
        ("HEAD", 1),
        ("main", 2),
        ("release/1.2", 3),
        ("both", 5),
        ("v1", 7),
        ("v2", 8),
        ("refs/heads/both", 4),
        ("F" * 40, "f"),
        ("9" * 40, 9),
    ],
)
def test_the_commit_of_a_branch_tag_or_commit(version, digit):
    assert releases.pick_revision(ANSWER, version) == str(digit) * 40


@pytest.mark.parametrize("version", ["mian", "1.2", "heads/main", "7777777", "f" * 39, "f" * 41, "", "ain", "v1^{}x"])
def test_what_the_repository_does_not_have(version):
    assert releases.pick_revision(ANSWER, version) is None


def test_git_is_asked_for_branches_and_annotated_tags(tmp_path):
    def git(*arguments):
        who = [
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.com",
            "-c",
            "tag.gpgsign=false",
            "-c",
            "commit.gpgsign=false",
        ]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    git("commit", "-q", "--allow-empty", "-m", "one")
    git("tag", "-a", "v1", "-m", "one")
    one = git("rev-parse", "HEAD")
    git("commit", "-q", "--allow-empty", "-m", "two")
    source = {"location": str(tmp_path)}
    assert release_state.ask_git({**source, "version": "v1"}, None) == (one, None)
    assert release_state.ask_git({**source, "version": "main"}, None) == (git("rev-parse", "HEAD"), None)
    assert release_state.ask_git({**source, "version": "HEAD"}, None) == (git("rev-parse", "HEAD"), None)
    assert release_state.ask_git({**source, "version": "v2"}, None) == (
        None,
        "it has no branch, tag or commit 'v2'. Correct the version, or push it.",
    )
    commit, error = release_state.ask_git({"location": str(tmp_path / "nowhere"), "version": "main"}, None)
    assert commit is None
    assert "nowhere" in error
    commit, error = release_state.ask_git({"location": "nosuch://me:hunter2@git.example.com/a.git"}, None)
    assert commit is None
    assert "nosuch" in error
    assert "hunter2" not in error


class Exit(Exception):
    """The end of a module, with what it says."""


@pytest.fixture
def state_module(tmp_path, monkeypatch):
    """Return a function that runs release_state over the sites below a folder."""

    def run(*sites, check_mode=False, **params):
        class Module:
            def __init__(self, **_spec):
                self.check_mode = check_mode
                self.no_log_values = set()
                self.params = {
                    **{"sites": list(sites), "home": str(tmp_path), "uv": "/nowhere/uv"},
                    **{"targets": None, "build": True, "keep": 3, **params},
                }

            def exit_json(self, **result):
                raise Exit({**result, "no_log": self.no_log_values})

            fail_json = exit_json

        monkeypatch.setattr(release_state, "AnsibleModule", Module)
        with pytest.raises(Exit) as end:
            release_state.main()
        return end.value.args[0]

    return run


def make_live(folder, *names, inputs):
    """Make releases of a site; the last one is live, with these inputs."""
    make_releases(folder, *names, live=names[-1])
    record = {"name": folder.name, "release": names[-1], "revision": "abc", "inputs": inputs}
    (folder / "releases" / names[-1] / releases.RECORD).write_text(json.dumps(record))


def test_a_site_whose_inputs_are_live_needs_no_release(state_module, tmp_path):
    make_live(tmp_path / "blog", "1", "2", inputs=releases.inputs_digest(SITE))
    found = state_module(SITE)
    assert (found["build"], found["remove"], found["changed"]) == ([], [], False)


def test_the_password_of_an_index_is_kept_out_of_the_output(state_module):
    source = {"kind": "package", "location": "shop==1", "revision": "1", "index": "https://me:s3cret@x.example/simple"}
    assert state_module({**SITE, "source": source})["no_log"] == {"s3cret"}
    assert state_module(SITE)["no_log"] == set()


@pytest.mark.parametrize(
    ("credentials", "hidden"),
    [
        ("me:s3cret@", {"s3cret"}),
        ("me:s3@cret:1@", {"s3@cret:1"}),
        ("my-t0ken@", {"my-t0ken"}),
        ("my-t0ken:@", {"my-t0ken"}),
        ("my-t0ken:x-oauth-basic@", {"my-t0ken"}),
        ("x-access-token:my-t0ken@", {"my-t0ken"}),
        (f"{'my-t0ken' * 4}:x@", {"my-t0ken" * 4}),
        ("git@", set()),
        ("me:blog@", set()),
        ("", set()),
    ],
)
def test_what_of_a_repositorys_address_is_a_secret_is_kept_out_of_the_output(
    state_module, monkeypatch, credentials, hidden
):
    monkeypatch.setattr(release_state, "ask_git", lambda source, key: (None, "no"))
    location = f"https://{credentials}x.example/a.git"
    source = {"kind": "git", "location": location, "version": "main", "revision": ""}
    found = state_module({**SITE, "source": source})
    assert found["no_log"] == hidden
    shown = f"https://{'***@' if credentials else ''}x.example/a.git"
    assert f"its source {shown} can't be fetched" in found["msg"]


def test_the_user_of_ssh_is_no_secret(state_module, monkeypatch):
    monkeypatch.setattr(release_state, "ask_git", lambda source, key: ("f" * 40, None))
    source = {"kind": "git", "location": "ssh://deploy@x.example/a.git", "version": "main", "revision": ""}
    assert state_module({**SITE, "source": source})["no_log"] == set()


def test_a_changed_configuration_needs_a_release(state_module, tmp_path):
    make_live(tmp_path / "blog", "1", "2", inputs=releases.inputs_digest(SITE))
    changed = {**SITE, "configuration": "decaf"}
    (entry,) = state_module(changed)["build"]
    assert entry["live"] == "2"
    assert entry["inputs"] == releases.inputs_digest(changed)
    assert entry["release"].endswith("-abc")


@pytest.mark.parametrize(
    ("configuration", "gone"), [("c0ffee", ["1"]), ("decaf", ["1", "2"])], ids=["unchanged", "about to be built"]
)
def test_a_release_that_is_about_to_be_built_counts_among_those_that_stay(state_module, tmp_path, configuration, gone):
    make_live(tmp_path / "blog", "1", "2", "3", "4", inputs=releases.inputs_digest(SITE))
    found = state_module({**SITE, "configuration": configuration})
    assert found["remove"] == [str(tmp_path / "blog/releases" / name) for name in gone]


def test_after_a_release_an_unchanged_run_removes_nothing(state_module, tmp_path):
    folder = tmp_path / "blog"
    make_live(folder, "1", "2", "3", inputs="old")
    for path in state_module(SITE)["remove"]:
        shutil.rmtree(path)
    (folder / "current").unlink()
    make_live(folder, "4", inputs=releases.inputs_digest(SITE))
    found = state_module(SITE)
    assert (found["build"], found["remove"]) == ([], [])
    assert sorted(path.name for path in (folder / "releases").iterdir()) == ["2", "3", "4"]


@pytest.mark.parametrize(("key_file", "expected"), [("/keys/blog", "/etc/ntier/keys/blog"), ("", None)])
def test_the_host_reads_the_key_that_it_got_not_the_one_of_the_controller(
    state_module, monkeypatch, key_file, expected
):
    asked = []
    monkeypatch.setattr(release_state, "ask_git", lambda source, key: asked.append(key) or ("f" * 40, None))
    source = {"kind": "git", "location": "git@git.example.com:blog.git", "version": "main", "key_file": key_file}
    (entry,) = state_module({**SITE, "source": source})["build"]
    assert asked == [expected]
    assert entry["revision"] == "f" * 40


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_source_without_an_answer_fails_the_run_but_not_check_mode(state_module, monkeypatch, check_mode):
    monkeypatch.setattr(release_state, "ask_git", lambda _source, _key: (None, "git is not installed yet"))
    source = {"kind": "git", "location": "https://git.example.com/blog.git", "version": "main", "key_file": ""}
    found = state_module({**SITE, "source": source}, check_mode=check_mode)
    if check_mode:
        assert found["build"][0]["revision"] == "unknown"
        assert found["sites"][0]["revision"] == "unknown"
    else:
        assert found["msg"].startswith(
            "Site blog: its source https://git.example.com/blog.git can't be fetched: git is"
        )
        assert found["msg"].endswith("\nThe running releases stay live.")


def test_a_source_without_an_answer_holds_up_no_other_site(state_module, monkeypatch, tmp_path):
    monkeypatch.setattr(release_state, "ask_git", lambda _source, _key: (None, "git is not installed yet"))
    source = {"kind": "git", "location": "https://git.example.com/blog.git", "version": "main", "key_file": ""}
    make_live(tmp_path / "blog", "1", "2", inputs="other")
    found = state_module(
        {**SITE, "source": source}, {**SITE, "name": "shop", "source": source}, {**SITE, "name": "new"}
    )
    assert [entry["name"] for entry in found["build"]] == ["new"]
    # What is live of it is what shall be live, on a new host as well.
    assert [(site["name"], site["release"]) for site in found["sites"][:2]] == [("blog", "2"), ("shop", None)]
    assert found["failures"]["blog"].endswith("git is not installed yet\nRelease 2 stays live.")
    assert found["failures"]["shop"].endswith("\nThe site has no live release yet.")


# --- several hosts ------------------------------------------------------------------------------------------------


def target_of(release="4", name="blog"):
    """Return what the leader says of a site."""
    return {"name": name, "release": release, "revision": "abc", "inputs": f"inputs-{release}"}


def test_the_leader_says_what_is_live_and_what_will_be(state_module, tmp_path):
    shop = {**SITE, "name": "shop"}
    make_live(tmp_path / "blog", "1", "2", inputs=releases.inputs_digest(SITE))
    found = state_module(SITE, shop)
    live, built = found["sites"]
    assert live == {"name": "blog", "release": "2", "revision": "abc", "inputs": releases.inputs_digest(SITE)}
    (entry,) = found["build"]
    assert built == {key: entry[key] for key in ("name", "release", "revision", "inputs")}
    assert (entry["name"], entry["present"], entry["live"]) == ("shop", False, None)


def test_a_run_without_the_leader_builds_nothing_and_asks_no_repository(state_module, tmp_path, monkeypatch):
    monkeypatch.setattr(release_state, "ask_git", lambda *_arguments: pytest.fail("asked"))
    git = {**SITE, "source": {"kind": "git", "location": "git@git:blog", "version": "main", "key_file": ""}}
    make_live(tmp_path / "blog", "1", "2", inputs="of another time")
    for site in (SITE, git):
        found = state_module(site, build=False)
        assert found["build"] == []
        assert found["sites"] == [{"name": "blog", "release": "2", "revision": "abc", "inputs": "of another time"}]


def test_without_the_leader_a_site_that_was_never_released_has_no_target(state_module):
    found = state_module(SITE, build=False)
    assert found["sites"] == [{"name": "blog", "release": None, "revision": None, "inputs": None}]
    assert state_module(SITE, targets=found["sites"])["install"] == []


def test_a_run_without_the_leader_removes_what_an_unchanged_run_would(state_module, tmp_path):
    make_live(tmp_path / "blog", "1", "2", "3", "4", inputs="of another time")
    assert state_module(SITE, build=False)["remove"] == [str(tmp_path / "blog/releases/1")]


def test_a_host_that_has_what_the_leader_has_lacks_nothing(state_module, tmp_path):
    make_live(tmp_path / "blog", "3", "4", inputs="inputs-4")
    found = state_module(SITE, targets=[target_of()])
    assert (found["build"], found["install"], found["remove"], found["changed"]) == ([], [], [], False)
    assert found["sites"] == [target_of()]


@pytest.mark.parametrize("names", [(), ("3",)])
def test_a_host_that_lacks_a_release_gets_the_leaders(state_module, tmp_path, names):
    if names:
        make_live(tmp_path / "blog", *names, inputs="inputs-3")
    (entry,) = state_module(SITE, targets=[target_of()])["install"]
    assert {key: entry[key] for key in target_of()} == target_of()
    assert (entry["live"], entry["present"]) == (names[-1] if names else None, False)
    assert entry["health_url"] == SITE["health_url"]


def test_a_release_that_is_here_and_not_live_is_switched_to(state_module, tmp_path):
    make_live(tmp_path / "blog", "4", "5", inputs="inputs-5")
    (entry,) = state_module(SITE, targets=[target_of()])["install"]
    assert (entry["release"], entry["live"], entry["present"]) == ("4", "5", True)


def test_the_inputs_of_a_host_that_follows_are_the_leaders_own_business(state_module, tmp_path):
    make_live(tmp_path / "blog", "4", inputs="inputs-4")
    changed = {**SITE, "configuration": "decaf"}
    assert state_module(changed, targets=[target_of()])["install"] == []


def test_a_follower_asks_no_repository(state_module, monkeypatch):
    monkeypatch.setattr(release_state, "ask_git", lambda *_arguments: pytest.fail("asked"))
    git = {**SITE, "source": {"kind": "git", "location": "git@git:blog", "version": "main", "key_file": ""}}
    assert len(state_module(git, targets=[target_of()])["install"]) == 1


@pytest.mark.parametrize("live", ["3", None])
def test_what_a_run_left_that_was_cut_off_while_it_brought_the_release_is_brought_anew(state_module, tmp_path, live):
    make_releases(tmp_path / "blog", "3", broken=["4"], live=live)
    found = state_module(SITE, targets=[target_of()])
    assert [(entry["release"], entry["present"]) for entry in found["install"]] == [("4", False)]
    assert found["remove"] == []


def test_a_release_that_runs_without_a_record_is_not_taken_from_below_the_site(state_module, tmp_path):
    """A run that was cut off after the switch: the folder is whole, only its answer was not waited for."""
    make_releases(tmp_path / "blog", "3", broken=["4"], live="4")
    (entry,) = state_module(SITE, targets=[target_of()])["install"]
    assert (entry["live"], entry["present"]) == ("4", True)


def test_a_follower_keeps_as_many_releases_as_the_leader(state_module, tmp_path):
    folder = tmp_path / "blog/releases"
    make_live(tmp_path / "blog", "1", "2", "3", inputs="inputs-3")
    found = state_module(SITE, targets=[target_of()])
    assert found["remove"] == [str(folder / "1")]
    (tmp_path / "blog/current").unlink()
    make_live(tmp_path / "blog", "4", inputs="inputs-4")
    assert state_module(SITE, targets=[target_of()])["remove"] == [str(folder / "1")]


def test_the_target_is_never_removed(state_module, tmp_path):
    make_live(tmp_path / "blog", "1", "2", "3", "4", inputs="inputs-4")
    for keep in range(-1, 5):
        found = state_module(SITE, targets=[target_of("1")], keep=keep)
        assert not {str(tmp_path / "blog/releases" / name) for name in ("1", "4")} & set(found["remove"])


def test_every_site_of_a_follower_is_looked_at(state_module, tmp_path):
    make_live(tmp_path / "blog", "4", inputs="inputs-4")
    sites = [SITE, {**SITE, "name": "shop"}, {**SITE, "name": "diary"}]
    targets = [target_of(), target_of("7", "shop"), {**target_of(None, "diary")}]
    found = state_module(*sites, targets=targets)
    assert [(entry["name"], entry["release"]) for entry in found["install"]] == [("shop", "7")]


def test_a_deploy_key_is_used_alone_and_nobody_is_asked():
    assert release_state.ssh_command("").endswith("BatchMode=yes -o StrictHostKeyChecking=accept-new")
    assert release_state.ssh_command("/keys/blog").endswith("-o IdentitiesOnly=yes -i '/keys/blog'")


# --- Django and the driver ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\nGenerated by 'django-admin startproject' using Django 5.2.19.\n", "Django~=5.2.0"),
        ("Generated by 'django-admin startproject' using Django 4.2.\n", "Django~=4.2.0"),
        ("# nothing of the kind", "Django"),
        ("", "Django"),
    ],
)
def test_a_project_without_requirements_gets_the_django_that_made_it(text, expected):
    assert releases.wanted_django(text) == expected


@pytest.mark.parametrize(
    ("lock", "driver"),
    [
        ("django==5.2.1\n", "psycopg[binary]>=3.1.8"),
        ("Django==4.2\n", "psycopg[binary]>=3.1.8"),
        ("django==4.1.13\n", "psycopg2-binary>=2.8"),
        ("django==3.2\n", "psycopg2-binary>=2.8"),
        ("asgiref==3\n", "psycopg[binary]>=3.1.8"),
        ("django==5.2\npsycopg==3.2\n", None),
        ("django==5.2\npsycopg2==2.9\n", None),
        ("django==5.2\nPsycopg2_Binary==2.9\n", None),
        ("django==5.2\npsycopg[c]==3.2 ; python_version > '3'\n", None),
        ("django==5.2\npsycopg @ https://example.com/psycopg.whl\n", None),
        ("django-psycopg-helper==1\ndjango==5.2\n", "psycopg[binary]>=3.1.8"),
    ],
)
def test_a_driver_is_added_where_the_project_brings_none(lock, driver):
    assert releases.driver_for(lock) == driver


def test_package_names_are_compared_as_pip_does():
    lock = "Foo.Bar_baz==1 \\\n    --hash=sha256:x\n# a comment\n-e ./local\nzope.interface==5\n"
    assert releases.package_names(lock) == {"foo-bar-baz", "zope-interface"}


def test_the_last_lines_that_say_something():
    text = "\n".join([f"line {number}  " for number in range(30)] + ["", "  "])
    assert releases.last_lines(text, 2) == "line 28\nline 29"
    assert releases.last_lines("one") == "one"
    assert releases.last_lines(" \n") == ""
    assert len(releases.last_lines(text).splitlines()) == 15


# --- requirements -------------------------------------------------------------------------------------------------

PYPROJECT = "[project]\nname = 'blog'\n"


@pytest.fixture
def build(tmp_path):
    """Return a function that makes a builder over a source with these files, its programs being noted instead of run."""

    def make(files=None, source=None, **site):
        folder = tmp_path / "release"
        (folder / "app").mkdir(parents=True)
        for name, text in (files or {}).items():
            path = folder / "app" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        given = {**SITE, **site, "source": {**SITE["source"], **(source or {})}}
        builder = Builder(given, str(folder), "/opt/uv", "/opt/pip", str(tmp_path / "cache"), given["settings"])
        builder.commands = []
        builder.step = lambda name, command, **_environment: builder.commands.append(command) or ""
        builder.link_project()
        return builder

    return make


ALL_KINDS = {
    "uv.lock": "",
    "pyproject.toml": PYPROJECT,
    "requirements.txt": "a",
    "requirements/production.txt": "b",
    "requirements/prod.txt": "c",
    "requirements/base.txt": "d",
    "poetry.lock": "",
}
PRECEDENCE = [
    "uv.lock",
    "requirements.txt",
    "requirements/production.txt",
    "requirements/prod.txt",
    "requirements/base.txt",
    "pyproject.toml",
]


@pytest.mark.parametrize("expected", PRECEDENCE)
def test_the_first_kind_of_requirements_that_is_there_counts(build, expected):
    stronger = PRECEDENCE[: PRECEDENCE.index(expected)]
    builder = build({name: text for name, text in ALL_KINDS.items() if name not in stronger})
    (path,), found = builder.requirements()
    assert found == expected
    if expected == "uv.lock":
        assert builder.commands[0][:4] == ["/opt/uv", "export", "--frozen", "--no-dev"]
        assert path == f"{builder.folder}/exported.txt"
    else:
        assert path == f"{builder.project}/{expected}"


def test_the_file_that_the_user_names_wins(build):
    (path,), found = build({**ALL_KINDS, "deploy/live.txt": "x"}, requirements="deploy/live.txt").requirements()
    assert found == "deploy/live.txt"
    assert path.endswith("/project/deploy/live.txt")


def test_a_named_file_that_is_not_there_is_an_error(build):
    with pytest.raises(BuildError, match=r"the source has no file live\.txt; correct 'requirements' of the site"):
        build(ALL_KINDS, requirements="live.txt").requirements()


def test_a_package_brings_its_own_requirements(build):
    builder = build(source={"kind": "package", "location": "some-shop==1.2"})
    (path,), found = builder.requirements()
    assert found == "some-shop==1.2"
    with open(path) as file:
        assert file.read() == "some-shop==1.2\n"


@pytest.mark.parametrize("name", ["poetry.lock", "Pipfile.lock"])
def test_a_lock_file_that_nobody_here_reads_is_an_error_with_the_way_out(build, name):
    with pytest.raises(BuildError, match=f"{name} is not read; export it to requirements.txt"):
        build({name: "", "pyproject.toml": "[tool.poetry]\n"}).requirements()


@pytest.mark.parametrize("name", ["blog/settings.py", "blog/settings/__init__.py"])
def test_without_any_requirements_django_alone_is_installed(build, name):
    builder = build(
        {name: "Generated by 'django-admin startproject' using Django 5.1.4.", "pyproject.toml": "[tool.ruff]\n"}
    )
    (path,), found = builder.requirements()
    assert found == "nothing, so Django alone"
    with open(path) as file:
        assert file.read() == "Django~=5.1.0\n"


def test_requirements_of_the_projects_folder_come_before_those_of_the_top(build):
    files = {"backend/requirements.txt": "inner", "requirements.txt": "outer", "backend/x": ""}
    builder = build(files, source={"directory": "backend"})
    (path,), _found = builder.requirements()
    with open(path) as file:
        assert file.read() == "inner"


def test_requirements_of_the_top_serve_a_project_in_a_folder(build):
    (path,), found = build(
        {"requirements.txt": "outer", "backend/x": ""}, source={"directory": "backend"}
    ).requirements()
    assert found == "requirements.txt"
    with open(path) as file:
        assert file.read() == "outer"


def test_a_folder_that_the_source_lacks_is_an_error(build):
    with pytest.raises(BuildError, match=r"it has no folder 'backend'; correct source\.directory"):
        build(source={"directory": "backend"})


def test_pointers_of_git_lfs_in_a_repository_are_named(build):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    builder = build({f"static/{name}.png": pointer for name in "abcd"} | {"readme.txt": "x"})
    builder.site["source"] = {**builder.site["source"], "kind": "git"}
    with pytest.raises(
        BuildError,
        match=r"static/a\.png, static/b\.png, static/c\.png and others .* Git LFS.* Add git-lfs to release_system_packages",
    ):
        builder.link_project()


def test_a_driver_is_resolved_together_with_the_rest(build, tmp_path):
    builder = build(
        {"requirements.txt": "django\n"},
        packages=["sentry-sdk~=2.0"],
        source={"index": "https://pypi.example.com/simple"},
    )
    (tmp_path / "release/requirements.lock").write_text("django==5.2\ngunicorn==23\n")
    assert builder.resolve(["/own.txt"]) == 2
    first, second = builder.commands
    assert first[first.index("--index") + 1] == "https://pypi.example.com/simple"
    assert (tmp_path / "release/base.in").read_text().splitlines() == [
        "gunicorn>=23",
        "pymemcache>=4",
        "sentry-sdk~=2.0",
    ]
    assert second == [*first, f"{builder.folder}/driver.in"]
    assert (tmp_path / "release/driver.in").read_text() == "psycopg[binary]>=3.1.8\n"


def test_a_project_with_a_driver_is_resolved_once(build, tmp_path):
    builder = build()
    (tmp_path / "release/requirements.lock").write_text("django==5.2\npsycopg==3.2\n")
    assert builder.resolve([]) == 2
    assert len(builder.commands) == 1


# --- steps --------------------------------------------------------------------------------------------------------


@pytest.fixture
def builder(tmp_path):
    return Builder(SITE, str(tmp_path), "/opt/uv", "/opt/pip", str(tmp_path / "cache"), "blog.settings")


def test_a_step_that_fails_says_which_and_why(builder):
    script = "import sys; print('to stdout'); print('no such package', file=sys.stderr); sys.exit(3)"
    with pytest.raises(BuildError) as error:
        builder.step("resolve", [sys.executable, "-c", script])
    text = str(error.value)
    assert text.startswith("resolve: python")
    assert "ended with exit status 3:\nno such package\nto stdout" in text


def test_a_program_that_is_not_there_is_named(builder):
    with pytest.raises(BuildError, match="wheels: /nowhere/pip can't be run"):
        builder.step("wheels", ["/nowhere/pip"])


def test_the_seconds_of_a_step_are_counted_and_its_output_returned(builder):
    assert builder.step("x", [sys.executable, "-c", "print('hello')"]) == "hello\n"
    assert list(builder.seconds) == ["x"]


def test_a_build_knows_nothing_of_the_environment_of_ansible(builder, monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET", "x")
    fresh = Builder(SITE, str(tmp_path), "/opt/uv", "/opt/pip", str(tmp_path / "cache"), "blog.settings")
    assert "SECRET" not in fresh.environment
    assert fresh.environment["HOME"] == str(tmp_path)


# --- what another host has built ----------------------------------------------------------------------------------


def test_another_hosts_wheels_are_installed_and_nothing_else_is_made(build, tmp_path):
    builder = build({"blog/settings.py": "DEBUG = True\n"})
    wheels = tmp_path / "release/wheels"
    wheels.mkdir()
    for name in ("django-5.2-py3-none-any.whl", "asgiref-3-py3-none-any.whl"):
        (wheels / name).touch()
    builder.python = sys.executable
    found = {"requirements": "the leader's wheels", "packages": 2, "seconds": {}}
    (wheels / "system-packages").write_text("libpq5\nlibxml2\n")
    done = {"shared": False, "wheels_missing": False, "build_needs": [], "linked": ["libpq5", "libxml2"]}
    assert builder.install() == {**found, **done}
    environment, install = builder.commands
    assert environment == ["/opt/uv", "venv", "--quiet", "--python", "/usr/bin/python3", f"{builder.folder}/venv"]
    assert {"--offline", "--no-index", "--no-deps"} <= set(install)
    assert install[-2:] == sorted(str(path) for path in wheels.glob("*.whl"))


def test_a_host_with_neither_packages_nor_wheels_asks_for_them(build):
    builder = build()
    assert builder.install() == {"wheels_missing": True, "seconds": {}}
    assert builder.commands == []


def test_packages_that_the_host_has_are_not_installed_again(build, tmp_path, monkeypatch):
    builder = build()
    builder.python = sys.executable
    monkeypatch.setattr(release_build.environments, "read_key", lambda _release: "k1")
    monkeypatch.setattr(release_build.environments, "is_whole", lambda _release, key: key == "k1")
    used = []
    monkeypatch.setattr(release_build.environments, "use", lambda *arguments: used.append(arguments))
    assert builder.install()["shared"]
    assert used == [(builder.folder, "k1")]
    assert [command[1] for command in builder.commands] == ["venv"]


UNPACKING = "import os, pathlib; folder = pathlib.Path(os.environ['UV_CACHE_DIR']); folder.mkdir(); (folder / 'file').write_text('x' * 1000)"


def test_what_uv_unpacks_for_one_release_is_kept_in_no_cache(build, tmp_path):
    builder = build()
    step = Builder.step
    builder.step = lambda name, command, **more: step(builder, name, [sys.executable, "-c", UNPACKING], **more)
    builder.python = sys.executable
    (tmp_path / "cache/pip").mkdir(parents=True)
    (tmp_path / "cache/pip/download").write_text("x")
    builder.install_wheels()
    assert sorted(path.name for path in (tmp_path / "release").iterdir()) == ["app", "project"]
    assert [path.name for path in (tmp_path / "cache").rglob("*")] == ["pip", "download"]


def test_a_cache_that_has_grown_too_large_is_started_anew(build, tmp_path, monkeypatch):
    """As the one of an older version of this collection has, which kept each release's packages there."""
    monkeypatch.setattr(release_build, "CACHE_BYTES", 500)
    builder = build()
    builder.python = sys.executable
    for path, size in {"cache/uv/archive/a": 600, "cache/uv/archive/b": 600, "cache/pip/c": 900}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x" * size)
    wheels = tmp_path / "release/wheels"
    wheels.mkdir()
    (wheels / "a-1-py3-none-any.whl").write_text("x" * 250)
    builder.install()
    assert [path.name for path in (tmp_path / "cache").rglob("*")] == ["pip", "c"]


def test_the_environment_has_the_python_that_the_site_asks_for(build, tmp_path):
    builder = build(python="3.13")
    builder.python = sys.executable
    (tmp_path / "release/wheels").mkdir()
    (tmp_path / "release/wheels/a-1-py3-none-any.whl").touch()
    builder.install()
    assert builder.commands[0][builder.commands[0].index("--python") + 1] == "3.13"


@pytest.mark.parametrize(("prebuilt", "done"), [(True, "install"), (False, "build")])
def test_the_module_builds_or_installs(monkeypatch, tmp_path, prebuilt, done):
    class Module:
        def __init__(self, argument_spec):
            given = {"site": SITE, "folder": str(tmp_path), "uv": "/opt/uv", "pip": "/opt/pip"}
            given |= {"cache": str(tmp_path / "cache"), "prebuilt": prebuilt}
            self.params = {name: given.get(name, spec.get("default")) for name, spec in argument_spec.items()}

        def exit_json(self, **result):
            raise Exit(result)

    monkeypatch.setattr(release_build, "AnsibleModule", Module)
    monkeypatch.setattr(release_build.os, "umask", lambda _mask: None)
    for name in ("install", "build"):
        monkeypatch.setattr(Builder, name, lambda _self, name=name: {"did": name})
    with pytest.raises(Exit) as end:
        release_build.main()
    assert end.value.args[0] == {"changed": True, "did": done}


# --- what a run shows ---------------------------------------------------------------------------------------------


def test_what_is_removed_with_a_release_is_not_listed_file_by_file():
    """By --diff, the module shows all that lies in a folder that goes: thousands of lines for one release."""

    def removals(tasks):
        for task in tasks:
            for part in ("block", "rescue", "always"):
                yield from removals(task.get(part, []))
            file = task.get("ansible.builtin.file", {})
            if file.get("state") == "absent" and re.search(
                r"(__release_home|__release_folder|release) }}/?$|__release_site.name }}$", file["path"]
            ):
                yield task

    found = [
        (path.name, task)
        for path in sorted((ROOT / "roles/release/tasks").glob("*.yml"))
        for task in removals(yaml.safe_load(path.read_text()))
    ]
    assert {name for name, _task in found} == {"failed.yml", "install.yml", "leave.yml", "remove.yml"}
    assert [name for name, task in found if task.get("diff") is not False] == []
