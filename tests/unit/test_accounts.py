"""A site runs as an account of its own, and never as one that a host has for something else."""

import collections
import grp
import pwd

import pytest
from clusters import ONE_BOX, build

from ansible_collections.ntier.django.plugins.action.plan import check_accounts
from ansible_collections.ntier.django.plugins.module_utils import accounts
from ansible_collections.ntier.django.plugins.plugin_utils.faults import Faults

Passwd = collections.namedtuple("Passwd", "pw_name pw_uid pw_gid pw_gecos pw_dir pw_shell")
Group = collections.namedtuple("Group", "gr_name gr_gid")
NUMBER = 22531
NOTHING = {"account": None, "group": None, "uid_of": "", "gid_of": ""}


def account(**more):
    """Return the account of the site blog as the role host creates it."""
    made = {"uid": NUMBER, "gid": NUMBER, "home": "/srv/blog", "shell": "/usr/sbin/nologin"}
    return {**made, "comment": "Django site blog (ntier.django)", **more}


def found(account=None, gid=None, **more):
    return {**NOTHING, "account": account, "group": None if gid is None else {"gid": gid}, **more}


@pytest.mark.parametrize(
    "there",
    [
        NOTHING,
        found(account(), NUMBER),
        # Of earlier versions, the first of which had the system choose the number; an administrator has given one a shell.
        found(account(comment=""), NUMBER),
        found(account(comment="", uid=998, gid=998), 998),
        found(account(comment="", shell="/bin/bash"), NUMBER),
        # Handed over with usermod --comment.
        found(account(comment="ntier.django", uid=1001, gid=1001, home="/home/blog", shell="/bin/bash"), 1001),
        # A run was cut off between group and user.
        found(gid=NUMBER),
    ],
)
def test_an_account_of_the_sites_own_is_used(there):
    assert accounts.faults_of("blog", NUMBER, there) == []


@pytest.mark.parametrize(
    ("there", "what", "fix"),
    [
        (
            found(account(uid=1000, gid=1000, comment="Debian,,,", home="/home/blog", shell="/bin/bash"), 1000),
            "an account 'blog' already (uid 1000, gid 1000, shell /bin/bash, home /home/blog), which was not created for site blog",
            "usermod --comment ntier.django blog",
        ),
        (found(account(comment="", uid=1000, shell="/bin/bash"), 1000), "an account 'blog' already", "another name"),
        (found(account(comment="", home="/var/lib/blog"), NUMBER), "an account 'blog' already", "another name"),
        (found(account(comment="", uid=110, home="/nonexistent"), 65534), "an account 'blog' already", "another name"),
        (found(gid=27), "a group 'blog' already (gid 27), which was not created", "groupdel blog"),
        (found(account(), 27), "a group 'blog' (gid 27), which is not the group of the account", "another name"),
        (found(uid_of="ubuntu"), f"the account 'ubuntu' has the uid {NUMBER}", "Set uid of the site"),
        (found(gid_of="docker"), f"the group 'docker' has the gid {NUMBER}", "Set uid of the site"),
    ],
)
def test_an_account_or_group_that_was_not_created_for_the_site_is_refused(there, what, fix):
    (fault,) = accounts.faults_of("blog", NUMBER, there)
    assert what in fault[0] and fix in fault[1]


def test_where_files_are_shared_the_number_has_to_be_the_clusters():
    there = found(account(uid=998, gid=998), 998)
    assert accounts.faults_of("blog", NUMBER, there) == []
    (fault,) = accounts.faults_of("blog", NUMBER, there, fixed=True)
    assert f"has the number 998 there and {NUMBER} in the cluster" in fault[0]


def test_names_and_numbers_are_looked_up_as_the_host_resolves_them(monkeypatch):
    people = [
        Passwd("deploy", 1001, 1002, "", "/home/deploy", "/bin/bash"),
        Passwd("blog", 22531, 22531, "", "/srv/blog", "/bin/false"),
    ]
    groups = [Group("deploy", 1002), Group("sudo", 27), Group("blog", 22531)]

    def by(entries, field):
        index = {getattr(entry, field): entry for entry in entries}
        return lambda key: index[key]

    monkeypatch.setattr(pwd, "getpwnam", by(people, "pw_name"))
    monkeypatch.setattr(pwd, "getpwuid", by(people, "pw_uid"))
    monkeypatch.setattr(grp, "getgrnam", by(groups, "gr_name"))
    monkeypatch.setattr(grp, "getgrgid", by(groups, "gr_gid"))
    assert accounts.look({"deploy": 27, "sudo": 1001, "blog": 22531, "shop": 22531}) == {
        "deploy": {
            "account": {"uid": 1001, "gid": 1002, "home": "/home/deploy", "shell": "/bin/bash", "comment": ""},
            "group": {"gid": 1002},
            "uid_of": "",
            "gid_of": "sudo",
        },
        "sudo": {"account": None, "group": {"gid": 27}, "uid_of": "deploy", "gid_of": ""},
        "blog": found(account(shell="/bin/false", comment=""), 22531),
        "shop": {"account": None, "group": None, "uid_of": "blog", "gid_of": "blog"},
    }


def test_the_playbooks_refuse_it_before_anything_is_changed_and_name_the_host():
    faults = Faults()
    cluster = build(ONE_BOX)
    (site,) = cluster["sites"]
    check_accounts(cluster, "box1", {site["name"]: found(gid=27)}, faults)
    (fault,) = faults.sentences
    assert fault.startswith("host box1: has a group 'blog' already (gid 27)")
    # What an older module has not looked up is no fault, nor is a site that nobody asked about.
    check_accounts(cluster, "box1", {}, faults)
    assert len(faults) == 1
