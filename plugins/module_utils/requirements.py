# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requirement files and lock files, read as pip reads them. Pure functions, but for reading files that files name."""

from __future__ import annotations

import json
import os
import re

PYPI = "https://pypi.org/simple"
#: Options that uv reads itself in a requirement file; what comes of them stands in the lock file.
READ = {"--index-url", "--extra-index-url", "--find-links", "--no-index", "--no-binary", "--only-binary"}
#: Options that are handed on to uv, and where that matters to pip.
HANDED = {"--pre", "--trusted-host", "--require-hashes"}
_SHORT = {"-i": "--index-url", "-f": "--find-links", "-r": "--requirement", "-c": "--constraint", "-e": "--editable"}
_OPTION = re.compile(r"(--?[A-Za-z][A-Za-z0-9-]*)(?:\s*=\s*|\s+|$)(.*)")
_HASH = re.compile(r"--hash[=\s]\s*([A-Za-z0-9]+:[0-9A-Fa-f]+)")
_CREDENTIALS = re.compile(r"(?<=://)[^/\s\"']+@")
#: Words in the credentials of an address that are the same for everybody. What stands beside them is the password.
_NO_SECRETS = {"git", "oauth2", "x-access-token", "x-oauth-basic", "x-token-auth", "__token__", "gitlab-ci-token"}
#: No user has a name as long as the shortest tokens are.
_TOKEN = 20
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>,;\])}]+")


class RequirementError(Exception):
    """A requirement file can't be used as it is; the message says where, what and the fix."""


