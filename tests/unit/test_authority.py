"""The cluster's certificate authority: what it makes is one, and what is none is told so."""

import datetime
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.ntier.django.plugins.plugin_utils import authority

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
KEY, CERTIFICATE = authority.make("ntier cluster x", NOW)


def test_it_is_an_authority_that_signs_hosts_and_no_further_authority():
    made = x509.load_pem_x509_certificate(CERTIFICATE.encode())
    assert made.subject == made.issuer
    assert made.subject.rfc4514_string() == "CN=ntier cluster x"
    constraints = made.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = made.extensions.get_extension_for_class(x509.KeyUsage)
    assert (constraints.value.ca, constraints.value.path_length, constraints.critical) == (True, 0, True)
    assert (usage.value.key_cert_sign, usage.value.digital_signature, usage.critical) == (True, False, True)
    assert authority.signed(made, made)


def test_its_key_is_of_the_curve_that_every_program_knows():
    key = serialization.load_pem_private_key(KEY.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert KEY.startswith("-----BEGIN PRIVATE KEY-----\n")


def test_it_holds_for_twenty_years_and_on_hosts_whose_clock_is_behind():
    start, end = authority.validity(x509.load_pem_x509_certificate(CERTIFICATE.encode()))
    assert start == NOW - DAY
    assert end == NOW + 20 * 365 * DAY


def test_no_two_are_the_same():
    assert authority.make("x", NOW)[0] != authority.make("x", NOW)[0]


def test_what_was_made_is_an_authority():
    assert authority.wrong(KEY, CERTIFICATE, NOW) is None
    assert authority.wrong(*authority.make("x")) is None


@pytest.mark.parametrize(
    ("key", "certificate", "what"),
    [
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", CERTIFICATE, "an authority_key that can't be read"),
        ("x", CERTIFICATE, "an authority_key that can't be read"),
        (KEY, "x", "an authority_certificate that can't be read"),
        (KEY, KEY, "an authority_certificate that can't be read"),
        (authority.make("y")[0], CERTIFICATE, "an authority_key that does not fit its authority_certificate"),
    ],
)  # fmt: skip
def test_what_is_none_is_told_so(key, certificate, what):
    assert authority.wrong(key, certificate, NOW) == f"has {what}"


def test_a_key_with_a_pass_phrase_is_told_so():
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    assert authority.wrong(key.decode(), CERTIFICATE, NOW) == "has an authority_key with a pass phrase"


def test_an_authority_that_has_ended_is_told_so():
    late = NOW + 20 * 365 * DAY
    assert authority.wrong(KEY, CERTIFICATE, late - DAY) is None
    assert authority.wrong(KEY, CERTIFICATE, late) == "has an authority_certificate that ended on 2046-05-27"


@pytest.mark.parametrize(
    ("extension", "what"),
    [
        ("basicConstraints=critical,CA:TRUE", None),
        ("basicConstraints=critical,CA:FALSE", "has an authority_certificate that is none of an authority"),
    ],
)
def test_one_that_openssl_made_is_tried_out_too(tmp_path, extension, what):
    """The command is the one that the message of a file without a cluster gives; its default is CA:TRUE."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 7300 -subj /CN=cluster"
    extra = [] if what is None else ["-addext", extension]
    subprocess.run(
        [*command.split(), *extra, "-keyout", "authority.key", "-out", "authority.crt"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    key, certificate = (tmp_path / "authority.key").read_text(), (tmp_path / "authority.crt").read_text()
    assert authority.wrong(key, certificate) == what
