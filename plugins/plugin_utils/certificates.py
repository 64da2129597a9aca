# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The certificates that a user gives for sites: does a browser take each, and does its key fit? Known before any host is asked."""

from __future__ import annotations

import datetime
import ipaddress
import itertools
import os
import re
import typing as t

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
except ImportError:  # ansible-core brings it, but for the environment in which ansible-test imports plugins
    pass

from .authority import public_bytes, signed, validity
from .faults import Faults, listed
from .sites import certificate_names
from .wiring import resolve_path

#: A certificate that ends sooner is worth a warning.
WARN_DAYS = 14

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(rb"-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----.*?-----END ([A-Z0-9]+ )*PRIVATE KEY-----", re.DOTALL)
_ENCRYPTED = (b"-----BEGIN ENCRYPTED", b"Proc-Type: 4,ENCRYPTED")
_PATH_FIX = "Correct the path; a relative one starts from the inventory's folder"


def read_file(path: str) -> bytes:
    """Return the content of a file."""
    with open(path, "rb") as file:
        return file.read()


def check(
    sites: t.Iterable[t.Mapping[str, t.Any]],
    directory: str,
    faults: Faults,
    now: datetime.datetime | None = None,
    read: t.Callable[[str], bytes] = read_file,
) -> list[str]:
    """Note in *faults* every given certificate that a browser or the balancer would not take, and return what to warn of.

    :arg sites: sites as L(sites.normalise_sites) returns them. Looked at are those whose C(certificate) has a C(file),
        in PEM: the site's certificate first, then the intermediate ones. Without a C(key_file) it holds the key, too.
    :arg directory: the folder that relative paths start from.
    :arg now: the moment that counts; other than now in tests alone.
    :arg read: path → content, decrypted; raises an exception with the reason where that fails.
    :return: sentences.
    """
    now = now or datetime.datetime.now(datetime.timezone.utc)
    warnings: list[str] = []
    for site in sites:
        given = site.get("certificate") or {}
        if not given.get("file"):
            continue
        where = f"ntier_sites, site {site['name']}"
        path = resolve_path(given["file"], directory)
        chain = _chain(path, where, read, faults)
        key = _key(given, path, directory, where, read, faults)
        if not chain:
            continue
        if _is_ordered(chain, key, path, where, faults):
            _check_names(chain[0], site, path, where, faults)
        warnings += _check_time(chain, path, where, now, faults)
    return warnings


def covers(certificate: x509.Certificate, domain: str) -> bool:
    """Return whether a browser takes a certificate for a domain. C(*.example.com) in it stands for exactly one label."""
    names, addresses = _subjects(certificate)
    try:
        return ipaddress.ip_address(domain.strip("[]")) in addresses
    except ValueError:
        domain = domain.lower()
    _first, _dot, rest = domain.partition(".")
    return domain in names or (rest != "" and f"*.{rest}" in names)


def _subjects(certificate: x509.Certificate) -> tuple[list[str], list[t.Any]]:
    """Return the host names and the addresses that a certificate is for. Browsers no longer read its common name."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return [], []
    names = [name.lower().rstrip(".") for name in found.get_values_for_type(x509.DNSName)]
    return names, found.get_values_for_type(x509.IPAddress)


def _content(path: str, key: str, where: str, read: t.Callable[[str], bytes], faults: Faults) -> bytes:
    """Return what is in a file, or nothing and a fault. C(key) is the site's key that names it."""
    if not os.path.isfile(path):
        faults.add(where, f"certificate.{key} is {path}, which is no file on this controller", _PATH_FIX)
        return b""
    try:
        content = read(path)
    except Exception as error:  # what a reader that decrypts may raise is its own affair
        reason = (getattr(error, "strerror", None) or str(error)).rstrip(".")
        fix = "Let the user who runs Ansible read it, or give the vault password that it was encrypted with"
        faults.add(where, f"certificate.{key} {path} can't be read: {reason}", fix)
        return b""
    if not content.strip():
        faults.add(where, f"certificate.{key} {path} is empty", "Put the file in its place again")
    return content


def _chain(path: str, where: str, read: t.Callable[[str], bytes], faults: Faults) -> list[x509.Certificate]:
    content = _content(path, "file", where, read, faults)
    if not content.strip():
        return []
    blocks = _CERTIFICATE.findall(content)
    if not blocks:
        faults.add(
            where,
            f"certificate.file {path} has no certificate in PEM",
            "Give the file that starts with '-----BEGIN CERTIFICATE-----'; "
            "'openssl x509 -inform DER' makes one of a file in DER",
        )
        return []
    try:
        chain = [x509.load_pem_x509_certificate(block + b"\n") for block in blocks]
        for certificate in chain:
            certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        faults.add(where, f"certificate.file {path} has a certificate that can't be read", "Fetch it again")
        return []
    return chain


