"""The program with which a host renews its certificates: the next of a series takes its place when its time has come."""

import itertools
import os
import subprocess
import time

import pytest
from clusters import ROOT
from rendering import variables_of

from ansible_collections.ntier.django.plugins.filter.certified import certified
from ansible_collections.ntier.django.plugins.plugin_utils import authority

PROGRAM = ROOT / "roles/certificate/files/ntier-certificates"
AUTHORITY = dict(zip(("key", "certificate"), authority.make("test"), strict=True))
DAY = 86400
HEAD = "# Made by a test.\n# For www.example.com\n"


def key(path):
    """Make a key, and return its public half."""
    command = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path]
    subprocess.run(command, check=True, capture_output=True)
    command = ["openssl", "pkey", "-in", path, "-pubout"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Host:
    """A folder with a certificate, and a systemctl that notes what it is asked for."""

    def __init__(self, folder):
        self.folder, self.entry = folder, folder / "registry/www.conf"
        for name in ("registry", "bin", "tls"):
            (folder / name).mkdir()
        public = key(folder / "tls/www.key")
        made = certified(public, ["www.example.com"], AUTHORITY, 90, 30, 1095)
        self.file("www.crt").write_text(HEAD + made["certificate"])
        self.file("www.next").write_text(HEAD + made["series"])
        self.file("www.pem").write_text(self.file("www.crt").read_text() + self.file("www.key").read_text())
        self.file("www.pem").chmod(0o640)
        self.entry.write_text(f"{folder}/tls\nwww\nTrue\nhaproxy.service other.service\n")
        self.systemctl("exit 0")

    def file(self, name):
        return self.folder / "tls" / name

    def systemctl(self, body):
        program = self.folder / "bin/systemctl"
        program.write_text(f'#!/bin/sh\necho "$*" >> {self.folder}/calls\n{body}\n')
        program.chmod(0o755)

    def later(self, days):
        """Have the program think that it is days later; the certificates go on by the real clock."""
        program = self.folder / "bin/date"
        program.write_text(f"#!/bin/sh\necho {int(time.time()) + days * DAY}\n")
        program.chmod(0o755)

    def run(self):
        """Return status, output, and the units that were reloaded."""
        calls = self.folder / "calls"
        calls.write_text("")
        environment = {**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        done = subprocess.run(
            ["sh", PROGRAM, self.folder / "registry"], env=environment, capture_output=True, text=True, check=False
        )
        reloaded = [line.split()[1] for line in calls.read_text().splitlines() if line.startswith("reload ")]
        return done.returncode, done.stdout + done.stderr, reloaded

    def number(self):
        """Return which certificate of the series is in its place."""
        series = self.file("www.next").read_text().split("-----BEGIN CERTIFICATE-----")[1:]
        current = self.file("www.crt").read_text().split("-----BEGIN CERTIFICATE-----")[1]
        (found,) = [
            number for number, text in enumerate(series) if text.split("-----END")[0] == current.split("-----END")[0]
        ]
        return found


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_nothing_happens_as_long_as_a_certificate_serves(host):
    before = host.file("www.crt").stat().st_ino
    host.later(59)
    assert host.run() == (0, "", [])
    assert host.file("www.crt").stat().st_ino == before
    assert not list(host.folder.rglob("*.new"))


def test_the_next_takes_its_place_and_the_units_read_it(host):
    for step, days in enumerate((61, 121, 181), 1):
        host.later(days)
        status, output, reloaded = host.run()
        assert (status, reloaded) == (0, ["haproxy.service", "other.service"])
        assert "is renewed" in output
        assert host.number() == step
        assert host.file("www.pem").read_text() == host.file("www.crt").read_text() + host.file("www.key").read_text()
        assert host.file("www.crt").read_text().startswith(HEAD)
        modes = [host.file(f"www.{ending}").stat().st_mode & 0o777 for ending in ("crt", "pem")]
        assert modes == [0o644, 0o640]
        assert host.run() == (0, "", [])


def test_the_certificates_of_the_series_stand_in_order(host):
    heads = [
        line.split() for line in host.file("www.next").read_text().splitlines() if line[0].isdigit() and " " in line
    ]
    assert len(heads) > 15
    assert all(int(one[0]) < int(other[0]) for one, other in itertools.pairwise(heads))


def test_a_unit_that_is_off_is_left_alone(host):
    host.systemctl('[ "$1" != --quiet ] || [ "$3" != other.service ]')
    host.later(61)
    assert host.run()[2] == ["haproxy.service"]


def test_a_reload_that_fails_is_tried_again(host):
    host.systemctl('[ "$1" != reload ]')
    host.later(61)
    status, output, _reloaded = host.run()
    assert status == 1
    assert "can't be reloaded" in output
    host.systemctl("exit 0")
    assert host.run() == (0, "", ["haproxy.service", "other.service"])
    assert host.run() == (0, "", [])


def test_the_end_of_the_series_is_told(host):
    public = subprocess.run(
        ["openssl", "pkey", "-in", host.file("www.key"), "-pubout"], check=True, capture_output=True, text=True
    ).stdout
    made = certified(public, ["www.example.com"], AUTHORITY, 10, 1, 5)
    host.file("www.next").write_text(HEAD + made["series"])
    status, output, reloaded = host.run()
    assert (status, reloaded) == (1, ["haproxy.service", "other.service"])
    assert "no other one follows" in output
    assert "Run site." in output


def test_a_series_of_another_key_is_not_taken(host):
    before = host.file("www.crt").read_text()
    key(host.file("www.key"))
    host.later(61)
    status, output, reloaded = host.run()
    assert (status, reloaded) == (1, [])
    assert "fits its key" in output
    assert host.file("www.crt").read_text() == before


def test_what_has_left_the_host_is_forgotten(host):
    host.file("www.next").unlink()
    assert host.run() == (0, "", [])
    assert not host.entry.exists()


def test_the_look_at_a_certificate_reads_its_input_wherever_it_ends(tmp_path):
    """Ansible's command fails with a broken pipe where a program ends without reading what it is given: by chance, when that is small."""
    look = variables_of("certificate")["__certificate_look"]
    arguments = [str(tmp_path), "postgresql", "# head", "0", "root root 0600", "False", "0", "", "", ""]
    with subprocess.Popen(
        ["sh", "-c", look, "look", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as asked:
        asked.stdin.write("x" * (1 << 20))
        asked.stdin.close()
        told = asked.stdout.read()
    assert told.splitlines() == ["key", "certificate: there is none", "files"]
