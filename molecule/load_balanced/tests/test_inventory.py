"""What a person is told who writes an inventory that can't work; not one host is touched by it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import GIVEN, INVENTORY


@pytest.fixture
def refused(tmp_path, playbook, cluster):
    """Return a function that changes a copy of the inventory, has a playbook refuse it, and returns what that says."""

    def run(change: Callable[[dict, dict], object], name: str = "site") -> str:
        folder = tmp_path / "inventory"
        shutil.copytree(INVENTORY, folder)
        tiers = yaml.safe_load((folder / "hosts.yml").read_text())
        variables = yaml.safe_load((folder / "group_vars/all.yml").read_text())
        sites = {site["name"]: site for site in variables["ntier_sites"]}
        change(tiers, sites)
        (folder / "hosts.yml").write_text(yaml.safe_dump(tiers, sort_keys=False))
        (folder / "group_vars/all.yml").write_text(yaml.safe_dump(variables, sort_keys=False))
        # A dry run, so that what is not refused does no harm either.
        done = playbook(name, "--check", inventory=folder)
        assert done.returncode != 0, done.stdout
        recap = done.stdout.split("PLAY RECAP")[1]
        assert "changed=0" in recap
        assert not any(f"changed={number}" in recap for number in range(1, 10)), recap
        return " ".join((done.stdout + done.stderr).split())

    return run


def certificate(folder: Path, *, days: int = 90, names: str = "DNS:second.example.com,DNS:media.example.com") -> dict:
    """Make a certificate and its key, valid from ten days ago for so many days, and return how a site names them."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=10)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "second")])
    subjects = [x509.DNSName(entry.removeprefix("DNS:")) for entry in names.split(",")]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(subjects), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "made.pem").write_bytes(made.public_bytes(pem))
    (folder / "made.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return {"file": str(folder / "made.pem"), "key_file": str(folder / "made.key")}


def test_uploads_that_are_not_shared(refused):
    """Two web hosts that would each keep what came to them."""

    def change(tiers, _sites):
        tiers["media"]["hosts"] = dict.fromkeys(["box1", "web2"])

    said = refused(change)
    assert "group media: box1 and web2 would each keep the uploads that came to it" in said
    assert "Keep one host in it, such as box1" in said


def test_a_balancer_without_web_hosts(refused):
    """There is nobody to pass requests to."""
    said = refused(lambda tiers, _sites: tiers.pop("web"))
    assert "there is no web host for the balancers to pass requests to" in said


def test_a_certificate_of_other_names(refused, tmp_path):
    """Browsers would refuse it for the media domain."""
    made = certificate(tmp_path, names="DNS:second.example.com")
    said = refused(lambda _tiers, sites: sites["second"].update(certificate=made))
    assert f"the certificate {made['file']} is not for media.example.com" in said


def test_a_certificate_that_has_expired(refused, tmp_path):
    """Nine days ago."""
    made = certificate(tmp_path, days=1)
    said = refused(lambda _tiers, sites: sites["second"].update(certificate=made))
    assert f"the certificate {made['file']} has expired: it ended on" in said


def test_a_key_that_does_not_fit(refused, tmp_path):
    """The certificate that was given, with the key of another."""
    made = {"file": str(GIVEN / "second.pem"), "key_file": certificate(tmp_path)["key_file"]}
    said = refused(lambda _tiers, sites: sites["second"].update(certificate=made))
    assert f"the key {made['key_file']} does not fit the certificate {made['file']}" in said


def test_a_media_domain_that_is_a_sites_domain(refused):
    """One name can't lead to pages and to files alone."""
    said = refused(lambda _tiers, sites: sites["second"].update(media_domain="guestbook.example.com"))
    assert "the media_domain guestbook.example.com is a domain of site guestbook" in said


def test_what_the_hosts_know_better(refused, cluster, addresses):
    """They remember whom visitors come to, and one has no way to another that it needs; both are said at once."""

    def change(tiers, _sites):
        tiers["load_balancer"]["hosts"] = {"cache2": None}
        tiers["memcached"]["hosts"] = {"cache1": None, "lb1": None}

    route = f"unreachable {addresses['cache1']}/32"
    cluster["box1"].check_output(f"ip route add {route}")
    try:
        said = refused(change)
    finally:
        cluster["box1"].check_output(f"ip route del {route}")
    assert f"host box1: has no way to cache1 (memcached) at {addresses['cache1']}: No route to host" in said
    assert "host lb1: leaves the group load_balancer, and visitors come to its address" in said


def test_hosts_that_can_not_be_reached_are_named_with_what_they_keep(playbook, docker, healed):
    """In a sentence each, and before anything is asked that would go by their answer."""
    docker("pause", "db1", "cache2")
    try:
        done = playbook("site", "--check")
    finally:
        docker("unpause", "db1", "cache2")
    assert done.returncode != 0, done.stdout
    said = " ".join((done.stdout + done.stderr).split())
    assert "Not every host can be asked (2 faults; no host has been changed)" in said, said
    assert "host db1: can't be reached, and is where the sites' rows are: " in said
    assert "host cache2: can't be reached: " in said
    assert "Look what PostgreSQL keeps" not in said
    healed()
