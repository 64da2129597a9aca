"""The certificates that a user gives for sites: every one that a browser or the balancer would not take is told so."""

import datetime
import functools
import ipaddress

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ansible_collections.ntier.django.plugins.plugin_utils import certificates
from ansible_collections.ntier.django.plugins.plugin_utils.faults import Faults

NOW = datetime.datetime(2026, 6, 1, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
PEM = serialization.Encoding.PEM


@functools.cache
def key_of(name, kind="ec"):
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1())


def certificate(name, *subjects, issuer=None, kind="ec", start=NOW - DAY, end=NOW + 90 * DAY, authority=False):
    """Return a certificate in PEM for the key of *name*, signed by that of *issuer* or by itself."""
    issuer = issuer or name

    def named(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    builder = x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer))
    builder = builder.public_key(key_of(name, kind).public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(start).not_valid_after(end)
    builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    if subjects:
        names = [
            x509.IPAddress(ipaddress.ip_address(subject)) if ":" in subject or subject[0].isdigit() else x509.DNSName(subject)
            for subject in subjects
        ]  # fmt: skip
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key_of(issuer, kind if issuer == name else "ec"), hashes.SHA256()).public_bytes(PEM).decode()


def key(name, kind="ec", form=serialization.PrivateFormat.PKCS8, phrase=None):
    encryption = serialization.BestAvailableEncryption(phrase) if phrase else serialization.NoEncryption()
    return key_of(name, kind).private_bytes(PEM, form, encryption).decode()


LEAF = certificate("leaf", "www.example.com", "example.com", issuer="middle")
MIDDLE = certificate("middle", issuer="root", authority=True)
ROOT = certificate("root", authority=True)
KEY = key("leaf")