class Entry:
    """One requirement: its text without hashes, its name as packages are compared, its hashes, and where it stands."""

    def __init__(self, text: str, hashes: list[str], where: str = "") -> None:
        self.text, self.hashes, self.where = text, hashes, where
        #: In a lock file: the index or folder that it comes from, None for an address of its own.
        self.source: str | None = None
        match = re.match(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:$|[\[;@<>=!~( ])", text)
        self.name = normal(match.group(1)) if match else None
        address = re.search(r"\S+://\S+", text)
        #: What its hashes are kept under.
        self.keys = [key for key in (self.name, address and same(address.group()).split("#")[0]) if key]


class File:
    """What a requirement file and those that it names say together."""

    def __init__(self):
        self.entries, self.constraints, self.options = [], [], []

    def values(self, option):
        """Return the values of an option."""
        return [value for name, value in self.options if name == option]


class Lock:
    """What uv has chosen: C(entries), each with C(source), and the options that led there."""

    def __init__(self):
        self.entries, self.options = [], []


def normal(name):
    """Return a package's name as names are compared: lower case, with dashes."""
    return re.sub(r"[-_.]+", "-", name).lower()


def logical_lines(text):
    """Return (number, line) of what a requirement file says, without comments and with continued lines joined."""
    lines, start, held = [], 0, ""
    for number, raw in enumerate(text.splitlines(), 1):
        start = start or number
        comment = re.match(r"\s*#", raw)
        if raw.endswith("\\") and not comment:
            held += raw[:-1] + " "
            continue
        line = re.sub(r"(^|\s)#.*$", "", held + ("" if comment else raw)).strip()
        if line:
            lines.append((start, line))
        start, held = 0, ""
    line = re.sub(r"(^|\s)#.*$", "", held).strip()
    return [*lines, (start, line)] if line else lines


def read(path, top="", seen=None):
    """Return what a requirement file says, with the files that it names.

    :arg top: the folder that names in messages start from.
    :raises RequirementError: for an option that would get lost on the way to uv and pip.
    """
    result, seen = File(), seen if seen is not None else set()
    if os.path.realpath(path) in seen:
        return result
    seen.add(os.path.realpath(path))
    shown = os.path.relpath(path, top) if top else path
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError as error:
        raise RequirementError(f"requirements: {shown} can't be read: {error.strerror}") from error
    for number, line in logical_lines(text):
        _read_line(result, line, f"{shown}, line {number}", path, top, seen)
    return result


def _read_line(result, line, where, path, top, seen):
    match = _OPTION.match(line) if line.startswith("-") else None
    if not match:
        result.entries.append(Entry(_HASH.sub("", line).strip(), _HASH.findall(line), where))
        return
    name, value = _SHORT.get(match.group(1), match.group(1)), match.group(2).strip().strip("\"'")
    if name == "--editable":
        result.entries.append(Entry(f"-e {value}", [], where))
    elif name in ("--requirement", "--constraint"):
        if "://" in value:
            raise RequirementError(
                f"requirements: {where}: {name} names {masked(value)}, which nobody checks. Keep the file in the source"
            )
        inner = read(os.path.join(os.path.dirname(path), value), top, seen)
        result.options += inner.options
        result.constraints += inner.constraints + (inner.entries if name == "--constraint" else [])
        result.entries += inner.entries if name == "--requirement" else []
    elif name in READ or name in HANDED:
        result.options.append((name, value))
    else:
        raise RequirementError(
            f"requirements: {where}: the option {name} is not supported. Take it out; of options there may be"
            f" {', '.join(sorted(READ | HANDED))}, -r, -c and -e"
        )


def hashes_of(file, complete=True):
    """Return package → the hashes that the user wants its file to have; empty where no requirement has one.

    :arg complete: whether one hash asks for one of each requirement, as pip does.
    :raises RequirementError: when some have hashes and others have none.
    """
    wanted: dict[str, list[str]] = {}
    for entry in [*file.entries, *file.constraints]:
        for key in entry.keys[:1] if entry.hashes else []:
            wanted[key] = list(dict.fromkeys([*wanted.get(key, []), *entry.hashes]))
    asked = bool(wanted) or bool(file.values("--require-hashes"))
    bare = [entry for entry in file.entries if not entry.hashes and not set(entry.keys[:1]) & set(wanted)]
    if complete and asked and bare:
        named = ", ".join(f"{masked(entry.text)} ({entry.where})" for entry in bare[:3])
        more = f" and {len(bare) - 3} more" if len(bare) > 3 else ""
        raise RequirementError(
            f"requirements: some have hashes, and {named}{more} none, so nobody could tell what is installed. Give each a hash, as"
            " 'uv pip compile --generate-hashes' does, or none"
        )
    return wanted


def read_lock(text):
    """Return what uv's lock file says, written with hashes and the comments C(# from INDEX)."""
    lock, entry = Lock(), None
    joined = re.sub(r"\\\n\s*", " ", text)
    for raw in joined.splitlines():
        source = re.match(r"\s+# from (\S+)", raw)
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        if source and entry is not None:
            entry.source = source.group(1)
        elif line.startswith("--"):
            name, _blank, value = line.partition(" ")
            lock.options.append((name, value.strip()))
        elif line:
            entry = Entry(_HASH.sub("", line).strip(), _HASH.findall(line))
            lock.entries.append(entry)
    return lock


def write_lock(lock):
    """Return the text of a lock file without the options, whose addresses may have passwords in them."""
    return "".join(_lines(entry) + (f"    # from {entry.source}\n" if entry.source else "") for entry in lock.entries)


def _lines(entry):
    return " \\\n    ".join([entry.text, *(f"--hash={value}" for value in entry.hashes)]) + "\n"


def registries(text):
    """Return package → the index that it comes from, as F(uv.lock) says; empty where all of them come from PyPI."""
    found = {}
    for block in re.split(r"^\[\[package\]\]$", text, flags=re.MULTILINE)[1:]:
        name = re.search(r'^name = "([^"]+)"', block, flags=re.MULTILINE)
        source = re.search(r'^source = \{ registry = "([^"]+)" \}', block, flags=re.MULTILINE)
        if name and source:
            found[normal(name.group(1))] = source.group(1)
    return found if set(map(same, found.values())) - {PYPI} else {}


def pinned_project(entries, places, credentials):
    """Return a F(pyproject.toml) that asks for each requirement at its own index, which a requirement file can't say.

    :arg places: package → index, the value of L(registries).
    """
    urls = sorted(set(places.values()))
    lines = ["[project]", 'name = "locked"', 'version = "0"']
    lines += ["dependencies = [", *(f"  {json.dumps(entry.text)}," for entry in entries), "]"]
    for number, url in enumerate(urls):
        real = credentials.get(same(url), url)
        lines += ["[[tool.uv.index]]", f'name = "i{number}"', f"url = {json.dumps(real)}", "explicit = true"]
    names = sorted({entry.name for entry in entries})
    lines += [
        "[tool.uv.sources]",
        *(f'{json.dumps(name)} = {{ index = "i{urls.index(places[name])}" }}' for name in names),
    ]
    return "".join(f"{line}\n" for line in lines)


def batches(lock, credentials, file):
    """Return what pip has to fetch and build, as (text of a requirement file, whether all of it has hashes).

    What comes from one index is fetched from that one and from no other, and so is what building it needs: another index that
    has the same name can't get in between.

    :arg credentials: address without a password → with it.
    :arg file: what the user's own files say.
    """
    indexes = {same(value) for name, value in lock.options if name in ("--index-url", "--extra-index-url")}
    folders = [value for name, value in lock.options if name == "--find-links"]
    default = [value for name, value in lock.options if name == "--index-url"]
    common = [f"--trusted-host {value}" for value in file.values("--trusted-host")]
    common += [f"{name} {value}" for name, value in lock.options if name in ("--no-binary", "--only-binary")]
    groups: dict[tuple[str | None, bool], list[str]] = {}
    for entry in lock.entries:
        groups.setdefault((entry.source, bool(entry.hashes)), []).append(_lines(entry))
    result = []
    for (source, hashed), lines in groups.items():
        if source is None:  # an address, a repository or a folder
            if file.values("--no-index"):
                place = ["--no-index", *(f"--find-links {folder}" for folder in folders)]
            else:
                place = [f"--index-url {credentials.get(same(value), value)}" for value in default[:1]]
        elif (source.startswith("file:") and same(source) not in indexes) or (folders and _is_folder(source, folders)):
            place = ["--no-index", f"--find-links {credentials.get(same(source), source)}"]
        else:
            place = [f"--index-url {credentials.get(same(source), source)}"]
        result.append(("".join(f"{line}\n" for line in [*place, *common]) + "".join(lines), hashed))
    return result


def _is_folder(source, folders):
    return same(source) in {same(folder) for folder in folders}


def same(url):
    """Return an address as addresses are compared: without a password and without a slash at the end."""
    return _CREDENTIALS.sub("", url).rstrip("/")


def masked(text):
    """Return a text without the names and passwords that stand in its addresses."""
    return _CREDENTIALS.sub("***@", text)


def credentials_in(*texts):
    """Return the addresses with passwords that stand in some texts: without the password → with it."""
    return {same(url): url for text in texts for url in _URL.findall(text) if _CREDENTIALS.search(url)}


def passwords_in(url):
    """Return what of an address must not be shown: a password, or a token in the place of the user's name."""
    match = _CREDENTIALS.search(url or "")
    if not match:
        return []
    user, _colon, password = match.group()[:-1].partition(":")
    found = [password] if password and password not in _NO_SECRETS else []
    alone = not found and not re.match(r"(git\+)?ssh:", url)
    if user and user not in _NO_SECRETS and (alone or len(user) >= _TOKEN):
        found.insert(0, user)
    return found
