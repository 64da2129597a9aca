# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Addresses of hosts: what Ansible connects to, and what the hosts of a cluster reach each other at."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from .faults import shown, type_name

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")


class AddressError(ValueError):
    """A value is no address of a host: C(what) is wrong with it; C(fix) is what to write, empty where that is not known."""

    def __init__(self, what: str, fix: str = "") -> None:
        self.what, self.fix = what, fix
        super().__init__(what)


def parse(value: t.Any) -> str:
    """Return an IP address or host name in its usual form.

    :arg value: of C(ansible_host) or C(ntier_address), as the inventory has it.
    :raises AddressError: when other hosts can't reach a host by it.
    """
    if isinstance(value, (list, dict)):
        raise AddressError(f"is {type_name(value)}, and a host has one address", "Write one address")
    text = "" if value is None else str(value).strip()
    if not text:
        raise AddressError("is empty, so the host has no address")
    try:
        return _check_number(text, ipaddress.ip_address(text))
    except ValueError as error:
        if isinstance(error, AddressError):
            raise
    meant = _meant(text)
    if meant:
        raise AddressError(f"{shown(value)} is no address", meant)
    # 10.0.0.300 would pass as a host name.
    if len(text) > 253 or not _NAME.fullmatch(text) or re.fullmatch(r"[0-9.]+", text):
        raise AddressError(f"{shown(value)} is no address")
    return text.lower()


def is_local(address: str) -> bool:
    """Return whether every host means itself by an address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address in _LOCAL_NAMES


def _check_number(text: str, parsed: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = getattr(parsed, "ipv4_mapped", None)
    if mapped:
        raise AddressError(f"{shown(text)} is an IPv4 address in the form of an IPv6 address", f"Write {mapped}")
    for kind, what in (
        ("is_unspecified", "stands for every address"),
        ("is_multicast", "is a multicast address"),
        ("is_link_local", "is a link-local address, which counts on one network interface alone"),
    ):
        if getattr(parsed, kind):
            raise AddressError(f"{shown(text)} {what}, and not a host's")
    if parsed.version == 4 and parsed.is_reserved:
        raise AddressError(f"{shown(text)} is a reserved or broadcast address, and not a host's")
    return str(parsed)


def _meant(text: str) -> str:
    """Return what to write in place of an address with something around it, or an empty text."""
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::(\d+))?", text)
    if bracketed:
        return f"Write {bracketed[1]}, without brackets" + (
            f", and ansible_port: {bracketed[2]}" if bracketed[2] else ""
        )
    url = re.fullmatch(r"\w+://([^/]+)/?", text)
    if url:
        return f"Write {url[1]} alone"
    user = re.fullmatch(r"([\w.-]+)@([^@\s]+)", text)
    if user:
        return f"Write {user[2]}, and ansible_user: {user[1]}"
    port = re.fullmatch(r"([\w.-]+):(\d+)", text)
    if port:
        return f"Write {port[1]}, and ansible_port: {port[2]}"
    network = re.fullmatch(r"([0-9A-Fa-f:.]+)/\d+", text)
    if network:
        return f"Write {network[1]}, without the length of the network's prefix"
    if re.fullmatch(r"\d+(,\d+){3}", text):
        return f"Write {text.replace(',', '.')}"
    return ""