def _key(
    given: t.Mapping[str, t.Any],
    certificate: str,
    directory: str,
    where: str,
    read: t.Callable[[str], bytes],
    faults: Faults,
) -> tuple[str, bytes] | None:
    """Return the path and the public half of the key, or None and a fault."""
    name = "key_file" if given.get("key_file") else "file"
    path = resolve_path(given["key_file"], directory) if name == "key_file" else certificate
    content = _content(path, name, where, read, faults)
    if not content.strip():
        return None
    block = _KEY.search(content)
    if not block:
        fix = "Give the file that starts with '-----BEGIN PRIVATE KEY-----'"
        if name == "file":
            fix = "Name the file of its key: certificate.key_file"
        faults.add(where, f"certificate.{name} {path} has no private key in PEM", fix)
        return None
    if any(mark in block.group() for mark in _ENCRYPTED):
        faults.add(
            where,
            f"certificate.{name} {path} has a key with a pass phrase, and nobody could type it when a balancer starts",
            "Take it off with 'openssl pkey', and encrypt the file with ansible-vault",
        )
        return None
    try:
        private = serialization.load_pem_private_key(block.group() + b"\n", None)
        return path, public_bytes(private.public_key())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        faults.add(where, f"certificate.{name} {path} has a key that can't be read", "Put it back from a copy")
        return None


def _is_ordered(
    chain: list[x509.Certificate], key: tuple[str, bytes] | None, path: str, where: str, faults: Faults
) -> bool:
    """Return whether the site's certificate stands first and its key fits; note it where not, or where a later one is out of order."""
    own = _own(chain, key)
    if own is None and key is not None:
        faults.add(
            where,
            f"the key {key[0]} does not fit the certificate {path}",
            "Give the key that the certificate was asked for with, or ask for a new certificate",
        )
        return True  # of its names can be spoken all the same
    order = "Write the site's own certificate first, then the one that signed it, and so on"
    if own:
        faults.add(where, f"certificate.file {path} has the site's own certificate as number {own + 1}", order)
        return False
    for number, (certificate, issuer) in enumerate(itertools.pairwise(chain), 1):
        if not signed(certificate, issuer):
            faults.add(
                where,
                f"certificate.file {path} has as number {number + 1} a certificate that did not sign number {number}",
                order,
            )
            break
    return True


def _own(chain: list[x509.Certificate], key: tuple[str, bytes] | None) -> int | None:
    """Return which certificate of a chain is the site's: the one that the key fits. None when it fits none."""
    if key is not None:
        return next((number for number, one in enumerate(chain) if public_bytes(one.public_key()) == key[1]), None)
    # Without a key it is the one that has signed no other.
    signers = [any(signed(other, one) for other in chain if other is not one) for one in chain]
    return signers.index(False) if False in signers else 0


def _check_names(
    certificate: x509.Certificate, site: t.Mapping[str, t.Any], path: str, where: str, faults: Faults
) -> None:
    missing = [domain for domain in certificate_names(site) if not covers(certificate, domain)]
    if not missing:
        return
    names, addresses = _subjects(certificate)
    subjects = [*names, *map(str, addresses)]
    has = f"only {listed(subjects)}" if subjects else "no name at all"
    faults.add(
        where,
        f"the certificate {path} is not for {listed(missing)}: it covers {has}",
        "Get one for all of the site's domains"
        + (", since '*' stands for exactly one label" if any(name.startswith("*.") for name in names) else ""),
    )


def _check_time(
    chain: list[x509.Certificate], path: str, where: str, now: datetime.datetime, faults: Faults
) -> list[str]:
    """Note a certificate of the chain that holds no more, or not yet; return a warning of the one that ends first."""
    fix = "Get a new one, and put it in its place"
    for number, certificate in enumerate(chain, 1):
        which = f"the certificate {path}" if number == 1 else f"number {number} of the certificates in {path}"
        start, end = validity(certificate)
        if end <= now:
            faults.add(where, f"{which} has expired: it ended on {_moment(end)}", fix)
            return []
        if start > now:
            faults.add(
                where,
                f"{which} is not valid yet: it starts on {_moment(start)}",
                "Give the one that is valid now, or correct the clock of this controller",
            )
            return []
    last = min(validity(certificate)[1] for certificate in chain)
    days = (last - now).days
    if days >= WARN_DAYS:
        return []
    left = "today" if days == 0 else f"in {days} day" + ("" if days == 1 else "s")
    return [f"{where}: the certificate {path} ends {left}, on {_moment(last)}. Get a new one, and run site again."]


def _moment(moment: datetime.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