@pytest.fixture
def check(tmp_path):
    """Return a function that checks one site with these files beside the inventory; its result: faults and warnings."""

    def run(chain=LEAF, private=KEY, domains=("www.example.com",), now=NOW, media="", given=None, **options):
        for name, content in (("shop.pem", chain), ("shop.key", private)):
            if content is not None:
                (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        site = {
            "name": "shop",
            "domains": list(domains),
            "media_domain": media,
            "certificate": {"file": "shop.pem", "key_file": "shop.key"} if given is None else given,
        }
        faults = Faults()
        warnings = certificates.check([site], str(tmp_path), faults, now, **options)
        return [sentence.replace(f"{tmp_path}/", "") for sentence in [*faults.sentences, *warnings]]

    return run


def only(sentences, text):
    """Say that there is exactly one sentence, of this site, and that it has this text."""
    assert len(sentences) == 1, sentences
    assert sentences[0].startswith("ntier_sites, site shop: ")
    assert sentences[0].endswith(".")
    assert text in sentences[0]


# --- taken --------------------------------------------------------------------------------------------------------


def test_a_chain_with_its_key_is_taken(check):
    assert check(LEAF + MIDDLE) == []
    assert check(LEAF + MIDDLE + ROOT) == []


def test_a_certificate_of_rsa_is_taken(check):
    assert check(certificate("old", "www.example.com", kind="rsa"), key("old", "rsa")) == []


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_key_in_the_older_form_is_taken(check, kind):
    old = key("old", kind, serialization.PrivateFormat.TraditionalOpenSSL)
    assert check(certificate("old", "www.example.com", kind=kind), old) == []


def test_a_key_that_openssl_wrote_after_the_parameters_of_its_curve_is_taken(check):
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    assert check(private=parameters + key("leaf", form=serialization.PrivateFormat.TraditionalOpenSSL)) == []


def test_a_self_signed_certificate_is_taken(check):
    assert check(certificate("self", "www.example.com", authority=True), key("self")) == []


def test_certificate_and_key_in_one_file_are_taken(check):
    assert check("What it is\n" + KEY + LEAF + MIDDLE, None, given={"file": "shop.pem"}) == []


def test_windows_line_ends_are_taken(check):
    assert check((LEAF + MIDDLE).replace("\n", "\r\n"), KEY.replace("\n", "\r\n")) == []


@pytest.mark.parametrize("given", [{}, {"acme": "admin@example.com"}])
def test_a_site_without_a_file_is_passed_over(check, given):
    assert check(None, None, given=given) == []


def test_an_absolute_path_is_taken(check, tmp_path):
    given = {"file": str(tmp_path / "shop.pem"), "key_file": str(tmp_path / "shop.key")}
    assert check(given=given) == []


# --- files --------------------------------------------------------------------------------------------------------


def test_a_missing_file_is_told(check):
    only(check(None), "certificate.file is shop.pem, which is no file on this controller. Correct the path; a relative")
    only(check(LEAF, None, given={"file": "shop.pem", "key_file": "none.key"}), "certificate.key_file is none.key, which is")  # fmt: skip


@pytest.mark.parametrize(
    ("chain", "what"),
    [
        ("", "certificate.file shop.pem is empty. Put the file"),
        (b"\x30\x82\x00", "certificate.file shop.pem has no certificate in PEM. Give the file that starts with"),
        (KEY, "certificate.file shop.pem has no certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "has a certificate that can't be read"),
    ],
)
def test_a_file_without_a_certificate_is_told(check, chain, what):
    only(check(chain), what)


@pytest.mark.parametrize(
    ("private", "what"),
    [
        ("\n", "certificate.key_file shop.key is empty"),
        (LEAF, "certificate.key_file shop.key has no private key in PEM. Give the file that starts with"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "has a key that can't be read. Put it back"),
        (key("leaf", phrase=b"x"), "certificate.key_file shop.key has a key with a pass phrase, and nobody could type"),
        (
            key("leaf", form=serialization.PrivateFormat.TraditionalOpenSSL, phrase=b"x"),
            "has a key with a pass phrase, and nobody could type",
        ),
        (key("another"), "the key shop.key does not fit the certificate shop.pem. Give the key"),
    ],
)
def test_a_key_that_is_none_or_another_is_told(check, private, what):
    only(check(private=private), what)


def test_a_key_that_was_left_out_is_told(check):
    only(check(LEAF, None, given={"file": "shop.pem"}), "Name the file of its key: certificate.key_file")


def test_a_file_that_nobody_may_read_is_told(check):
    def read(path):
        raise PermissionError(13, "Permission denied", path)

    found = check(read=read)
    assert len(found) == 2
    assert "certificate.file shop.pem can't be read: Permission denied. Let the user who runs Ansible" in found[0]


# --- ansible-vault ------------------------------------------------------------------------------------------------


def reader(password):
    """Return how an action plugin reads a file."""
    loader = DataLoader()
    if password:
        loader.set_vault_secrets([("default", VaultSecret(password))])
    return lambda path: loader.get_text_file_contents(path).encode(errors="surrogateescape")


def encrypted(text, password=b"pw"):
    return VaultLib([("default", VaultSecret(password))]).encrypt(text, VaultSecret(password))


def test_an_encrypted_key_is_read_with_the_password(check):
    assert check(private=encrypted(KEY), read=reader(b"pw")) == []


@pytest.mark.parametrize("password", [None, b"other"])
def test_an_encrypted_key_without_the_password_is_told(check, password):
    only(check(private=encrypted(KEY), read=reader(password)), "or give the vault password that it was encrypted with")


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subjects", "domain", "taken"),
    [
        (["www.example.com"], "www.example.com", True),
        (["www.example.com"], "WWW.Example.COM", True),
        (["WWW.example.com"], "www.example.com", True),
        (["www.example.com"], "example.com", False),
        (["example.com"], "www.example.com", False),
        (["*.example.com"], "www.example.com", True),
        (["*.example.com"], "example.com", False),
        (["*.example.com"], "a.b.example.com", False),
        (["*.example.com"], "*.example.com", True),
        (["www.example.com"], "*.example.com", False),
        (["*.b.example.com"], "*.example.com", False),
        (["w*.example.com"], "www.example.com", False),
        (["10.0.0.1"], "10.0.0.1", True),
        (["10.0.0.1"], "10.0.0.2", False),
        (["fd00::1"], "[fd00:0::1]", True),
        (["localhost"], "localhost", True),
        ([], "leaf", False),
    ],
)
def test_a_name_is_covered_as_browsers_see_it(subjects, domain, taken):
    made = x509.load_pem_x509_certificate(certificate("leaf", *subjects).encode())
    assert certificates.covers(made, domain) is taken


def test_domains_that_are_not_covered_are_told_together(check):
    found = check(domains=["www.example.com", "shop.example.com", "example.org"])
    only(
        found,
        "the certificate shop.pem is not for shop.example.com and example.org: it covers only www.example.com and",
    )


def test_the_media_domain_has_to_be_covered_too(check):
    only(check(media="media.example.com"), "is not for media.example.com: it covers only")
    assert check(media="example.com") == []


def test_a_wildcard_is_explained(check):
    chain = certificate("leaf", "*.example.com")
    only(
        check(chain, domains=["a.b.example.com"]), "all of the site's domains, since '*' stands for exactly one label."
    )


def test_a_common_name_alone_is_no_name(check):
    only(check(certificate("leaf"), domains=["leaf"]), "is not for leaf: it covers no name at all.")


# --- time ---------------------------------------------------------------------------------------------------------


def lasting(start=-1.0, end=90.0):
    return certificate("leaf", "www.example.com", start=NOW + start * DAY, end=NOW + end * DAY)


def test_an_expired_certificate_is_told(check):
    only(
        check(lasting(-90, -1)), "the certificate shop.pem has expired: it ended on 2026-05-31 12:00 UTC. Get a new one"
    )
    only(check(lasting(-90, 0)), "has expired")


def test_a_certificate_of_the_future_is_told(check):
    only(
        check(lasting(1)), "the certificate shop.pem is not valid yet: it starts on 2026-06-02 12:00 UTC. Give the one"
    )


def test_an_expired_intermediate_is_told(check):
    middle = certificate("middle", issuer="root", authority=True, start=NOW - 9 * DAY, end=NOW - DAY)
    only(check(LEAF + middle), "number 2 of the certificates in shop.pem has expired")


@pytest.mark.parametrize(
    ("days", "left"), [(0.5, "today, on 2026-06-02 00:00 UTC"), (1.5, "in 1 day, on"), (13.9, "in 13 days, on")]
)
def test_one_that_ends_soon_is_a_warning_and_no_fault(tmp_path, check, days, left):
    only(check(lasting(end=days)), f"the certificate shop.pem ends {left}")
    faults = Faults()
    files = {"file": "shop.pem", "key_file": "shop.key"}
    site = {"name": "shop", "domains": ["www.example.com"], "media_domain": "", "certificate": files}
    assert len(certificates.check([site], str(tmp_path), faults, NOW)) == 1
    assert not faults


def test_one_that_holds_two_weeks_is_no_warning(check):
    assert check(lasting(end=14)) == []


# --- order --------------------------------------------------------------------------------------------------------


def test_the_sites_certificate_has_to_be_the_first(check):
    only(
        check(MIDDLE + LEAF),
        "certificate.file shop.pem has the site's own certificate as number 2. Write the site's own",
    )
    only(check(ROOT + MIDDLE + LEAF), "as number 3")


def test_the_order_is_told_without_a_key_too(check):
    found = check(MIDDLE + LEAF, "")
    assert len(found) == 2
    assert "as number 2. Write the site's own certificate first" in found[1]


def test_the_others_have_to_stand_in_the_order_of_signing(check):
    only(check(LEAF + ROOT + MIDDLE), "has as number 2 a certificate that did not sign number 1. Write the site's own")
    only(check(LEAF + MIDDLE + certificate("stranger", authority=True)), "as number 3 a certificate that did not sign number 2")  # fmt: skip


# --- together -----------------------------------------------------------------------------------------------------


def test_all_faults_of_a_site_are_told_at_once(check):
    found = check(lasting(-9, -1), key("another"), domains=["example.org"])
    assert ["does not fit" in found[0], "is not for example.org" in found[1], "has expired" in found[2]] == [True] * 3
    assert len(found) == 3


def test_no_message_shows_a_key(check):
    for private in (key("another"), key("leaf", phrase=b"x"), KEY[:80] + "\n-----END PRIVATE KEY-----\n"):
        assert not any(line in sentence for sentence in check(private=private) for line in private.splitlines()[1:-1])
