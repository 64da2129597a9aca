# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Releases as they lie on a host, and what one is made of. Used by the modules; nothing here changes a host."""

from __future__ import annotations

import hashlib
import json
import os
import re

#: The file that a release gets when it is live and has answered. A run that was cut off before that leaves a folder without it, which
#: the next run replaces.
RECORD = "release.json"
#: What every site needs beside its own requirements.
BASE_PACKAGES = ("pymemcache>=4",)
#: App server → what a release needs to run in it. granian's start uses what another minor version may name otherwise; mod_wsgi is part of Apache.
APP_SERVERS = {
    "gunicorn": ("gunicorn>=23",),
    "granian": ("granian>=2.8,<2.9",),
    "uwsgi": ("pyuwsgi>=2.0.30",),
    "mod_wsgi": (),
}
#: Drivers of PostgreSQL that a project may bring itself.
DRIVERS = ("psycopg", "psycopg2", "psycopg2-binary")
#: Where projects keep their requirements, the first that is there counts.
REQUIREMENT_FILES = (
    "requirements.txt",
    "requirements/production.txt",
    "requirements/prod.txt",
    "requirements/base.txt",
)


def last_lines(text, count=15):
    """Return the last lines of a program's output that say something."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-count:])


def bytes_in(folder):
    """Return how many bytes the files in a folder and below it have; none where there is no such folder."""
    return sum(
        os.lstat(os.path.join(parent, name)).st_size for parent, _folders, names in os.walk(folder) for name in names
    )


def base_packages(site):
    """Return what a site needs beside its own requirements, as requirement specifiers.

    :arg site: one entry of C(release_sites); without C(app_server) it is gunicorn.
    """
    return [*APP_SERVERS[site.get("app_server") or "gunicorn"], *BASE_PACKAGES]


def inputs_digest(site):
    """Return a name for all that decides what a release contains: the same inputs give the same release.

    :arg site: one entry of C(release_sites), with C(source.revision) and C(configuration).
    """
    # Where the controller keeps a folder or a key is not what is in it: another person's checkout gives the same release.
    local = ("key_file", "location") if site["source"].get("kind") == "path" else ("key_file",)
    site = {**site, "source": {key: value for key, value in site["source"].items() if key not in local}}
    keys = ("source", "python", "requirements", "packages", "configuration")
    content = json.dumps([{key: site.get(key) for key in keys}, base_packages(site)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def releases_of(folder):
    """Return the releases of a site as they lie on the host.

    :arg folder: the site's folder, which has C(releases) and C(current).
    :return: C(live), the name of the live release or None; C(complete), name → record, oldest first; C(broken), names
        of folders without a record, which a run left behind that did not end well.
    """
    releases = os.path.join(folder, "releases")
    current = os.path.join(folder, "current")
    live = os.path.basename(os.path.realpath(current)) if os.path.exists(current) else None
    complete, broken = {}, []
    for name in sorted(os.listdir(releases)) if os.path.isdir(releases) else []:
        try:
            with open(os.path.join(releases, name, RECORD), encoding="utf-8") as file:
                complete[name] = json.load(file)
        except (OSError, ValueError):
            broken.append(name)
    return {"live": live, "complete": complete, "broken": broken}


def activated(name, record):
    """Return when a release was last live, as ISO time in UTC: as its record says, or else when it was made, as its name says."""
    match = re.match(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)", name)
    made = "{}-{}-{}T{}:{}:{}+00:00".format(*match.groups()) if match else "1970-01-02T00:00:00+00:00"
    said = re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d", str((record or {}).get("activated")))
    return said.group().replace(" ", "T") + "+00:00" if said else made


def by_time(complete):
    """Return the names of complete releases, the one that was live last at the end."""
    return sorted(complete, key=lambda name: (activated(name, complete[name]), name))


def removable(state, keep):
    """Return the releases that may go: broken ones, and complete ones beyond the *keep* that were live last, never the live one."""
    names = [name for name in by_time(state["complete"]) if name != state["live"]]
    spare = max(0, len(names) - max(0, keep - 1))
    return [name for name in state["broken"] if name != state["live"]] + names[:spare]


def pick_revision(answer, version):
    """Return the commit that C(git ls-remote) names for a branch, tag or commit, or None.

    :arg answer: the output of C(git ls-remote URL), one C(commit<TAB>reference) a line.
    """
    references = {}
    for line in answer.splitlines():
        commit, tab, reference = line.partition("\t")
        if tab:
            references[reference] = commit
    for reference in (f"refs/tags/{version}^{{}}", f"refs/tags/{version}", f"refs/heads/{version}", version):
        if reference in references:
            return references[reference]
    return version.lower() if re.fullmatch(r"[0-9a-fA-F]{40}", version) else None


def wanted_django(settings_text):
    """Return the requirement that C(django-admin startproject) hints at in the settings that it wrote, or plain Django."""
    match = re.search(r"Generated by 'django-admin startproject' using Django (\d+\.\d+)", settings_text)
    return f"Django~={match.group(1)}.0" if match else "Django"


def package_names(lock):
    """Return the names in a lock file as packages are compared: lower case, with dashes."""
    names = re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)", lock, flags=re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


def driver_for(lock):
    """Return the PostgreSQL driver to add to a project's packages, or None when it brings one."""
    if package_names(lock) & set(DRIVERS):
        return None
    match = re.search(r"^django==(\d+)\.(\d+)", lock, flags=re.MULTILINE | re.IGNORECASE)
    # psycopg 3 is known to Django from 4.2 on.
    old = match and (int(match.group(1)), int(match.group(2))) < (4, 2)
    return "psycopg2-binary>=2.8" if old else "psycopg[binary]>=3.1.8"
