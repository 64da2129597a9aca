# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The cluster's own certificate authority, which signs what its hosts show each other. ansible-core brings ``cryptography``."""

from __future__ import annotations

import datetime
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
