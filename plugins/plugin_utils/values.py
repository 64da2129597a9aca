# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kinds of values that users write: each function returns what is wrong with a value and the fix, or None. Pure functions."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from .faults import shown, type_name

Fault = tuple[str, str] | None
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(\*\.)?({_LABEL}\.)*{_LABEL}", re.IGNORECASE)
_URL = re.compile(r"(?:https?|ssh|git|git\+ssh|file)://[^\s]+")
#: As git writes an address of SSH: a host, with or without a user, and a path.
_SSH = re.compile(r"(?:[\w.+-]+@)?[\w.-]+:(?!:)[^\s]+")
_REVISION = re.compile(r"[A-Za-z0-9_][\w./@+-]*")
_PYTHON = re.compile(r"[\w./@+-]+|[<>=!~,.\d]+")
#: The oldest Python that a Django of our time runs with.
LEAST_PYTHON = (3, 8)
#: Paths of a site that the collection's own web servers answer.
RESERVED_PREFIXES = ("/_ntier", "/.well-known/acme-challenge")


def domain(value: t.Any, single: bool = False) -> Fault:
    """Check a host name that visitors type; an IP address is one, too, IPv6 in brackets.

    :arg single: whether it has to be one name: neither C(*.) in front nor an IPv6 address.
    """
    if not isinstance(value, str):
        return f"is {type_name(value)} and no host name", "Write it in quotes, as in 'www.example.com'"
    if value.startswith("[") and not single:
        try:
            ipaddress.IPv6Address(value.strip("[]"))
            return None if value.endswith("]") else ("is no host name", f"Write {value}]")
        except ValueError:
            return "is no IPv6 address in brackets", "Write one, as in [2001:db8::7]"
    fits = _DOMAIN.fullmatch(value) and len(value) <= 253
    if re.fullmatch(r"[0-9.]+", value):
        try:
            ipaddress.IPv4Address(value)
            return None
        except ValueError:
            return "is no IPv4 address, and no host name has only digits", "Correct it"
    if fits and not (single and value.startswith("*.")):
        return None
    if fits:
        return "is no single name", f"Write one, as in media{value[1:]}"
    return "is no host name", _domain_fix(value)


def _domain_fix(value: str) -> str:
    """Return what to write in place of what is no host name."""
    bare = re.sub(r"^\w+://|[/?#].*$", "", value.strip())
    try:
        return f"Write [{ipaddress.IPv6Address(bare)}]"
    except ValueError:
        pass
    bare = re.sub(r":\d*$", "", bare).rstrip(".")
    if bare == "*":
        return "List each name that the site answers to; *.example.com stands for every name below one"
    if "*" in bare.removeprefix("*."):
        return "A '*' stands for the first part of a name alone, as in *.example.com"
    try:
        bare = bare.encode("idna").decode()
    except UnicodeError:
        return (
            "Write it without scheme, port and path, as in www.example.com; no part of it has more than 63 characters"
        )
    if "_" in bare:
        return f"Host names have no '_'. Write {bare.replace('_', '-')}, if that is its name"
    return (
        f"Write {bare}" if _DOMAIN.fullmatch(bare) else "Write it without scheme, port and path, as in www.example.com"
    )


def prefix(value: str) -> Fault:
    """Check a prefix against the paths that are the collection's."""
    for reserved in RESERVED_PREFIXES:
        if f"{value}/".startswith(f"{reserved}/"):
            return (
                f"the prefix {shown(value)} is the collection's own, for health checks and certificates",
                "Choose another",
            )
    return None


def repository(value: str) -> Fault:
    """Check the address of a git repository, which a web host fetches."""
    said = shown(re.sub(r"(?<=://)[^/@ ]+@", "***@", value))
    if value.startswith("-") or re.match(r"[\w+-]+::", value) or re.search(r"\s", value):
        return f"{said} is no address of a repository", "Write its URL, such as https://git.example.com/mysite.git"
    if value.startswith("/") or _URL.fullmatch(value) or _SSH.fullmatch(value):
        return None
    what = f"{said} is a path, which the web hosts would look for on themselves"
    return what, "Write the repository's URL, or source: {path: FOLDER} for a folder of this machine"


def revision(value: str) -> Fault:
    """Check a branch, tag or commit."""
    wrong = not _REVISION.fullmatch(value) or ".." in value or "//" in value or value.endswith((".", "/", ".lock"))
    return (f"{shown(value)} is no branch, tag or commit", "Write one, such as main or v1.2") if wrong else None


def python(value: str) -> Fault:
    """Check a version of Python as uv takes it."""
    if not _PYTHON.fullmatch(value):
        return f"{shown(value)} is no version of Python", "Write one, such as 3.13, or leave the key out"
    number = re.search(r"(\d+)\.(\d+)", value)
    if number and not value.startswith("/") and (int(number[1]), int(number[2])) < LEAST_PYTHON:
        return f"{shown(value)} is too old for Django", "Write a newer one, such as 3.13"
    return None


def extension(value: t.Any) -> Fault:
    """Check the name of an extension of PostgreSQL."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w$-]{0,62}", value):
        return None
    return f"{shown(value)} is no name of an extension", "Write one, such as pg_trgm"


def url_path(value: str) -> Fault:
    """Check a path of a site."""
    if not value.startswith("/"):
        return f"{shown(value)} has no slash in front", f"Write /{value}" if value.isprintable() else "Write one"
    if not re.fullmatch(r"[\x21-\x7e]+", value) or value.startswith("//"):
        return f"{shown(value)} is no path", "Write it as a browser sends it, such as /health/, with %20 for a blank"
    return None
