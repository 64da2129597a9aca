"""Which sites a release is for, and at which version, as the command line says."""

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.ntier.django.plugins.action.manage import words_of
from ansible_collections.ntier.django.plugins.filter.selection import selected
from ansible_collections.ntier.django.plugins.plugin_utils.faults import Faults
from ansible_collections.ntier.django.plugins.plugin_utils.selection import (
    check_command,
    check_hooks,
    hooks_of,
    select,
    version_of,
)

POLLS = {"name": "polls", "source": {"kind": "git", "location": "https://git/polls", "version": "main"}}
SHOP = {"name": "some_shop", "source": {"kind": "package", "location": "some-shop[pg]==1.0"}}
BLOG = {"name": "blog", "source": {"kind": "path", "location": "/src/blog"}}
SITES = [POLLS, SHOP, BLOG]


def faults_of(*arguments):
    faults = Faults()
    select(*arguments, faults)
    return faults.sentences


def test_without_a_choice_all_sites_are_meant_as_they_are():
    assert selected(SITES) == SITES


def test_one_site_may_be_named():
    assert selected(SITES, "blog") == [BLOG]


def test_another_version_reaches_the_source():
    assert selected(SITES, "polls", "v1.2") == [{**POLLS, "source": {**POLLS["source"], "version": "v1.2"}}]
    assert selected(SITES, "some_shop", "1.1") == [{**SHOP, "source": {**SHOP["source"], "location": "some-shop[pg]==1.1"}}]  # fmt: skip
    assert [version_of(site) for site in selected([POLLS, SHOP], "", 2.5)] == ["2.5", "2.5"]
    assert (POLLS["source"]["version"], SHOP["source"]["location"]) == ("main", "some-shop[pg]==1.0")


@pytest.mark.parametrize(
    ("site", "version", "sentence"),
    [
        ("pols", "", "variable site: there is no site 'pols' in ntier_sites. Did you mean 'polls'?"),
        (
            "forum",
            "",
            "variable site: there is no site 'forum' in ntier_sites. The inventory has polls, some_shop and blog.",
        ),
        (
            "blog",
            "v1",
            "variable release_version, site blog: its source is a folder, /src/blog, which has no versions."
            " Leave release_version out, or name another site with -e site=NAME.",
        ),
        (
            "polls",
            "-x",
            "variable release_version, site polls: '-x' is no branch, tag or commit. Write one, such as v1.2.",
        ),
        (
            "some_shop",
            ">=2",
            "variable release_version, site some_shop: '>=2' is no version of a package. Write one, such as v1.2.",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(site, version, sentence):
    assert faults_of(SITES, site, version) == [sentence]
    with pytest.raises(AnsibleFilterError, match="variable "):
        selected(SITES, site, version)


def test_a_version_for_all_sites_is_refused_where_one_of_them_has_none():
    (fault,) = faults_of(SITES, "", "1.1")
    assert fault.startswith("variable release_version, site blog: its source is a folder")


# --- hooks --------------------------------------------------------------------------------------------------------

HOOKS = [
    {"when": "before_migrate", "command": "manage.py createcachetable"},
    {"when": "before_migrate", "command": "python ./manage.py show 'two words'", "site": "polls"},
    {"when": "before_migrate", "command": "celery inspect ping", "site": "blog"},
    {"when": "after_activation", "command": "python -m this", "site": ""},
]


def test_a_site_has_its_own_hooks_and_those_of_all_in_their_order():
    assert hooks_of(HOOKS, "polls", "before_migrate") == [
        {"options": [], "words": ["createcachetable"]},
        {"options": [], "words": ["show", "two words"]},
    ]
    assert hooks_of(HOOKS, "blog", "before_migrate")[1:] == [
        {"options": ["--program"], "words": ["celery", "inspect", "ping"]}
    ]
    assert hooks_of(HOOKS, "polls", "after_activation") == [
        {"options": ["--program"], "words": ["python", "-m", "this"]}
    ]


def test_hooks_that_cannot_run_are_refused():
    faults = Faults()
    hooks = [
        *HOOKS,
        {"when": "before_migrate", "command": "manage.py 'x", "site": "pols"},
        {"when": "before_migrate", "command": " "},
        {"when": "before_migrate", "command": "x", "site": "forum"},
    ]
    check_hooks(hooks, ["polls", "blog"], faults)
    assert faults.sentences == [
        "variable release_hooks, item 5: there is no site 'pols' in ntier_sites. Did you mean 'polls'?",
        'variable release_hooks, item 5: the command "manage.py \'x" has a quote without its second one. Close it.',
        "variable release_hooks, item 6: the command ' ' is none. Write one, such as manage.py createcachetable.",
        "variable release_hooks, item 7: there is no site 'forum' in ntier_sites. The inventory has polls and blog.",
    ]


def test_what_has_another_type_is_left_to_the_check_of_types():
    faults = Faults()
    check_hooks("manage.py x", ["polls"], faults)
    check_hooks(["manage.py x", {"command": 1}], ["polls"], faults)
    assert not faults


# --- a command ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sites", "site", "command", "sentences"),
    [
        ([BLOG], None, "clearsessions", []),
        (SITES, "polls", "clearsessions", []),
        (SITES, None, "check", ["variable site: is missing, and there are the sites polls, some_shop and blog. Name"]),
        (SITES, "pols", "check", ["variable site: there is no site 'pols' in ntier_sites. Did you mean 'polls'?"]),
        ([BLOG], None, None, ["variable command: is missing, or no text. Write it as in -e 'command="]),
        ([BLOG], None, "  ", ["variable command: is missing, or no text. Write it as in -e 'command="]),
        ([BLOG], "", "x 'y", ['variable command: the command "x \'y" has a quote without its second one. Write']),
    ],
)
def test_a_command_needs_a_site_and_words(sites, site, command, sentences):
    faults = Faults()
    check_command(sites, site, command, faults)
    assert len(faults.sentences) == len(sentences)
    for found, expected in zip(faults.sentences, sentences, strict=True):
        assert found.startswith(expected)


@pytest.mark.parametrize("command", ["dumpdata 'two words'", "manage.py dumpdata 'two words'", "./manage.py dumpdata two\\ words"])  # fmt: skip
def test_a_command_may_be_written_as_people_do(command):
    assert words_of(command) == ["dumpdata", "two words"]
