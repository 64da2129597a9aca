"""The cluster's certificate authority: what it makes is one, and what is none is told so."""

import datetime
import itertools
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


# --- series -------------------------------------------------------------------------------------------------------

SUBJECTS = ["db1.internal", "*.example.com", "10.0.0.21", "fd00::21"]
PRIVATE = ec.generate_private_key(ec.SECP256R1())
PUBLIC = PRIVATE.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def series(days=90, renew_days=30, ahead_days=1095, now=NOW):
    return authority.series(PUBLIC.decode(), SUBJECTS, KEY, CERTIFICATE, days, renew_days, ahead_days, now)


def test_each_certificate_is_followed_by_the_next_before_it_ends():
    made = series()
    assert made[0][0] == NOW.timestamp()
    assert made[-2][1] < (NOW + 1095 * DAY).timestamp() <= made[-1][1]
    for (start, end, _one), (next_start, _end, _other) in itertools.pairwise(made):
        assert end - start == 90 * 86400
        assert end - next_start == 30 * 86400
    for start, end, text in made:
        found = x509.load_pem_x509_certificate(text.encode())
        # Clients whose clock is behind take it, too; and none refuses it as too long.
        assert authority.validity(found) == (
            datetime.datetime.fromtimestamp(start, datetime.UTC) - DAY,
            datetime.datetime.fromtimestamp(end, datetime.UTC),
        )
    serials = {x509.load_pem_x509_certificate(text.encode()).serial_number for _start, _end, text in made}
    assert len(serials) == len(made)


def test_a_certificate_is_for_the_names_of_the_controller_and_for_a_server_alone():
    ((_start, _end, text),) = series(ahead_days=0)
    found = x509.load_pem_x509_certificate(text.encode())
    assert authority.signed(found, x509.load_pem_x509_certificate(CERTIFICATE.encode()))
    assert found.public_key() == PRIVATE.public_key()
    assert found.subject.rfc4514_string() == "CN=db1.internal"
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == SUBJECTS[:2]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == SUBJECTS[2:]
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = found.extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.value.digital_signature, usage.value.key_cert_sign, usage.critical) == (True, False, True)
    assert list(found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        x509.ExtendedKeyUsageOID.SERVER_AUTH
    ]


def test_no_certificate_outlives_its_authority():
    made = series(now=NOW + 20 * 365 * DAY - 100 * DAY)
    assert len(made) == 2
    assert made[-1][1] == (NOW + 20 * 365 * DAY).timestamp()


def test_openssl_takes_them(tmp_path):
    for name, text in (("authority", CERTIFICATE), ("leaf", series(ahead_days=0, now=None)[0][2])):
        (tmp_path / name).write_text(text)
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", tmp_path / "authority"]
    now = int(NOW.timestamp())
    if datetime.datetime.now(datetime.UTC) < NOW:
        command += ["-attime", str(now)]
    done = subprocess.run([*command, tmp_path / "leaf"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
