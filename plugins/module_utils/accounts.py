# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The accounts and groups of the sites on a host: which exist, and whether they are the sites' own. Nothing here changes a host."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd

#: In the comment (GECOS field) of every account that the role host creates. Accounts of earlier versions have no comment.
MARK = "ntier.django"
#: Shells that admit nobody.
NO_LOGIN = ("nologin", "false")


def look(numbers):
    """Return what this host has under the names and the numbers of the sites' users.

    :arg numbers: name → number.
    :return: name → C(account) with C(uid), C(gid), C(home), C(shell) and C(comment), or None; C(group) with C(gid), or None; C(uid_of) and C(gid_of), the
        other account and the other group that have the number, or an empty text. Directories that the host asks (LDAP) count.
    """
    return {name: _look(name, int(number)) for name, number in numbers.items()}


def _look(name, number):
    found = dict.fromkeys(("account", "group"), None) | dict.fromkeys(("uid_of", "gid_of"), "")
    with contextlib.suppress(KeyError):
        entry = pwd.getpwnam(name)
        found["account"] = {
            "uid": entry.pw_uid,
            "gid": entry.pw_gid,
            "home": entry.pw_dir,
            "shell": entry.pw_shell,
            "comment": entry.pw_gecos,
        }
    with contextlib.suppress(KeyError):
        found["group"] = {"gid": grp.getgrnam(name).gr_gid}
    with contextlib.suppress(KeyError):
        found["uid_of"] = pwd.getpwuid(number).pw_name
    with contextlib.suppress(KeyError):
        found["gid_of"] = grp.getgrgid(number).gr_name
    for key in ("uid_of", "gid_of"):
        found[key] = "" if found[key] == name else found[key]
    return found


def is_ours(name, number, account, home="/srv"):
    """Return whether an account is one that the role host has created, in this version or an earlier one.

    Earlier versions left the comment empty, and the first ones had the system choose the number.
    """
    if MARK in account["comment"]:
        return True
    closed = os.path.basename(account["shell"]) in NO_LOGIN or account["uid"] == number
    return account["home"] == os.path.join(home, name) and closed


def faults_of(name, number, found, fixed=False, home="/srv"):
    """Return why a site can't have its user on a host: pairs of what is wrong there and what to do.

    :arg found: what L(look) has found under the name.
    :arg fixed: whether the number has to be the same on every host, since files are shared by NFS.
    """
    account, group = found["account"], found["group"]
    if account and not is_ours(name, number, account, home):
        what = (
            f"has an account '{name}' already (uid {account['uid']}, gid {account['gid']}, shell {account['shell'] or 'none'},"
            f" home {account['home'] or 'none'}), which was not created for site {name}"
        )
        return [
            (what, f"Give the site another name. If the account is the site's own: usermod --comment {MARK} {name}")
        ]
    if group and not account and group["gid"] != number:
        what = f"has a group '{name}' already (gid {group['gid']}), which was not created for site {name}"
        return [(what, f"Give the site another name, or remove the group if nothing needs it: groupdel {name}")]
    if account and group and account["gid"] != group["gid"]:
        what = (
            f"has a group '{name}' (gid {group['gid']}), which is not the group of the account '{name}' (gid"
            f" {account['gid']}), so it was not created for site {name}"
        )
        return [(what, "Give the site another name")]
    if account:
        if fixed and account["uid"] != number:
            what = (
                f"the user of site {name} has the number {account['uid']} there and {number} in the cluster,"
                " and files are shared by NFS, which goes by numbers"
            )
            fix = (
                f"Set uid of the site to the number that the user has on every host; or remove the user there (userdel"
                f" {name}) and give its files to {number}"
            )
            return [(what, fix)]
        return []
    free = "Set uid of the site to a number that is free on every host"
    result = []
    if found["uid_of"]:
        result.append(
            (f"the account '{found['uid_of']}' has the uid {number}, which the user of site {name} is to have", free)
        )
    if found["gid_of"]:
        result.append(
            (f"the group '{found['gid_of']}' has the gid {number}, which the group of site {name} is to have", free)
        )
    return result
