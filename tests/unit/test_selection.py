"""Which sites a release is for, and at which version, as the command line says."""

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.ntier.django.plugins.filter.selection import selected
from ansible_collections.ntier.django.plugins.plugin_utils.faults import Faults
from ansible_collections.ntier.django.plugins.plugin_utils.selection import select, version_of

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
