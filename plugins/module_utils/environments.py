# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packages that releases of a site share.

A release has a virtual environment of its own, so that its interpreter knows which release it belongs to. What is large in it, the packages, lies
once for all releases with the same requirements, in F(environments/KEY) beside F(releases): C(lib) and whatever else packages install, C(bin) with
their programs, C(wheels) for hosts that lack them, and F(environment.json), which is there when all else is.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil

#: The file in a release that names its packages.
KEY = "requirements.key"
#: The file in an environment that says that it is whole, and which virtual environment it was made in.
RECORD = "environment.json"
#: What each virtual environment has for itself.
OWN = ("bin", "pyvenv.cfg", ".gitignore", ".lock", "CACHEDIR.TAG")
#: Whatever changes in how packages are installed gets another number here, so that none of the old way is used.
METHOD = 1
#: Options of requirement files that decide how a package is built.
BUILD_OPTIONS = ("--no-binary", "--only-binary")
#: Printed by an interpreter: what compiled packages depend on.
IDENTITY = "import sys, sysconfig, platform; print(sys.version, sysconfig.get_platform(), platform.libc_ver(), sys.base_prefix)"


def key_of(lock, options, python):
    """Return the key of the packages that a lock file asks for, or None if it does not say all that is in them.

    :arg lock: the value of C(requirements.read_lock); each package has to have a version and hashes, which a folder or a repository has not.
    :arg options: (name, value) of the options that the requirement files have.
    :arg python: what the interpreter prints for C(IDENTITY).
    """
    if not lock.entries or not all(entry.hashes and "==" in entry.text for entry in lock.entries):
        return None
    packages = sorted([entry.text, sorted(entry.hashes)] for entry in lock.entries)
    chosen = sorted([name, value] for name, value in options if name in BUILD_OPTIONS)
    content = json.dumps([METHOD, python.strip(), packages, chosen])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def read_key(release):
    """Return the key of a release's packages, or None if it has packages of its own alone."""
    try:
        with open(os.path.join(release, KEY), encoding="utf-8") as file:
            return file.read().strip() or None
    except OSError:
        return None


def write_key(release, key):
    """Note the key of a release's packages."""
    with open(os.path.join(release, KEY), "w", encoding="utf-8") as file:
        file.write(f"{key}\n")


def store_of(release):
    """Return the folder with the environments of the site that a release belongs to."""
    return os.path.join(os.path.dirname(os.path.dirname(release)), "environments")


def is_whole(release, key):
    """Return whether the packages of a key are on this host."""
    return bool(key) and os.path.isfile(os.path.join(store_of(release), key, RECORD))


def share(release, key):
    """Make the packages of a release, which have just been installed, those of all releases with this key. Needs root's rights."""
    venv, store = os.path.join(release, "venv"), store_of(release)
    if is_whole(release, key):
        return
    new = os.path.join(store, ".new")
    for left in (new, os.path.join(store, key)):
        shutil.rmtree(left, ignore_errors=True)
    os.makedirs(os.path.join(new, "bin"))
    for name in os.listdir(venv):
        if name not in OWN:
            os.rename(os.path.join(venv, name), os.path.join(new, name))
    for path in _programs(os.path.join(venv, "bin")):
        shutil.copy2(path, os.path.join(new, "bin"))
    os.rename(os.path.join(release, "wheels"), os.path.join(new, "wheels"))
    with open(os.path.join(new, RECORD), "w", encoding="utf-8") as file:
        json.dump({"venv": venv}, file)
    owner = os.stat(release)
    for path in (new, os.path.join(new, "bin"), *_programs(os.path.join(new, "bin")), os.path.join(new, RECORD)):
        os.chown(path, owner.st_uid, owner.st_gid)
        os.chmod(path, 0o640 if path.endswith(RECORD) else 0o750)  # whatever the umask is
    os.rename(new, os.path.join(store, key))
    _link(release, key)


def use(release, key):
    """Give a release's new virtual environment the packages of a key, which are on this host."""
    venv, shared = os.path.join(release, "venv"), os.path.join(store_of(release), key)
    with open(os.path.join(shared, RECORD), encoding="utf-8") as file:
        made_in = json.load(file)["venv"]
    for name in os.listdir(venv):
        path = os.path.join(venv, name)
        if name not in OWN:
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    for path in _programs(os.path.join(shared, "bin")):
        with open(path, "rb") as file:
            content = file.read()
        if b"\0" not in content:
            content = content.replace(made_in.encode(), venv.encode())
        target = os.path.join(venv, "bin", os.path.basename(path))
        with open(target, "wb") as file:
            file.write(content)
        os.chmod(target, os.stat(path).st_mode & 0o777)
    _link(release, key)


def _programs(folder):
    """Return the files of a folder of programs; the interpreter is a link, which each virtual environment has of its own."""
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    return [path for path in paths if os.path.isfile(path) and not os.path.islink(path)]


def _link(release, key):
    """Lead from a release to the packages of a key."""
    shared, venv, wheels = (
        os.path.join(store_of(release), key),
        os.path.join(release, "venv"),
        os.path.join(release, "wheels"),
    )
    for name in os.listdir(shared):
        if name not in ("bin", "wheels", RECORD):
            os.symlink(os.path.join("../../../environments", key, name), os.path.join(venv, name))
    if os.path.islink(wheels):
        os.unlink(wheels)
    os.symlink(os.path.join("../../environments", key, "wheels"), wheels)


def unused(site):
    """Return the folders of packages of a site that no release of it uses.

    :arg site: the site's folder, which has C(releases) and C(environments).
    """
    store, releases = os.path.join(site, "environments"), os.path.join(site, "releases")
    names = os.listdir(releases) if os.path.isdir(releases) else []
    used = {read_key(os.path.join(releases, name)) for name in names}
    kept = os.listdir(store) if os.path.isdir(store) else []
    return [os.path.join(store, name) for name in sorted(kept) if name not in used]
