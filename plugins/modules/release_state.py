#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compare the releases on a host with what the sources say now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_state
short_description: Which sites need a new release
version_added: 1.0.0
author: ntier.django maintainers (@ntier)
description:
  - Reads the releases of all sites on a host in one go, asks git repositories for the commit of a branch or tag, and says which sites need a build.
  - Changes nothing.
options:
  sites:
    description: The sites of the role P(ntier.django.release#role), with C(source.revision) where the controller knows it.
    type: list
    elements: dict
    required: true
  home:
    description: Folder below which each site has its own.
    type: path
    default: /srv
  uv:
    description: Path of uv; its version is returned.
    type: path
    required: true
  targets:
    description:
      - What this module returned as C(sites) on the host that builds. Then nothing is compared with the sources, and C(install) says what this host lacks.
    type: list
    elements: dict
  build:
    description: Whether a release may be built; otherwise what is live is what shall be live.
    type: bool
    default: true
  host:
    description: How the user calls the host that asks the repositories, for messages.
    type: str
    default: ""
    version_added: 1.2.0
  keep:
    description: How many releases of a site to keep, the live one among them.
    type: int
    default: 3
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
"""

EXAMPLES = r"""
- name: See which sites need a release
  ntier.django.release_state:
    sites: "{{ release_sites | ntier.django.with_revisions }}"
    uv: /opt/ntier/tools/bin/uv
  register: __release_state
"""

RETURN = r"""
build:
  description: The sites that need a release, each with C(revision), C(inputs), C(release) (the name for it) and C(live).
  type: list
  elements: dict
  returned: success
install:
  description: The sites whose live release is not the target, each with C(present), whether the release is here already.
  type: list
  elements: dict
  returned: when C(targets) is given
sites:
  description: Site by site the release that shall be live, with C(name), C(release), C(revision), C(inputs).
  type: list
  elements: dict
  returned: success
found:
  description: Site by site what is on the host; C(live), the live release or nothing, and C(complete), the records of those that are whole, by their names.
  type: dict
  returned: success
remove:
  description: Folders of releases that may go, as far as this host knows.
  type: list
  elements: str
  returned: success
failures:
  description: Site → what a user reads, of the sites whose source can't be asked. When it is all of them the module fails.
  type: dict
  returned: success
uv_version:
  description: The version of uv, or nothing when it is not there, or when a site's user could not run or read all of its virtual environment.
  type: str
  returned: success
"""

import os  # noqa: E402
import stat  # noqa: E402
import subprocess  # noqa: E402
from datetime import datetime, timezone  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ansible_collections.ntier.django.plugins.module_utils import releases, requirements  # noqa: E402


def ask_git(source, key_file):
    """Return the commit of a git source and an error, one of them None."""
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}
    environment["GIT_SSH_COMMAND"] = ssh_command(key_file)
    version = source.get("version") or "HEAD"
    try:
        done = subprocess.run(
            ["git", "ls-remote", "--", source["location"]],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
            check=False,
        )
    except FileNotFoundError:
        return None, "git is not installed yet"
    except subprocess.TimeoutExpired:
        return None, f"no answer within 60 seconds. {REACH}"
    if done.returncode:
        return None, f"{requirements.masked(releases.last_lines(done.stderr))}\n{REACH}"
    commit = releases.pick_revision(done.stdout, version)
    return commit, None if commit else f"it has no branch, tag or commit '{version}'. Correct the version, or push it."


def ssh_command(key_file):
    """Return how git calls ssh: with the site's deploy key, never with a question."""
    command = "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new"
    return f"{command} -o IdentitiesOnly=yes -i '{key_file}'" if key_file else command


def open_to_all(folder):
    """Return whether every user may read all that is in a folder, and run what its owner may run."""
    for place, _folders, names in os.walk(folder):
        for path in (place, *(os.path.join(place, name) for name in names)):
            mode = os.lstat(path).st_mode
            wanted = 0o005 if mode & 0o100 else 0o004
            if not stat.S_ISLNK(mode) and mode & wanted != wanted:
                return False
    return True


def uv_version(path):
    """Return the version of uv at a path, or an empty text; also when not every user can use the virtual environment that it is in."""
    if not open_to_all(os.path.dirname(os.path.dirname(path))):
        return ""
    try:
        return subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout.split()[1]
    except (OSError, subprocess.SubprocessError, IndexError):
        return ""


#: What to do about a repository that the host can't ask.
REACH = "Make it reachable from this host, which fetches it itself; a private one needs key_file."


class SourceError(Exception):
    """A source can't be asked; the message says which and why."""


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "sites": {"type": "list", "elements": "dict", "required": True},
            "home": {"type": "path", "default": "/srv"},
            "uv": {"type": "path", "required": True},
            "targets": {"type": "list", "elements": "dict"},
            "build": {"type": "bool", "default": True},
            "keep": {"type": "int", "default": 3},
            "host": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    names = [site["name"] for site in module.params["sites"]]
    for site in module.params["sites"]:
        for place in ("index", "location"):
            # A short word, or one in a site's name, would be cut out of folders and releases as well, which others read.
            words = [word for word in requirements.passwords_in(site["source"].get(place)) if len(word) > 5]
            module.no_log_values.update(word for word in words if not any(word in name for name in names))
    try:
        result = compare_with_targets(module.params) if module.params["targets"] is not None else compare(module)
    except SourceError as error:
        module.fail_json(msg=f"{error}\nThe running releases stay live.")
    module.exit_json(changed=False, uv_version=uv_version(module.params["uv"]), **result)


def compare_with_targets(params):
    """Return what a host lacks of what shall be live."""
    targets = {target["name"]: target for target in params["targets"]}
    install, remove, found = [], [], {}
    for site in params["sites"]:
        folder = os.path.join(params["home"], site["name"])
        state = found[site["name"]] = releases.releases_of(folder)
        target = targets.get(site["name"], {})
        wanted = target.get("release")
        lacks = bool(wanted) and not (state["live"] == wanted and wanted in state["complete"])
        if lacks:
            # One that was switched to and not recorded is whole: a site must not lose the code that it runs.
            present = wanted in state["complete"] or wanted == state["live"]
            install.append({**site, **target, "live": state["live"], "present": present})
        names = releases.removable(state, params["keep"] - lacks)
        remove += [os.path.join(folder, "releases", name) for name in names if name != wanted]
    sites = list(targets.values())
    return {"build": [], "install": install, "sites": sites, "remove": remove, "found": found, "failures": {}}


def compare(module):
    """Return which sites need a build, on the host that builds."""
    now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
    build, sites, remove, failures, found = [], [], [], {}, {}
    for site in module.params["sites"]:
        folder = os.path.join(module.params["home"], site["name"])
        state = found[site["name"]] = releases.releases_of(folder)
        record = state["complete"].get(state["live"]) or {}
        source = dict(site["source"])
        if source["kind"] == "git" and module.params["build"]:
            source["revision"], error = ask_git(
                source, f"/etc/ntier/keys/{site['name']}" if source.get("key_file") else None
            )
            if error and not module.check_mode:
                place = f" on host {module.params['host']}" if module.params.get("host") else ""
                failures[site["name"]] = (
                    f"Site {site['name']}{place}: its source {requirements.masked(source['location'])} can't be fetched: {error}"
                )
        site = {**site, "source": source}
        inputs = releases.inputs_digest(site)
        wanted = {key: record.get(key) for key in ("release", "revision", "inputs")}
        lacks = module.params["build"] and record.get("inputs") != inputs and site["name"] not in failures
        if lacks:
            revision = str(source["revision"] or "unknown")
            wanted = {"release": f"{now}-{revision[:12]}", "revision": revision, "inputs": inputs}
            build.append({**site, **wanted, "live": state["live"], "present": False})
        sites.append({"name": site["name"], **wanted})
        # A release that is about to be built counts, so that an unchanged run finds nothing left to remove.
        remove += [
            os.path.join(folder, "releases", name)
            for name in releases.removable(state, module.params["keep"] - bool(lacks))
        ]
    if failures and len(failures) == len(sites):
        raise SourceError("\n".join(failures.values()))
    for name in failures:
        live = found[name]["live"]
        failures[name] += f"\nRelease {live} stays live." if live else "\nThe site has no live release yet."
    return {"build": build, "sites": sites, "remove": remove, "found": found, "failures": failures}


if __name__ == "__main__":
    main()
