# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The cluster's own certificate authority, which signs what its hosts show each other. ansible-core brings ``cryptography``."""

from __future__ import annotations

import datetime
import ipaddress
import typing as t

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
except ImportError:  # ansible-core brings it, but for the environment in which ansible-test imports plugins
    pass

#: Nobody renews it: whoever trusts it would have to learn of the new one at the same moment.
DAYS = 20 * 365
#: How far the clocks of controller and hosts may be apart.
CLOCKS = datetime.timedelta(days=1)


def make(name: str, now: datetime.datetime | None = None) -> tuple[str, str]:
    """Return a new authority as its private key and its certificate, both in PEM.

    :arg name: what it is called in every certificate that it signs; 64 characters at the most.
    :arg now: the moment it is made; other than now in tests alone.
    """
    now = now or datetime.datetime.now(datetime.timezone.utc)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = dict.fromkeys(
        (
            "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
            "encipher_only", "decipher_only",
        ),
        False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS)
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return text.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


def series(
    public_key: str,
    subjects: t.Sequence[str],
    key: str,
    certificate: str,
    days: int,
    renew_days: int,
    ahead_days: int,
    now: datetime.datetime | None = None,
) -> list[tuple[int, int, str]]:
    """Return certificates of one key for host names and addresses: the one that serves from now on, and those that follow it.

    Only the public key comes from the host. The names are the controller's, so that a host can't have itself certified as another one.

    :arg public_key: in PEM.
    :arg subjects: host names and addresses, at least one.
    :arg key: the authority's private key in PEM.
    :arg certificate: the authority's certificate in PEM.
    :arg days: how long each serves.
    :arg renew_days: how long before the end of one the next begins; less than *days*.
    :arg ahead_days: how far the series reaches; 0 for a single one.
    :arg now: the moment it is made; other than now in tests alone.
    :returns: for each the moment from which it serves and its last, in seconds since the epoch, and itself in PEM. In their order.
    """
    start = now or datetime.datetime.now(datetime.timezone.utc)
    public = serialization.load_pem_public_key(public_key.encode())
    issuer = x509.load_pem_x509_certificate(certificate.encode())
    signer = serialization.load_pem_private_key(key.encode(), None)
    last, whole = validity(issuer)[1], start + datetime.timedelta(days=ahead_days)
    made: list[tuple[int, int, str]] = []
    while not made or (made[-1][1] < whole.timestamp() and start < last):
        end = min(start + datetime.timedelta(days=days), last)
        text = _certificate(public, subjects, issuer, signer, start - CLOCKS, end)
        made.append((int(start.timestamp()), int(end.timestamp()), text))
        start += datetime.timedelta(days=days - renew_days)
    return made


def _certificate(
    public: t.Any,
    subjects: t.Sequence[str],
    issuer: x509.Certificate,
    signer: t.Any,
    start: datetime.datetime,
    end: datetime.datetime,
) -> str:
    usage = dict.fromkeys(
        (
            "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
            "encipher_only", "decipher_only",
        ),
        False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subjects[0][:64])]))
        .issuer_name(issuer.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in subjects]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(_identifier(issuer), critical=False)
        .sign(signer, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        .decode()
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return how a certificate names the key of its issuer, whose own name for it counts."""
    try:
        known = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(t.cast(t.Any, issuer.public_key()))
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)


def wrong(key: str, certificate: str, now: datetime.datetime | None = None) -> str | None:
    """Return why a key and a certificate are no authority, as the end of a sentence, or None when they are one.

    :arg key: the private key in PEM, without a pass phrase.
    :arg certificate: its certificate in PEM.
    :arg now: the moment that counts; other than now in tests alone.
    """
    try:
        private = serialization.load_pem_private_key(key.encode(), None)
    except TypeError:
        return "has an authority_key with a pass phrase"
    except (ValueError, UnsupportedAlgorithm):
        return "has an authority_key that can't be read"
    try:
        authority = x509.load_pem_x509_certificate(certificate.encode())
        public = authority.public_key()
        constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return "has an authority_certificate that is none of an authority"
    except (ValueError, UnsupportedAlgorithm):
        return "has an authority_certificate that can't be read"
    if public_bytes(private.public_key()) != public_bytes(public):
        return "has an authority_key that does not fit its authority_certificate"
    if not constraints.ca:
        return "has an authority_certificate that is none of an authority"
    _start, end = validity(authority)
    if end <= (now or datetime.datetime.now(datetime.timezone.utc)):
        return f"has an authority_certificate that ended on {end:%Y-%m-%d}"
    return None


def public_bytes(key: t.Any) -> bytes:
    """Return a public key in the form in which two of them can be compared."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def validity(certificate: x509.Certificate) -> tuple[datetime.datetime, datetime.datetime]:
    """Return the first and the last moment of a certificate, in UTC."""
    try:
        return certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except AttributeError:  # cryptography before 42
        utc = datetime.timezone.utc
        return certificate.not_valid_before.replace(tzinfo=utc), certificate.not_valid_after.replace(tzinfo=utc)


def signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Return whether *issuer* has signed *certificate*."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except AttributeError:  # cryptography before 40
        return certificate.issuer == issuer.subject
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
